"""Placing partitions and moving them: each step, its entry, the counter, who comes second, and the barrier."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.utils import timezone

from audit.models import AuditEntry
from audit.services import record
from routes.engine import Placement as PlacementState
from routes.engine import Target
from routes.engine.errors import RoutingError, StaleEpoch
from routes.engine.placements import (
    DEFAULT,
    AlreadyMigrating,
    BarrierPending,
    NotCutover,
    NotDraining,
    NotMigrating,
    UnknownPartition,
    check_write,
)
from routes.errors import NotFound, OrganizationFrozen
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.placements import services
from routes.placements.models import Placement, placement_of
from routes.placements.services import (
    InvalidPlacement,
    PlacedElsewhere,
    StalePlacement,
    TooManyPlacements,
    abort_move,
    begin_barrier,
    begin_move,
    complete_move,
    cut_over,
    get_placement,
    remaining,
    remove_placement,
    set_placement,
)
from tests.build import BY, an_org
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db
A, B = Target("eu", "orders", "https://eu.example"), Target("us", "orders", "https://us.example/base")


def later(row: Placement, seconds: float) -> None:
    """As if the cutover had been so long ago."""
    since = row.cut_over_at or timezone.now()
    Placement.objects.filter(pk=row.pk).update(cut_over_at=since - timedelta(seconds=seconds))


def state_of(org: Organization) -> Any:
    org.refresh_from_db()
    rows = list(Placement.objects.of(org).values())
    return org.placement_epoch, org.version, rows, AuditEntry.objects.filter(org_id=org.pk).count()


def entry(org: Organization) -> tuple[str, Any]:
    row = AuditEntry.objects.filter(org_id=org.pk).latest("seq")
    told = json.loads(bytes(row.payload or b""))
    assert told.pop("actor_name") == "test"
    return row.action, told


def test_a_partition_moves_from_one_cluster_to_another_and_each_step_is_recorded(org: Organization) -> None:
    version = org.version
    row, receipt = set_placement(org, "acme", A, by=BY)
    assert (row.epoch, row.phase, placement_of(org, "acme")) == (1, "settled", PlacementState("acme", A, 1))
    assert entry(org) == (
        "placement.set",
        {
            "name": "acme", "was": None,
            "is": {"target": "eu/orders", "endpoint": "https://eu.example", "phase": "settled", "epoch": 1},
        },
    )  # fmt: skip
    assert receipt.seq == AuditEntry.objects.get(action="placement.set").seq
    begin_move(org, "acme", B, by=BY, drain_seconds=40)
    assert placement_of(org, "acme") == PlacementState("acme", A, 2, "draining", B)
    action, told = entry(org)
    assert (action, told["is"]["to"], told["drain_seconds"]) == ("placement.move_begun", "us/orders", 40)
    row, _ = cut_over(org, "acme", by=BY)
    assert placement_of(org, "acme") == PlacementState("acme", A, 3, "cutover", B)
    assert 38 < remaining(row) <= 40
    later(row, 40)
    complete_move(org, "acme", by=BY)
    assert placement_of(org, "acme") == PlacementState("acme", B, 4)
    row = get_placement(org, "acme")
    assert (row.to_cluster, row.to_endpoint, row.cut_over_at, remaining(row)) == ("", "", None, 0.0)
    org.refresh_from_db()
    assert (org.placement_epoch, org.version) == (4, version), "an epoch is no version"
    assert [one.action for one in AuditEntry.objects.filter(target_type="placement").order_by("seq")] == [
        "placement.set", "placement.move_begun", "placement.cut_over", "placement.moved",
    ]  # fmt: skip
    assert {one.target_id for one in AuditEntry.objects.filter(target_type="placement")} == {str(row.uid)}


STEPS: dict[str, Callable[[Organization], Any]] = {
    "set": lambda org: set_placement(org, "acme", B, by=BY),
    "begin": lambda org: begin_move(org, "acme", B, by=BY),
    "cutover": lambda org: cut_over(org, "acme", by=BY),
    "complete": lambda org: complete_move(org, "acme", by=BY),
    "abort": lambda org: abort_move(org, "acme", by=BY),
    "remove": lambda org: remove_placement(org, "acme", by=BY),
}


def in_phase(org: Organization, phase: str) -> None:
    if phase:
        set_placement(org, "acme", A, by=BY)
    if phase in ("draining", "cutover"):
        begin_move(org, "acme", B, by=BY)
    if phase == "cutover":
        cut_over(org, "acme", by=BY)
        begin_barrier(org, "acme")  # as once it is committed


@pytest.mark.parametrize(
    ("phase", "step", "refused"),
    [
        *[("", step, UnknownPartition) for step in ("begin", "cutover", "complete", "abort", "remove")],
        *[("settled", step, NotMigrating) for step in ("cutover", "complete", "abort")],
        ("draining", "set", AlreadyMigrating),
        ("draining", "begin", AlreadyMigrating),
        ("draining", "remove", AlreadyMigrating),
        ("draining", "complete", NotCutover),
        ("cutover", "set", AlreadyMigrating),
        ("cutover", "begin", AlreadyMigrating),
        ("cutover", "remove", AlreadyMigrating),
        ("cutover", "cutover", NotDraining),
        ("cutover", "complete", BarrierPending),
    ],
)
def test_a_step_that_is_not_possible_changes_nothing_not_even_the_counter(
    org: Organization, phase: str, step: str, refused: type[RoutingError]
) -> None:
    in_phase(org, phase)
    before = state_of(org)
    with pytest.raises(refused):
        STEPS[step](org)
    assert state_of(org) == before


@pytest.mark.parametrize("phase", ["draining", "cutover"])
def test_an_aborted_move_is_settled_where_it_was_at_a_new_epoch(org: Organization, phase: str) -> None:
    in_phase(org, phase)
    epoch = get_placement(org, "acme").epoch
    abort_move(org, "acme", by=BY)
    assert placement_of(org, "acme") == PlacementState("acme", A, epoch + 1)
    assert entry(org)[0] == "placement.move_aborted"


def test_a_barrier_ends_at_its_time_and_says_how_long_that_is(org: Organization) -> None:
    in_phase(org, "cutover")
    row = get_placement(org, "acme")
    later(row, 29)
    with pytest.raises(BarrierPending) as caught:
        complete_move(org, "acme", by=BY)
    assert 0 < caught.value.remaining <= 1
    later(row, 30)
    complete_move(org, "acme", by=BY)


def test_a_cutover_of_which_nobody_knows_when_it_was_is_no_old_one(org: Organization) -> None:
    """As a controller leaves it that died right after it: whoever asks first to complete it begins the time."""
    in_phase(org, "cutover")
    Placement.objects.update(cut_over_at=None)
    with pytest.raises(BarrierPending) as caught:
        complete_move(org, "acme", by=BY)
    assert 29 < caught.value.remaining <= 30
    row = get_placement(org, "acme")
    later(row, 29)
    with pytest.raises(BarrierPending):
        complete_move(org, "acme", by=BY)
    later(row, 30)
    complete_move(org, "acme", by=BY)


def test_the_time_begins_when_a_cutover_can_be_seen_however_long_that_took(
    org: Organization, django_capture_on_commit_callbacks: Any
) -> None:
    """Writes are admitted until then, by gateways that read the placement as it was."""
    passed = timedelta()

    def slow(*given: Any, **more: Any) -> Any:
        nonlocal passed
        passed += timedelta(minutes=1)
        return record(*given, **more)

    with (
        patch.object(services, "_now", lambda: timezone.now() + passed),
        patch.object(services, "record", slow),
        django_capture_on_commit_callbacks(execute=True),
    ):
        in_phase(org, "draining")
        cut_over(org, "acme", by=BY)
    with patch.object(services, "_now", lambda: timezone.now() + passed), pytest.raises(BarrierPending) as caught:
        complete_move(org, "acme", by=BY)
    assert 29 < caught.value.remaining <= 30


def test_of_two_controllers_that_saw_the_same_one_is_refused(org: Organization) -> None:
    set_placement(org, "acme", A, by=BY, expected_epoch=0)
    for step in (
        lambda epoch: begin_move(org, "acme", B, by=BY, expected_epoch=epoch),
        lambda epoch: cut_over(org, "acme", by=BY, expected_epoch=epoch),
        lambda epoch: abort_move(org, "acme", by=BY, expected_epoch=epoch),
        lambda epoch: set_placement(org, "acme", B, by=BY, expected_epoch=epoch),
    ):
        epoch = get_placement(org, "acme").epoch
        step(epoch)
        before = state_of(org)
        with pytest.raises(StalePlacement) as caught:
            step(epoch)
        assert caught.value.placement == get_placement(org, "acme")
        assert state_of(org) == before
    with pytest.raises(StalePlacement):
        set_placement(org, "other", A, by=BY, expected_epoch=3)
    with pytest.raises(StalePlacement):
        set_placement(org, "acme", A, by=BY, expected_epoch=0)


def test_the_default_is_that_of_all_others_and_one_leaves_it_alone(org: Organization) -> None:
    set_placement(org, DEFAULT, A, by=BY)
    assert placement_of(org, "acme") == PlacementState("acme", A, 1)
    begin_move(org, "acme", B, by=BY)
    assert placement_of(org, "acme") == PlacementState("acme", A, 2, "draining", B)
    assert placement_of(org, "other") == PlacementState("other", A, 1)
    begin_move(org, DEFAULT, B, by=BY)
    with pytest.raises(AlreadyMigrating):
        begin_move(org, "third", B, by=BY)
    with pytest.raises(NotFound):
        get_placement(org, "third")


@pytest.mark.parametrize("in_cutover", [False, True])
def test_while_the_default_moves_nobody_who_has_it_is_placed_elsewhere(org: Organization, in_cutover: bool) -> None:
    """It would be written there at once, while what was admitted before is on its way to the old place."""
    set_placement(org, DEFAULT, A, by=BY)
    begin_move(org, DEFAULT, B, by=BY)
    if in_cutover:
        cut_over(org, DEFAULT, by=BY)
    before = state_of(org)
    for step in (set_placement, begin_move):
        with pytest.raises(AlreadyMigrating, match=r"acme is where \* is, which is being moved to us/orders"):
            step(org, "acme", B, by=BY)
    assert state_of(org) == before
    abort_move(org, DEFAULT, by=BY)
    set_placement(org, "acme", B, by=BY)


def test_organisations_have_counters_and_placements_of_their_own(org: Organization) -> None:
    other = an_org("other")
    in_phase(org, "draining")
    row, _ = set_placement(other, "acme", B, by=BY)
    assert (row.epoch, get_placement(org, "acme").epoch) == (1, 2)
    assert placement_of(an_org("third"), "acme") is None


@pytest.mark.parametrize(
    ("partition", "target", "drain", "path"),
    [
        ("", A, 30, "partition"),
        ("a/b", A, 30, "partition"),
        ("**", A, 30, "partition"),
        ("ä", A, 30, "partition"),
        ("a" * 201, A, 30, "partition"),
        ("acme", Target("eu", "orders"), 30, "endpoint"),
        ("acme", Target("eu", "orders", "ftp://eu.example"), 30, "endpoint"),
        ("acme", Target("eu", "orders", "https://eu.example/?a=b"), 30, "endpoint"),
        ("acme", Target("eu", "orders", "https://eu.example/" + "a" * 500), 30, "endpoint"),
        ("acme", Target("eu", "orders", "https://eu.example/a/../b"), 30, "endpoint"),
        ("acme", Target("eu", "orders", "https://placement.invalid"), 30, "endpoint"),
        ("acme", Target("eu", "orders", "https://10.0.0.1"), 30, "endpoint"),
        ("acme", Target("e" * 201, "orders", "https://eu.example"), 30, "cluster"),
        ("acme", Target("eu", "o" * 201, "https://eu.example"), 30, "resource"),
        ("acme", B, 29.9, "drain_seconds"),
        ("acme", B, 86_401, "drain_seconds"),
        ("acme", B, float("nan"), "drain_seconds"),
    ],
)
def test_what_can_be_no_placement_is_refused_with_its_place(
    org: Organization, partition: str, target: Target, drain: float, path: str
) -> None:
    set_placement(org, "acme", A, by=BY)
    before = state_of(org)
    with pytest.raises(InvalidPlacement) as caught:
        begin_move(org, partition, target, by=BY, drain_seconds=drain)
    assert [one["path"] for one in caught.value.issues] == [path]
    assert state_of(org) == before


def test_nothing_moves_to_where_it_is(org: Organization) -> None:
    set_placement(org, "acme", A, by=BY)
    with pytest.raises(InvalidPlacement, match="at eu/orders already"):
        begin_move(org, "acme", A, by=BY)


def test_a_frozen_organisation_moves_nothing(org: Organization) -> None:
    in_phase(org, "draining")
    freeze(org, reason="audit", by=BY)
    before = state_of(org)
    for step in STEPS.values():
        with pytest.raises(OrganizationFrozen):
            step(org)
    assert state_of(org) == before


def test_a_placement_is_removed_where_the_default_is_and_its_epoch_is_not_given_again(org: Organization) -> None:
    set_placement(org, "*", A, by=BY)
    set_placement(org, "acme", A, by=BY)
    uid = get_placement(org, "acme").uid
    decided = placement_of(org, "acme")
    assert decided is not None
    receipt = remove_placement(org, "acme", by=BY, expected_epoch=2)
    assert placement_of(org, "acme") == PlacementState("acme", A, 1)
    with pytest.raises(StaleEpoch):  # a write that was decided before
        check_write(placement_of(org, "acme"), decided.epoch)
    assert entry(org) == ("placement.removed", {"name": "acme", "was": {
        "target": "eu/orders", "endpoint": A.endpoint, "phase": "settled", "epoch": 2,
    }})  # fmt: skip
    told = AuditEntry.objects.get(action="placement.removed")
    assert (told.seq, told.target_id) == (receipt.seq, str(uid))
    assert set_placement(org, "acme", A, by=BY)[0].epoch == 3


def test_a_placement_is_kept_that_would_be_elsewhere_or_move_by_being_removed(org: Organization) -> None:
    set_placement(org, "*", A, by=BY)
    set_placement(org, "acme", B, by=BY)
    set_placement(org, "other", replace(A, endpoint="https://eu-2.example"), by=BY)
    set_placement(org, "third", A, by=BY)
    before = state_of(org)
    for partition in ("acme", "other"):
        with pytest.raises(PlacedElsewhere, match="move it there first"):
            remove_placement(org, partition, by=BY)
    with pytest.raises(StalePlacement):
        remove_placement(org, "third", by=BY, expected_epoch=2)
    assert state_of(org) == before
    begin_move(org, "*", B, by=BY)
    before = state_of(org)
    for partition in ("third", "*"):
        with pytest.raises(AlreadyMigrating, match=r"\* is being moved"):
            remove_placement(org, partition, by=BY)
    assert state_of(org) == before


def test_without_a_default_nothing_is_left_of_a_placement_that_is_removed(org: Organization) -> None:
    for partition in ("acme", "*"):
        set_placement(org, partition, A, by=BY)
        remove_placement(org, partition, by=BY)
        assert placement_of(org, "acme") is None
    with pytest.raises(UnknownPartition):
        remove_placement(org, "*", by=BY)


def test_there_is_a_bound_to_their_number(org: Organization) -> None:
    set_placement(org, "acme", A, by=BY)
    with patch.object(services, "MAX_PLACEMENTS", 1):
        with pytest.raises(TooManyPlacements, match="have the default"):
            set_placement(org, "other", A, by=BY)
        begin_move(org, "acme", B, by=BY)


@pytest.mark.parametrize("broken", ["record", "Placement.save", "Organization.save"])
def test_when_any_part_of_a_step_fails_nothing_happened(org: Organization, broken: str) -> None:
    """As the shared case `cp-backend-failure` has it: the move is where it was, and goes on afterwards."""
    in_phase(org, "draining")
    before = state_of(org)
    with (
        patch(f"routes.placements.services.{broken}", side_effect=OperationalError("gone")),
        pytest.raises(OperationalError),
    ):
        cut_over(org, "acme", by=BY)
    assert state_of(org) == before
    cut_over(org, "acme", by=BY)


def test_the_time_of_a_cutover_is_by_the_clock_of_the_database(org: Organization) -> None:
    with patch("django.utils.timezone.now", return_value=timezone.now() + timedelta(days=3)) as ours:
        in_phase(org, "cutover")
        row = get_placement(org, "acme")
        assert row.cut_over_at is not None
        if ON_POSTGRES:
            assert row.cut_over_at < ours.return_value - timedelta(days=2)
        else:
            assert row.cut_over_at == ours.return_value
