"""Placing partitions and moving them. Only writer of `Placement` and of `Organization.placement_epoch`.

Each step takes the organisation's row first, so of two controllers that take a step at once one comes second, and is
refused where its step is not possible any more. A controller that dies between two steps leaves the placement in a phase
from which anybody goes on, or aborts.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from audit.actors import as_actor
from audit.services import Receipt, record
from routes.engine import Placement as PlacementState
from routes.engine import Target
from routes.engine import placements as steps
from routes.engine.path_patterns import target_problem
from routes.engine.placed import is_partition, is_placed
from routes.engine.placements import DEFAULT, DRAIN_SECONDS, AlreadyMigrating, BarrierPending, UnknownPartition
from routes.engine.spi import next_epoch
from routes.errors import NotFound, RoutesError, issue
from routes.orgs.locks import locked
from routes.orgs.lookup import refused
from routes.orgs.models import Organization
from routes.orgs.upstreams import private_upstreams_of
from routes.placements.models import Placement
from routes.transactions import repeated

MAX_PLACEMENTS: Final = 10_000
#: Nobody waits a day for a write to arrive; who waits less than the usual time says so by it.
LONGEST_DRAIN: Final = 24 * 3600.0
MAX_NAME: Final = 200
MAX_ENDPOINT: Final = 500


class InvalidPlacement(RoutesError):
    """The placement is not acceptable; `issues` says where and why."""

    code = "invalid_placement"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        super().__init__("; ".join(one["message"] for one in issues))
        self.issues = issues


class StalePlacement(RoutesError):
    """The placement took a step since the caller looked."""

    code = "stale_placement"

    def __init__(self, placement: Placement | None, partition: str) -> None:
        """`placement` is what holds for the partition now, None for nothing."""
        super().__init__("The placement took a step after you looked. Look again.")
        self.placement = placement
        self.partition = partition


class PlacedElsewhere(RoutesError):
    """The partition is not where the default is, and would be from one moment to the next."""

    code = "placed_elsewhere"


class TooManyPlacements(RoutesError):
    """An organisation may have 10,000 placements."""

    code = "too_many_placements"


Step = tuple[Placement, Receipt]
#: From the placement as it is, and a new epoch.
_Move = Callable[[PlacementState | None, int], PlacementState]


def set_placement(
    org: Organization, partition: str, target: Target, *, by: Any, expected_epoch: int | None = None
) -> Step:
    """Say where a partition is that holds nothing yet, or was moved by other means: nothing waits, nothing is drained.

    `*` is for all that are not placed themselves; while it moves, they all do. `expected_epoch` is that of the placement
    which the caller saw, 0 for none. Raises `InvalidPlacement`, `StalePlacement`, `AlreadyMigrating`, `TooManyPlacements`
    and `OrganizationFrozen`.
    """
    _check(org, partition, target)
    return _take(
        org,
        partition,
        lambda now, epoch: steps.placed(now, partition, target, epoch),
        by=by,
        action="placement.set",
        expected_epoch=expected_epoch,
        follows_default=True,
    )


def begin_move(
    org: Organization,
    partition: str,
    to: Target,
    *,
    by: Any,
    drain_seconds: float = DRAIN_SECONDS,
    expected_epoch: int | None = None,
) -> Step:
    """Draining: data can be copied; reads and writes go where they went. A partition that has the default's placement gets
    one of its own.

    `drain_seconds`: no write is admitted for so long before the move is complete; at least as long as an upstream may take
    for a write. Raises what `set_placement` raises, and `UnknownPartition`.
    """
    _check(org, partition, to, drain_seconds)
    return _take(
        org,
        partition,
        lambda now, epoch: steps.begun(now, partition, to, epoch),
        by=by,
        action="placement.move_begun",
        expected_epoch=expected_epoch,
        drain_seconds=drain_seconds,
        follows_default=True,
    )


def cut_over(org: Organization, partition: str, *, by: Any, expected_epoch: int | None = None) -> Step:
    """Cutover: no write is admitted until the move is complete or aborted. Raises `StalePlacement`, `UnknownPartition`,
    `NotMigrating`, `NotDraining` and `OrganizationFrozen`."""
    return _take(
        org,
        partition,
        lambda now, epoch: steps.cut_over(now, partition, epoch),
        by=by,
        action="placement.cut_over",
        expected_epoch=expected_epoch,
    )


def complete_move(org: Organization, partition: str, *, by: Any, expected_epoch: int | None = None) -> Step:
    """Settled at the new place: reads and writes go there from now on. Raises `BarrierPending` until the time since the
    cutover is over, and what `cut_over` raises, with `NotCutover`.

    Inside somebody else's transaction call `begin_barrier` before that: what is refused is rolled back."""
    begin_barrier(org, partition)
    return _take(
        org,
        partition,
        lambda now, epoch: steps.completed(now, partition, epoch),
        by=by,
        action="placement.moved",
        expected_epoch=expected_epoch,
    )


