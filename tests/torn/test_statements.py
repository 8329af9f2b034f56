"""Whichever statement of an act fails, and however: the database is as it was before, or as it is after."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import pytest
from django.db import connection

from audit.verification import verify_org
from tests.forks import forked, was_killed
from tests.torn import faults
from tests.torn.acts import ACTS, World, a_world
from tests.torn.dumps import Dump, Kept, dump, standing_still
from tests.torn.faults import COMMIT, Steps

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


class Fault(NamedTuple):
    name: str
    does: Callable[[], None]
    #: Else before the step.
    is_after: bool = False
    #: After any other step it is what it is before the next one.
    only_commit: bool = False

    def steps(self, at: int) -> Steps:
        return Steps(at, after=self.does) if self.is_after else Steps(at, before=self.does)


SEED = int(os.environ.get("SEED", "20261122"))
#: Of acts that do by another door, or by less, what others do, so many steps are drawn; 0: all, as `make campaign
#: PART=statements` asks.
DRAWN = int(os.environ.get("DRAWN", "4"))
LIKE_OTHERS = ("create", "apply, asked of the API")
FAULTS = [
    Fault("error before", faults.fail),
    Fault("error after", faults.fail, is_after=True),
    Fault("connection closed", faults.close),
    Fault("connection closed after", faults.close, is_after=True, only_commit=True),
    Fault("process killed", faults.kill),
    Fault("process killed after", faults.kill, is_after=True, only_commit=True),
]


@pytest.fixture
def again() -> Iterator[Callable[[], None]]:
    logging.disable()  # thousands of errors are meant
    with standing_still() as again:
        yield again
    logging.disable(logging.NOTSET)


def undisturbed(world: World, act: Callable[[World], Any], before: Kept) -> tuple[list[str], Dump]:
    """Its steps, and what is in the database afterwards, where all is put back."""
    with Steps() as steps:
        act(world)
    after = dump()
    assert after != before.dump
    assert verify_org(world.org.pk).ok
    before.put_back(after)
    assert dump() == before.dump
    return steps.seen, after


def was_answered(world: World, act: Callable[[World], Any], fault: Fault, at: int) -> bool:
    """Whether somebody who asked for the act, of which this step fails, was told that it is done."""

    def run() -> None:
        with fault.steps(at):
            act(world)

    if fault.does is faults.kill:
        assert was_killed(forked(run))
        return False
    try:
        run()
    except Exception:
        return False
    finally:
        if fault.does is faults.close:
            connection.close()
    return True


def test_whichever_statement_fails_all_of_an_act_happened_or_nothing(again: Callable[[], None]) -> None:
    world = a_world()
    before = Kept()
    cases = Counter[str]()
    found = Counter[str]()
    for name, act in ACTS.items():
        again()
        steps, after = undisturbed(world, act, before)
        assert steps.count(COMMIT) == 1, f"{name} is one transaction"
        commit = steps.index(COMMIT)
        drawn = list(range(len(steps)))
        if DRAWN and name in LIKE_OTHERS:
            chance = Random(f"{SEED} {connection.vendor} {name}")
            drawn = sorted({*chance.sample(drawn, min(DRAWN, len(drawn))), commit})
        for at in drawn:
            step = steps[at]
            for fault in FAULTS:
                if fault.only_commit and at != commit:
                    continue
                again()
                answered = was_answered(world, act, fault, at)
                now = dump()
                is_over = at > commit or (at == commit and fault.is_after)
                where = f"{name}, {fault.name} at step {at + 1} of {len(steps)}: {step}"
                assert now in (before.dump, after), f"torn: {where}"
                assert (now == after) == is_over, where
                assert is_over or not answered, f"answered, and nothing happened: {where}"
                cases[fault.name] += 1
                found["after" if is_over else "before"] += 1
                if is_over:
                    before.put_back(now)
        print(f"{name}: {len(drawn)} of {len(steps)} steps, of which the {commit + 1}th commits")
    told = ", ".join(f"{count} {fault}" for fault, count in cases.items())
    print(
        f"{connection.vendor}: {cases.total()} cases: {told}; {found['before']} before, {found['after']} after, 0 torn"
    )
