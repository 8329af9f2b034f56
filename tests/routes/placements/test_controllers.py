"""Controllers that are killed at any statement of any step, and ones that take the same step at once."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from audit.verification import verify_org
from routes.engine import Placement as PlacementState
from routes.engine import Target
from routes.engine.errors import RoutingError
from routes.engine.placements import DRAIN_SECONDS
from routes.orgs.models import Organization
from routes.placements import services
from routes.placements.models import Placement, placement_of
from routes.placements.services import abort_move, begin_move, complete_move, cut_over, set_placement
from tests.build import BY, an_org
from tests.forks import forked, was_killed
from tests.torn import faults
from tests.torn.dumps import Kept
from tests.torn.faults import COMMIT, Steps

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]
A, B = Target("eu", "orders", "https://eu.example"), Target("us", "orders", "https://us.example")
Step = Callable[[Organization], Any]
SET: Step = lambda org: set_placement(org, "acme", A, by=BY)  # noqa: E731  they are values
BEGIN: Step = lambda org: begin_move(org, "acme", B, by=BY)  # noqa: E731
CUT_OVER: Step = lambda org: cut_over(org, "acme", by=BY)  # noqa: E731
COMPLETE: Step = lambda org: complete_move(org, "acme", by=BY)  # noqa: E731
ABORT: Step = lambda org: abort_move(org, "acme", by=BY)  # noqa: E731
#: What came before, and the phase that the step leads to.
STEPS: dict[str, tuple[list[Step], Step, str]] = {
    "set": ([], SET, "settled"),
    "begin": ([SET], BEGIN, "draining"),
    "cut over": ([SET, BEGIN], CUT_OVER, "cutover"),
    "complete": ([SET, BEGIN, CUT_OVER], COMPLETE, "settled"),
    "abort while draining": ([SET, BEGIN], ABORT, "settled"),
    "abort in cutover": ([SET, BEGIN, CUT_OVER], ABORT, "settled"),
}


def state_of(org: Organization) -> PlacementState | None:
    org.refresh_from_db()
    return placement_of(org, "acme")


def wait_for_the_barrier(org: Organization) -> None:
    ago = timezone.now() - timedelta(seconds=DRAIN_SECONDS + 1)
    Placement.objects.of(org).filter(phase="cutover").update(cut_over_at=ago)


def go_on(org: Organization) -> PlacementState:
    """What another controller does with whatever it finds: it moves the partition to B."""
    for _ in range(5):
        now = state_of(org)
        if now is not None and now.phase == "settled" and now.target == B:
            return now
        wait_for_the_barrier(org)
        step = {None: SET, "settled": BEGIN, "draining": CUT_OVER, "cutover": COMPLETE}[now.phase if now else None]
        step(org)
    raise AssertionError("it goes round in circles")


def call_off(org: Organization) -> PlacementState | None:
    now = state_of(org)
    if now is not None and now.phase != "settled":
        ABORT(org)
    return state_of(org)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.every_case
def test_a_controller_killed_at_any_statement_leaves_a_move_that_another_resumes_or_aborts(name: str) -> None:
    before_it, step, phase = STEPS[name]
    org = an_org()
    for each in before_it:
        each(org)
    wait_for_the_barrier(org)
    was, kept = state_of(org), Kept()
    epoch = org.placement_epoch
    with Steps() as steps:
        step(org)
    kept.put_back()
    org.refresh_from_db()
    assert steps.seen.count(COMMIT) == 1
    found = Counter[str]()
    for at in range(len(steps.seen)):
        for fault in (Steps(at, before=faults.kill), Steps(at, after=faults.kill)):
            assert was_killed(forked(partial(_disturbed, org, step, fault)))
            now = state_of(org)
            if now == was:
                assert org.placement_epoch == epoch
                found["nothing"] += 1
            else:
                assert now is not None
                assert (now.phase, now.epoch, org.placement_epoch) == (phase, epoch + 1, epoch + 1)
                assert AuditEntry.objects.filter(target_type="placement").count() == len(before_it) + 1
                found["all"] += 1
            half = Kept()
            called_off = call_off(org)
            if called_off is not None:
                assert (called_off.phase, called_off.to) == ("settled", None)
                assert called_off.target == (now.target if now else None)
            half.put_back()
            done = go_on(org)
            assert not any(done.admits(old) for old in range(done.epoch))
            assert verify_org(org.pk).ok
            kept.put_back()
            org.refresh_from_db()
    # What comes after the commit notes since when a cutover could be seen.
    later = len(steps.seen) - 1 - steps.seen.index(COMMIT)
    assert bool(later) is (name == "cut over")
    assert found["all"] == 1 + 2 * later, "after the commit"
    assert found["nothing"] == 2 * (len(steps.seen) - later) - 1


def _disturbed(org: Organization, step: Step, fault: Steps) -> None:
    with fault:
        step(org)


def _attempt(org: Organization, step: Step, note: Path) -> None:
    try:
        step(org)
    except RoutingError as refused:
        note.write_text(refused.code)
    else:
        note.write_text("done")


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("begin", {"already_migrating"}),
        ("cut over", {"not_draining"}),
        ("complete", {"not_migrating"}),
        ("abort in cutover", {"not_migrating"}),
    ],
)
@pytest.mark.every_case
def test_of_controllers_that_take_a_step_at_once_one_wins_and_the_others_are_refused(
    name: str, refused: set[str], tmp_path: Path
) -> None:
    before_it, step, phase = STEPS[name]
    org = an_org()
    for each in before_it:
        each(org)
    wait_for_the_barrier(org)
    org.refresh_from_db()
    epoch = org.placement_epoch
    notes = [tmp_path / f"{number}" for number in range(6)]
    for child in [forked(partial(_attempt, org, step, note)) for note in notes]:
        assert not was_killed(child)
    said = Counter(note.read_text() for note in notes)
    assert said["done"] == 1
    assert set(said) - {"done"} == refused
    now = state_of(org)
    assert now is not None
    assert (now.phase, now.epoch, org.placement_epoch) == (phase, epoch + 1, epoch + 1)


def test_of_one_that_completes_and_one_that_aborts_one_wins_whoever_it_is(tmp_path: Path) -> None:
    for number in range(6):
        org = an_org(f"org-{number}")
        for each in (SET, BEGIN, CUT_OVER):
            each(org)
        wait_for_the_barrier(org)
        notes = [tmp_path / f"{number}-{name}" for name in ("complete", "abort")]
        both = list(zip(notes, (COMPLETE, ABORT), strict=True))
        attempts = [partial(_attempt, org, step, note) for note, step in (both if number % 2 else both[::-1])]
        for child in [forked(attempt) for attempt in attempts]:
            assert not was_killed(child)
        said = [note.read_text() for note in notes]
        assert sorted(said) == ["done", "not_migrating"]
        now = state_of(org)
        assert now is not None
        assert now.target == (B if said[0] == "done" else A)


def test_a_store_that_fails_in_a_step_leaves_the_phase_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared case cp-backend-failure."""
    from django.db import OperationalError

    org = an_org()
    SET(org)
    BEGIN(org)
    before = state_of(org)

    def away(*_: Any) -> Any:
        raise OperationalError("the store is down")

    with monkeypatch.context() as patched:
        patched.setattr(services, "_now", away)
        with pytest.raises(OperationalError):
            CUT_OVER(org)
    assert state_of(org) == before
    assert before is not None
    assert before.phase == "draining"