def abort_move(org: Organization, partition: str, *, by: Any, expected_epoch: int | None = None) -> Step:
    """Settled where it was. Raises `StalePlacement`, `UnknownPartition`, `NotMigrating` and `OrganizationFrozen`."""
    return _take(
        org,
        partition,
        lambda now, epoch: steps.aborted(now, partition, epoch),
        by=by,
        action="placement.move_aborted",
        expected_epoch=expected_epoch,
    )


@repeated
def remove_placement(org: Organization, partition: str, *, by: Any, expected_epoch: int | None = None) -> Receipt:
    """Take back a placement: its partition has the default's from now on, or is refused where there is none.

    Only where that moves nothing: settled, and where the default is. Raises `UnknownPartition`, `StalePlacement`,
    `AlreadyMigrating`, `PlacedElsewhere` and `OrganizationFrozen`.
    """
    actor = as_actor(by)
    with transaction.atomic():
        org = locked(org.pk)
        row = Placement.objects.named(org, partition)
        if row is None:
            raise UnknownPartition("This partition has no placement of its own.")
        if expected_epoch is not None and expected_epoch != row.epoch:
            raise StalePlacement(row, partition)
        if problem := why_kept(row, Placement.objects.named(org, DEFAULT)):
            raise problem
        receipt = record(
            org.pk,
            by=actor,
            action="placement.removed",
            target=("placement", row.uid),
            payload={"name": partition, "was": _told(row.state())},
        )
        row.delete()
    return receipt


def why_kept(row: Placement, default: Placement | None) -> AlreadyMigrating | PlacedElsewhere | None:
    """Why this placement cannot be removed, None where it can; `default` is that of `*`, where there is one."""
    if default is None:
        default = row
    for one in (row, default):
        if one.phase != "settled":
            return AlreadyMigrating(f"{one.partition} is being moved; complete or abort that first.")
    here, there = row.state().target, default.state().target
    if (here, here.endpoint) == (there, there.endpoint):
        return None
    return PlacedElsewhere(f"{row.partition} is at {here}, and {DEFAULT} at {there}: move it there first.")


def begin_barrier(org: Organization, partition: str) -> None:
    """Where the placement is in cutover, and since when was not noted: from now on.

    Noted after the cutover is committed, never with it: gateways admit writes until then, and a transaction may take long
    to end. A controller that died in between leaves this to whoever completes the move."""
    Placement.objects.of(org).filter(partition=partition, phase="cutover", cut_over_at=None).update(cut_over_at=_now())


def get_placement(org: Organization, partition: str) -> Placement:
    """The partition's own placement. Raises `NotFound`."""
    row = Placement.objects.named(org, partition)
    if row is None:
        raise NotFound("There is no such placement in this organisation.")
    return row


def remaining(row: Placement) -> float:
    """Seconds until the move can be completed; 0 where nothing is waited for."""
    if row.phase != "cutover":
        return 0.0
    return max(0.0, _remaining(row, _now()))


