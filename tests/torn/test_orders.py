"""Two acts on one organisation in every order of their steps: what comes of it is what comes of one after the other."""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import Any

import pytest
from django.db import connection, connections

from plans.errors import PlansError
from plans.runs import services as plans
from routes.errors import RoutesError
from routes.rules.services import update_route
from tests.build import BY
from tests.torn.acts import World, a_world, changed
from tests.torn.dumps import Dump, Kept, dump, standing_still
from tests.torn.faults import Steps

pytestmark = pytest.mark.django_db(transaction=True)
#: What somebody does who looked at the organisation before: the second number tells two that do the same apart.
Act = Callable[[World, int], Any]
ACTS: dict[str, Act] = {
    "edit": lambda world, n: update_route(
        world.org, world.edited.uid, changed(world.edited, priority=n), by=BY, expected_revision=world.edited.revision
    ),
    "apply": lambda world, n: plans.apply(world.projected, by=BY),
    "revert": lambda world, n: plans.revert(world.applied, by=BY),
}


class Doing:
    """An act in a thread, which may be held before one of its steps."""

    def __init__(self, act: Callable[[], Any], hold_at: int | None = None) -> None:
        self.outcome = ""
        self.is_held, self.may_go_on, self.has_begun = threading.Event(), threading.Event(), threading.Event()
        self._act, self._hold_at = act, hold_at
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with Steps(self._hold_at, before=self._hold) if self._hold_at is not None else Steps(0, before=self._begin):
                self._act()
            self.outcome = "done"
        except (PlansError, RoutesError) as refused:
            self.outcome = refused.code
        except BaseException as error:
            self.outcome = f"{type(error).__name__}: {error}"
        finally:
            self.is_held.set()
            self.has_begun.set()
            connections.close_all()

    def _begin(self) -> None:
        self.has_begun.set()

    def _hold(self) -> None:
        self.is_held.set()
        self.may_go_on.wait(30)

    def is_over(self, seconds: float | None = None) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


@pytest.fixture
def world() -> Iterator[World]:
    logging.disable()
    with standing_still():
        yield a_world()
    logging.disable(logging.NOTSET)


def one_after_the_other(first: Callable[[], Any], second: Callable[[], Any], before: Kept) -> tuple[str, str, Dump]:
    found = []
    for act in (first, second):
        doing = Doing(act)
        assert doing.is_over(30)
        found.append(doing.outcome)
    now = dump()
    before.put_back(now)
    return found[0], found[1], now


def is_waiting() -> bool:
    """Whether somebody waits for a lock."""
    if connection.vendor != "postgresql":
        return True  # who has begun there has the one lock
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def meet(first: Callable[[], Any], second: Callable[[], Any], hold_at: int) -> tuple[str, str]:
    """The second begins when the first is before this step, and gets as far as it can; then the first goes on."""
    held = Doing(first, hold_at)
    assert held.is_held.wait(30)
    other = Doing(second)
    assert other.has_begun.wait(30)
    # Before its first step nobody has locked anything.
    while not other.is_over(0.001) and (hold_at == 0 or not is_waiting()):
        pass
    held.may_go_on.set()
    assert held.is_over(30)
    assert other.is_over(30)
    return held.outcome, other.outcome


def test_two_acts_at_once_are_two_acts_one_after_the_other(world: World) -> None:
    before = Kept()
    for pair in combinations_with_replacement(ACTS, 2):
        acts = [lambda name=name, n=n: ACTS[name](world, n) for n, name in enumerate(pair, 7)]
        for first, second in [acts] if pair[0] == pair[1] else [acts, acts[::-1]]:
            in_order = one_after_the_other(first, second, before)
            a, b, end = one_after_the_other(second, first, before)
            allowed, seen = [in_order, (b, a, end)], set()
            with Steps() as steps:
                first()
            before.put_back()
            for step, statement in enumerate(steps.seen):
                found = (*meet(first, second, step), dump())
                where = f"{pair}, the second at step {step + 1} of {len(steps.seen)} of the first: {statement}"
                assert found in allowed, f"{found[:2]}: {where}"
                seen.add(allowed.index(found))
                before.put_back(found[2])
            assert len(seen) == (1 if allowed[0] == allowed[1] else 2), "both orders came about"
            outcomes = ", or ".join(f"{one[0]} and {one[1]}" for one in allowed)
            print(
                f"{connection.vendor}: {' against '.join(pair)}: {len(steps.seen)} meetings, {outcomes}, no edit lost"
            )
