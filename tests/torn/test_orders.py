"""Two acts on one organisation in every order of their steps: what comes of it is what comes of one after the other."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from functools import cache, partial
from itertools import combinations_with_replacement
from random import Random
from typing import Any

import pytest
from django.db import connection, connections

from audit.actors import Actor
from plans.errors import PlansError
from plans.runs import services as plans
from routes.document import document_of
from routes.errors import RoutesError
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.rules.services import update_route
from tests.build import BY
from tests.databases import ON_POSTGRES
from tests.torn.acts import World, a_world, changed
from tests.torn.dumps import Dump, Kept, dump, standing_still
from tests.torn.faults import Steps

pytestmark = pytest.mark.django_db(transaction=True)
SEED = int(os.environ.get("SEED", "20261122"))
#: Of the steps of an act in which its locks are held, so many are drawn; `make campaign PART=orders` asks for all.
DRAWN = int(os.environ.get("DRAWN", "1"))
#: Those that always meet; the first at every step.
FIXED = [("edit", "apply"), ("apply", "freeze"), ("apply", "rename"), ("apply", "approve")]
#: So many other pairs are drawn; 0: all.
PAIRS = int(os.environ.get("PAIRS", "8" if ON_POSTGRES else "2"))
#: Longer than anybody waits who is not stuck.
TOO_LONG_SECONDS = 30
PIA = Actor("user", "pia", None, "pia")
#: What somebody does who looked at the organisation before: the second number tells two that do the same apart.
Act = Callable[[World, int], Any]
ACTS: dict[str, Act] = {
    "edit": lambda world, n: update_route(
        world.org, world.edited.uid, changed(world.edited, priority=n), by=BY, expected_revision=world.edited.revision
    ),
    "apply": lambda world, n: plans.apply(copy(world.projected), by=BY),
    "revert": lambda world, n: plans.revert(copy(world.applied), by=BY),
    "rename": lambda world, n: plans.edit(copy(world.projected), name=f"name {n}", by=BY),
    "approve": lambda world, n: plans.approve(copy(world.projected), by=PIA),
    "freeze": lambda world, n: freeze(copy(world.org), reason=f"Reason {n}.", by=BY),
}


class Person:
    """Does one thing after another, on a connection that is theirs alone."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def begin(self, act: Callable[[], Any], hold_at: int | None = None) -> "Doing":
        return Doing(self._thread, act, hold_at)

    def leave(self) -> None:
        self._thread.submit(connections.close_all).result(TOO_LONG_SECONDS)
        self._thread.shutdown()


class Doing:
    """An act in a thread, which may be held before one of its steps."""

    def __init__(self, thread: ThreadPoolExecutor, act: Callable[[], Any], hold_at: int | None) -> None:
        self.outcome = ""
        self.answer: Any = None
        self.is_held, self.may_go_on = threading.Event(), threading.Event()
        self._act, self._hold_at = act, hold_at
        self._steps: Steps | None = None
        self._future: Future[None] = thread.submit(self._run)

    def _run(self) -> None:
        try:
            with Steps(self._hold_at, before=self._hold) as self._steps:
                self.answer = self._act()
            self.outcome = "done"
        except (PlansError, RoutesError) as refused:
            self.outcome = refused.code
        except BaseException as error:
            self.outcome = f"{type(error).__name__}: {error}"
        finally:
            self.is_held.set()

    def _hold(self) -> None:
        self.is_held.set()
        self.may_go_on.wait(TOO_LONG_SECONDS)

    def is_over(self) -> bool:
        return self._future.done()

    def end(self) -> None:
        self._future.result(TOO_LONG_SECONDS)

    def is_waiting(self) -> bool:
        """Whether it waits for a lock. Of this database nobody else does."""
        if connection.vendor != "postgresql":  # where who began to write has the one lock
            return self._steps is not None and self._steps.seen[-1:] == ["BEGIN IMMEDIATE"]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND backend_type = 'client backend' AND datname = current_database()"
            )
            return bool(cursor.fetchone()[0])


@pytest.fixture
def world() -> Iterator[World]:
    logging.disable()
    with standing_still():
        yield a_world()
    logging.disable(logging.NOTSET)


@pytest.fixture
def people() -> Iterator[tuple[Person, Person]]:
    both = Person(), Person()
    yield both
    for person in both:
        person.leave()


def one_after_the_other(
    first: Callable[[], Any], second: Callable[[], Any], before: Kept
) -> tuple[tuple[str, str, Dump], list[str]]:
    """What comes of it, and the steps of the first."""
    found = []
    for act in (first, second):
        with Steps() as steps:
            try:
                act()
            except (PlansError, RoutesError) as refused:
                found.append((refused.code, steps.seen))
            else:
                found.append(("done", steps.seen))
    now = dump()
    before.put_back(now)
    return (found[0][0], found[1][0], now), found[0][1]


