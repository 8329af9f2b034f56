"""Where partitions live, and how one moves to another cluster without a stale write. Values and rules; no store.

A placement is settled, or it moves: draining, then cutover, then settled at the new place; or aborted, and settled at the
old one. Each step gets an epoch higher than all before. Reads follow the old place until the move is complete. A write
passes only while its decision's epoch is the placement's, and never in cutover: so whatever was decided before a step is
refused after it, and at most one epoch is admitted at any time.

The placement of `*` is that of every partition without one of its own. It moves by the same steps, all of them with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from routes.engine.errors import RoutingError, StaleEpoch
from routes.engine.reading import shown
from routes.engine.spi import MAX_EPOCH, Target, next_epoch

Phase = Literal["settled", "draining", "cutover"]
Step = Literal["set", "begin", "cutover", "complete", "abort"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
#: From which phase which steps are possible; `set` alone also where there is no placement yet.
STEPS: Final[dict[Phase, tuple[Step, ...]]] = {
    "settled": ("set", "begin"),
    "draining": ("cutover", "abort"),
    "cutover": ("complete", "abort"),
}
#: The partition whose placement all have that were not placed themselves.
DEFAULT: Final = "*"
#: For so long no write is admitted before a move is complete: what passed the gate just before cutover has arrived then.
DRAIN_SECONDS: Final = 30.0


# --- What a step is refused with --------------------------------------------------------------------------------------


class UnknownPartition(RoutingError):
    """The partition was never placed."""

    http_status = 404


class AlreadyMigrating(RoutingError):
    """The partition is being moved: complete or abort that first."""

    http_status = 409


class NotMigrating(RoutingError):
    """The partition is settled; no move of it has begun."""

    http_status = 409


class NotDraining(RoutingError):
    """The move is in cutover already."""

    http_status = 409


class NotCutover(RoutingError):
    """The move is still draining; cutover comes first."""

    http_status = 409


class BarrierPending(RoutingError):
    """Writes that passed just before cutover may still be under way. `remaining` is in seconds."""

    http_status = 409
    retryable = True

    def __init__(self, remaining: float) -> None:
        super().__init__(
            f"Writes from before the cutover may still be under way; complete it in {remaining:.1f} seconds."
        )
        self.remaining = remaining

    def __reduce__(self) -> tuple[type[BarrierPending], tuple[float]]:
        return type(self), (self.remaining,)


# --- A placement ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a partition is at this moment. `target` is where it is read, `to` where it moves, None unless it does.

    `epoch` is that of its own last step, from 1. Raises `TypeError` and `ValueError` for parts that do not fit together.
    """

    partition: str
    target: Target
    epoch: int
    phase: Phase = "settled"
    to: Target | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.partition, str) or not self.partition.strip():
            raise ValueError(f"A partition has a name, not {shown(self.partition)}.")
        if not isinstance(self.target, Target):
            raise TypeError(f"target is a Target, not {type(self.target).__name__}.")
        if not isinstance(self.epoch, int) or isinstance(self.epoch, bool) or not 1 <= self.epoch <= MAX_EPOCH:
            raise ValueError(f"The epoch of a placement is from 1 to 2**64 - 1, not {shown(self.epoch)}.")
        if self.phase not in PHASES:
            raise ValueError(f"A phase is {', '.join(PHASES)}, not {shown(self.phase)}.")
        if (self.to is None) != (self.phase == "settled"):
            raise ValueError("A placement that is settled moves nowhere; one that moves has a place to move to.")
        if self.to is not None and not isinstance(self.to, Target):
            raise TypeError(f"to is a Target, not {type(self.to).__name__}.")

    @property
    def steps(self) -> tuple[Step, ...]:
        """What can be done with it next."""
        return STEPS[self.phase]

    def admits(self, epoch: int) -> bool:
        """Whether a write that was decided at this epoch may go to its target."""
        return self.phase != "cutover" and epoch == self.epoch


def check_write(placement: Placement | None, epoch: int) -> None:
    """The gate before a sink. Raises `StaleEpoch` for a write that was decided before the placement's last step, for every
    write in cutover, and where there is no placement. Ask it with what the store says at that moment, never a copy."""
    if placement is not None and placement.phase == "cutover":
        raise StaleEpoch(
            "The partition of this write is being moved, and takes none until that is done. Send it again."
        )
    if placement is None or not placement.admits(epoch):
        raise StaleEpoch("The partition of this write took a step of a move meanwhile. Send it again.")


# --- Steps ------------------------------------------------------------------------------------------------------------