@repeated
def _take(
    org: Organization,
    partition: str,
    move: _Move,
    *,
    by: Any,
    action: str,
    expected_epoch: int | None,
    drain_seconds: float | None = None,
    follows_default: bool = False,
) -> Step:
    actor = as_actor(by)
    with transaction.atomic():
        org = locked(org.pk)
        row = Placement.objects.named(org, partition)
        if expected_epoch is not None and expected_epoch != (row.epoch if row else 0):
            raise StalePlacement(row, partition)
        was = row.state() if row else None
        default = Placement.objects.named(org, DEFAULT) if follows_default and not row else None
        holds = steps.of_partition(partition, was, default.state() if default else None)
        try:
            now = move(holds if follows_default else was, next_epoch(org.placement_epoch))
        except AlreadyMigrating:
            if was is not None or holds is None:
                raise
            raise AlreadyMigrating(
                f"{partition} is where {DEFAULT} is, which is being moved to {holds.to}; complete or abort that first."
            ) from None
        except ValueError as error:
            raise InvalidPlacement([issue("to", "no_change", str(error))]) from error
        at = _now()
        if action == "placement.moved":
            assert row is not None  # in cutover
            if (left := _remaining(row, at)) > 0:
                raise BarrierPending(left)
        if row is None:
            if Placement.objects.of(org).count() >= MAX_PLACEMENTS:
                raise TooManyPlacements(
                    f"An organisation may have {MAX_PLACEMENTS:,} placements. Let partitions that are at one place have the"
                    " default."
                )
            row = Placement(org=org, partition=partition)
        _fill(row, now)
        row.moved_at, row.moved_by_name = at, actor.name
        row.cut_over_at = None
        if now.phase == "cutover":
            transaction.on_commit(lambda: begin_barrier(org, partition), robust=True)
        row.drain_seconds = drain_seconds if drain_seconds is not None else row.drain_seconds
        row.save()
        org.placement_epoch = now.epoch
        org.save(update_fields=["placement_epoch"])
        receipt = record(
            org.pk,
            by=actor,
            action=action,
            target=("placement", row.uid),
            payload={
                "name": partition,
                "was": _told(was),
                "is": _told(now),
                **({"drain_seconds": row.drain_seconds} if now.phase == "draining" else {}),
            },
        )
    return row, receipt


def _fill(row: Placement, state: PlacementState) -> None:
    to = state.to
    row.cluster, row.resource, row.endpoint = state.target.cluster, state.target.resource, state.target.endpoint or ""
    row.to_cluster, row.to_resource, row.to_endpoint = (
        ("", "", "") if to is None else (to.cluster, to.resource, to.endpoint or "")
    )
    row.phase, row.epoch = state.phase, state.epoch


def _told(state: PlacementState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    to = {} if state.to is None else {"to": str(state.to), "to_endpoint": state.to.endpoint}
    return {
        "target": str(state.target),
        "endpoint": state.target.endpoint,
        **to,
        "phase": state.phase,
        "epoch": state.epoch,
    }


def _remaining(row: Placement, now: datetime) -> float:
    # Where nobody noted it yet: as if it were now.
    since = row.cut_over_at or now
    return row.drain_seconds - (now - since).total_seconds()


def _now() -> datetime:
    """By the clock of the database, which all controllers share: two machines may be apart by more than a barrier."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


def _check(org: Organization, partition: str, target: Target, drain_seconds: float = DRAIN_SECONDS) -> None:
    issues = []
    if partition != DEFAULT and not is_partition(partition):
        message = "A partition has 1 to 200 letters, digits and ._:@-, the first a letter or digit; * is all others."
        issues.append(issue("partition", "invalid", message))
    for field in ("cluster", "resource"):
        if len(getattr(target, field)) > MAX_NAME:
            issues.append(issue(field, "out_of_range", f"At most {MAX_NAME} characters."))
    if problem := _endpoint_problem(org, target.endpoint or ""):
        issues.append(issue("endpoint", *problem))
    if not DRAIN_SECONDS <= drain_seconds <= LONGEST_DRAIN:
        message = f"From {DRAIN_SECONDS:.0f} seconds, which a write may take, to {LONGEST_DRAIN:,.0f}."
        issues.append(issue("drain_seconds", "out_of_range", message))
    if issues:
        raise InvalidPlacement(issues)


def _endpoint_problem(org: Organization, url: str) -> tuple[str, str] | None:
    """A code and a sentence; None for a base URL that gateways would ask."""
    if not url.startswith(("http://", "https://")) or len(url) > MAX_ENDPOINT or "?" in url:
        return (
            "invalid",
            f"The base URL of a cluster is like https://eu.example, without a query, {MAX_ENDPOINT} characters.",
        )
    if problem := target_problem(url):
        return "invalid", problem.replace("A target", "A base URL")
    if is_placed(url):
        return "invalid", "A placement is at a place of its own, and does not lead to placements."
    if reason := refused(url, private_upstreams_of(org)):
        return "egress_denied", f"No gateway asks this. {reason}"
    return None