def meet(people: tuple[Person, Person], first: Callable[[], Any], second: Callable[[], Any], at: int) -> list[Doing]:
    """The second begins when the first is before this step, and gets as far as it can; then the first goes on. Neither has
    too long for it."""
    held = people[0].begin(first, at)
    assert held.is_held.wait(TOO_LONG_SECONDS)
    other = people[1].begin(second)
    latest = time.monotonic() + TOO_LONG_SECONDS
    is_late = False
    # Before its first step nobody has locked anything.
    while not other.is_over() and (at == 0 or not other.is_waiting()) and not is_late:
        time.sleep(0.001)
        is_late = time.monotonic() > latest
    held.may_go_on.set()
    held.end()
    other.end()
    assert not is_late, "the second neither ended nor waited for the first"
    return [held, other]


def places(steps: list[str], chance: Random, drawn: int) -> list[int]:
    """Before which steps to meet: each until something is locked or written and the one after it, then some."""
    locks = [n for n, step in enumerate(steps) if step.startswith(("BEGIN IMM", "UPDATE", "INSERT")) or " FOR " in step]
    first = min(locks, default=len(steps)) + 2
    rest = range(first, len(steps))
    return [*range(min(first, len(steps))), *sorted(chance.sample(rest, min(drawn, len(rest))))]


def drawn() -> list[tuple[str, str]]:
    """The pairs that meet, each in both orders."""
    others = [pair for pair in combinations_with_replacement(ACTS, 2) if pair not in FIXED]
    chosen = Random(f"{SEED} {connection.vendor}").sample(others, PAIRS or len(others))
    return [pair for one in [*FIXED, *chosen] for pair in dict.fromkeys((one, one[::-1]))]


def test_two_acts_at_once_are_two_acts_one_after_the_other(world: World, people: tuple[Person, Person]) -> None:
    before = Kept()
    acts = {(name, n): lambda name=name, n=n: ACTS[name](world, n) for name in ACTS for n in (7, 8)}
    ordered = cache(lambda first, second: one_after_the_other(acts[first], acts[second], before))
    for pair in drawn():
        first, second = list(zip(pair, (7, 8) if pair[0] <= pair[1] else (8, 7), strict=True))
        in_order, steps = ordered(first, second)
        assert in_order[0] == "done", f"{pair[0]} can be done"
        a, b, end = ordered(second, first)[0]
        allowed, seen = [in_order, (b, a, end)], set()
        chance = Random(f"{SEED} {connection.vendor} {pair}")
        at = places(steps, chance, len(steps) if set(pair) == set(FIXED[0]) else DRAWN)
        for step in at:
            held, other = meet(people, acts[first], acts[second], step)
            found = (held.outcome, other.outcome, dump())
            where = f"{pair}, the second at step {step + 1} of {len(steps)} of the first: {steps[step]}"
            assert found in allowed, f"{found[:2]}: {where}"
            seen.add(allowed.index(found))
            before.put_back(found[2])
        assert len(seen) == (1 if allowed[0] == allowed[1] else 2), "both orders came about"
        outcomes = ", or ".join(dict.fromkeys(f"{one[0]} and {one[1]}" for one in allowed))
        print(
            f"{connection.vendor}: {' against '.join(pair)}: {len(at)} of {len(steps)} meetings, {outcomes}, no edit lost"
        )


#: What is told with the version it is of. Not the list of routes: who writes with its tag, which is read first, is refused.
READS: dict[str, Callable[[World], Any]] = {
    "what is live": lambda world: document_of(Organization.objects.get(pk=world.org.pk)).to_bytes(),
    "what gateways load": lambda world: _asked(world, "snapshot/"),
}


def _asked(world: World, path: str) -> Any:
    answer = world.caller("get", path)
    assert answer.status_code == 200
    return answer.content, answer.headers.get("ETag")


def test_who_reads_while_somebody_publishes_sees_one_version(world: World, people: tuple[Person, Person]) -> None:
    before = Kept()
    for name, read in READS.items():
        allowed = []
        with Steps() as steps:
            allowed.append(read(world))
        ACTS["apply"](world, 0)
        allowed.append(read(world))
        before.put_back()
        for step, statement in enumerate(steps.seen):
            held, other = meet(people, partial(read, world), lambda: ACTS["apply"](world, 0), step)
            where = f"{name}, an apply before step {step + 1} of {len(steps.seen)}: {statement}"
            assert (held.outcome, other.outcome) == ("done", "done"), where
            assert held.answer in allowed, where
            before.put_back()
        print(f"{connection.vendor}: {name}: an apply before each of {len(steps.seen)} statements, one version seen")