def placed(now: Placement | None, partition: str, target: Target, epoch: int) -> Placement:
    """The first placement of a partition, or another place for one that is settled, without a move: nothing waits, so only
    for what holds no data yet. `now` is the default's where the partition has none: while that moves, it does. Raises
    `AlreadyMigrating`."""
    if now is not None and now.phase != "settled":
        raise AlreadyMigrating(f"{partition} is being moved to {now.to}; complete or abort that first.")
    return Placement(partition, target, epoch)


def begun(now: Placement | None, partition: str, to: Target, epoch: int) -> Placement:
    """Draining: reads and writes go where they went. `now` may be the default's: then this partition alone begins to move.
    Raises `UnknownPartition`, `AlreadyMigrating`, and `ValueError` for a move to where the partition is."""
    now = _known(now)
    if now.phase != "settled":
        raise AlreadyMigrating(f"{partition} is being moved to {now.to}; complete or abort that first.")
    if to == now.target and to.endpoint == now.target.endpoint:
        raise ValueError(f"{partition} is at {to} already.")
    return replace(now, phase="draining", to=to, epoch=epoch)


def cut_over(now: Placement | None, partition: str, epoch: int) -> Placement:
    """Cutover: no write is admitted. Raises `UnknownPartition`, `NotMigrating` and `NotDraining`."""
    now = _moving(now, partition)
    if now.phase != "draining":
        raise NotDraining(f"{partition} is in cutover already.")
    return replace(now, phase="cutover", epoch=epoch)


def completed(now: Placement | None, partition: str, epoch: int) -> Placement:
    """Settled at the new place. Whoever calls this has waited for the barrier. Raises `UnknownPartition`, `NotMigrating`
    and `NotCutover`."""
    now = _moving(now, partition)
    if now.phase != "cutover":
        raise NotCutover(f"{partition} is still draining; cutover comes first.")
    assert now.to is not None  # in cutover
    return Placement(partition, now.to, epoch)


def aborted(now: Placement | None, partition: str, epoch: int) -> Placement:
    """Settled at the old place. Raises `UnknownPartition` and `NotMigrating`."""
    now = _moving(now, partition)
    return Placement(partition, now.target, epoch)


def of_partition(partition: str, own: Placement | None, default: Placement | None) -> Placement | None:
    """The placement that holds: its own, else the default's under its name."""
    return own if own is not None or default is None else replace(default, partition=partition)


def _known(now: Placement | None) -> Placement:
    if now is None:
        raise UnknownPartition("The partition was never placed.")
    return now


def _moving(now: Placement | None, partition: str) -> Placement:
    now = _known(now)
    if now.phase == "settled":
        raise NotMigrating(f"No move of {partition} has begun.")
    return now


# --- In memory --------------------------------------------------------------------------------------------------------


@dataclass
class PlacementTable:
    """Placements in memory, with one counter for all: for tests, and for programs that keep them elsewhere. Not for several
    threads. A step that is refused changes nothing, not even the counter; each answers the placement as it is then.

    `clock` is in seconds and never goes back."""

    clock: Callable[[], float]
    drain_seconds: float = DRAIN_SECONDS
    epoch: int = 0
    _placements: dict[str, Placement] = field(default_factory=dict)
    _cut_over_at: dict[str, float] = field(default_factory=dict)

    def get(self, partition: str) -> Placement | None:
        return of_partition(partition, self.own(partition), self.own(DEFAULT))

    def own(self, partition: str) -> Placement | None:
        """None also for a partition that has the default's."""
        return self._placements.get(partition)

    def set(self, partition: str, target: Target) -> Placement:
        return self._take(placed(self.get(partition), partition, target, next_epoch(self.epoch)))

    def begin(self, partition: str, to: Target) -> Placement:
        return self._take(begun(self.get(partition), partition, to, next_epoch(self.epoch)))

    def cutover(self, partition: str) -> Placement:
        now = self._take(cut_over(self.own(partition), partition, next_epoch(self.epoch)))
        self._cut_over_at[partition] = self.clock()
        return now

    def complete(self, partition: str) -> Placement:
        """Raises `BarrierPending` until `drain_seconds` have passed since the cutover; where nobody knows when that was,
        since it was first asked for."""
        done = completed(self.own(partition), partition, next_epoch(self.epoch))
        since = self._cut_over_at.setdefault(partition, self.clock())
        remaining = since + self.drain_seconds - self.clock()
        if remaining > 0:
            raise BarrierPending(remaining)
        return self._take(done)

    def abort(self, partition: str) -> Placement:
        return self._take(aborted(self.own(partition), partition, next_epoch(self.epoch)))

    def _take(self, placement: Placement) -> Placement:
        self.epoch = placement.epoch
        self._placements[placement.partition] = placement
        return placement
