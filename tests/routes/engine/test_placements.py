"""Placements: the shared cases, what each step is refused with, and the invariants of a move under any order of steps."""

import json
import pickle
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from routes.engine.errors import RoutingError, StaleEpoch
from routes.engine.placements import (
    DEFAULT,
    DRAIN_SECONDS,
    PHASES,
    STEPS,
    AlreadyMigrating,
    BarrierPending,
    NotCutover,
    NotDraining,
    NotMigrating,
    Placement,
    PlacementTable,
    UnknownPartition,
    check_write,
)
from routes.engine.spi import MAX_EPOCH, Target, next_epoch
from tests.paths import shared


def cases(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shared("cases/placements.json").read_text(encoding="utf-8"))[kind]
    assert found
    return found


def place(name: str) -> Target:
    return Target(f"cluster-{name}", "orders", f"https://{name}.example")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def a_table(**keys: Any) -> PlacementTable:
    return PlacementTable(Clock(), **keys)


# --- The shared cases -----------------------------------------------------------------------------------------------

#: Cases that are not so here, and why.
OTHERWISE = {
    "java-lifecycle-differs": "epochs begin at 1, begin and complete have one of their own, reads wait for the flip"
}


@pytest.mark.parametrize("number", range(10))
def test_a_shared_case_of_a_move_holds(number: int) -> None:
    case = cases("migration")[number]
    if case["id"] in OTHERWISE:
        pytest.skip(OTHERWISE[case["id"]])
    table, epochs = a_table(), dict[str, int]()
    clock: Any = table.clock
    for step, *given in case["steps"]:
        partition = given[0]
        if step in ("set", "begin"):
            epochs[given[2]] = getattr(table, step)(partition, place(given[1])).epoch
        elif step == "cutover" and given[1] == "NotDraining":
            with pytest.raises(NotDraining):
                table.cutover(partition)
        elif step in ("cutover", "complete", "abort"):
            clock.now += DRAIN_SECONDS
            epochs[given[1]] = getattr(table, step)(partition).epoch
        elif step == "admit":
            assert admits(table, partition, epochs.get(given[1], 0)) is given[2]
        elif step == "read":
            assert table.get(partition).target == place(given[1])  # type: ignore[union-attr]
        elif step == "assert":
            assert epochs["e0"] < epochs["e1"] < epochs["e2"] < epochs["e3"]
        else:
            assert step == "count_admitted"
            assert sum(admits(table, partition, epochs[name]) for name in given[1]) == given[2]


def admits(table: PlacementTable, partition: str, epoch: int) -> bool:
    try:
        check_write(table.get(partition), epoch)
    except StaleEpoch:
        return False
    return True


def test_all_shared_cases_of_moves_are_run() -> None:
    assert len(cases("migration")) == 10


def test_the_shared_cases_of_epochs_hold() -> None:
    found = {case["case"]: case.get("expect") for case in cases("epoch")}
    assert found == {
        "zero means never placed": None,
        "first placement of a fresh table": a_table().set("acme", place("A")).epoch,
        "next of max u64": "max u64 (saturates)",
        "java initial": 0,  # not ours: 0 is never placed
    }
    assert next_epoch(MAX_EPOCH) == MAX_EPOCH
    with pytest.raises(ValueError, match="from 1"):
        Placement("acme", place("A"), 0)


def test_the_shared_cases_of_a_default_hold() -> None:
    """The default has the name `*` here."""
    table = a_table()
    assert [case["id"] for case in cases("placement_table")] == ["pt-default-placement", "pt-snapshot-explicit-only"]
    assert table.get("acme") is None
    default = table.set(DEFAULT, place("shared"))
    assert table.get("acme") == Placement("acme", place("shared"), default.epoch)
    assert table.own("acme") is None
    own = table.set("acme", place("c"))
    assert (table.get("acme"), table.own("acme"), table.get("other")) == (
        own, own, Placement("other", place("shared"), default.epoch),
    )  # fmt: skip


@pytest.mark.parametrize("number", range(6))
def test_a_shared_case_of_the_controller_holds(number: int) -> None:
    case = cases("control_plane")[number]
    table = a_table()
    clock: Any = table.clock
    table.set("acme", place("A"))
    if case["id"] == "cp-two-instances":
        # Both ask the same store, each time anew.
        table.begin("acme", place("B"))
        cut = table.cutover("acme")
        assert not admits(table, "acme", cut.epoch)
        clock.now += case["barrier_s"]
        done = table.complete("acme")
        assert (done.target, done.phase) == (place("B"), "settled")
        assert admits(table, "acme", done.epoch)
        assert not admits(table, "acme", cut.epoch)
    elif case["id"] == "cp-abort-clears":
        table.begin("acme", place("B"))
        table.cutover("acme")
        assert table.abort("acme").target == place("A")
        with pytest.raises(NotMigrating):
            table.complete("acme")
    elif case["id"] == "cp-out-of-phase":
        with pytest.raises(NotMigrating):
            table.cutover("acme")
        table.begin("acme", place("B"))
        with pytest.raises(AlreadyMigrating):
            table.begin("acme", place("C"))
    elif case["id"] == "cp-default-barrier":
        assert case["expect_s"] == DRAIN_SECONDS == table.drain_seconds
    elif case["id"] == "cp-unrecorded-cutover":
        table.begin("acme", place("B"))
        table.cutover("acme")
        table._cut_over_at.clear()
        with pytest.raises(BarrierPending):
            table.complete("acme")
        clock.now += DRAIN_SECONDS
        table.complete("acme")
    else:
        pytest.skip("cp-backend-failure is of the store: tests/routes/placements")


# --- Steps ----------------------------------------------------------------------------------------------------------


def in_phase(phase: str | None) -> PlacementTable:
    table = a_table()
    if phase:
        table.set("acme", place("A"))
    if phase in ("draining", "cutover"):
        table.begin("acme", place("B"))
    if phase == "cutover":
        table.cutover("acme")
    return table


def take(table: PlacementTable, step: str) -> Placement:
    made: Placement = getattr(table, step)("acme", *([place("C")] if step in ("set", "begin") else []))
    return made


@pytest.mark.parametrize(
    ("phase", "refused"),
    [
        (None, dict.fromkeys(("begin", "cutover", "complete", "abort"), UnknownPartition)),
        ("settled", dict.fromkeys(("cutover", "complete", "abort"), NotMigrating)),
        ("draining", {"set": AlreadyMigrating, "begin": AlreadyMigrating, "complete": NotCutover}),
        (
            "cutover",
            {"set": AlreadyMigrating, "begin": AlreadyMigrating, "cutover": NotDraining, "complete": BarrierPending},
        ),
    ],
)  # fmt: skip
def test_a_step_that_is_not_possible_is_refused_and_changes_nothing(
    phase: str | None, refused: dict[str, type[RoutingError]]
) -> None:
    for step in ("set", "begin", "cutover", "complete", "abort"):
        table = in_phase(phase)
        before = table.epoch, table.get("acme"), dict(table._cut_over_at)
        if step in refused:
            with pytest.raises(refused[step]) as caught:
                take(table, step)
            assert (table.epoch, table.get("acme"), table._cut_over_at) == before
            assert type(pickle.loads(pickle.dumps(caught.value))) is refused[step]
        else:
            assert take(table, step).epoch == table.epoch == before[0] + 1


@pytest.mark.parametrize("phase", PHASES)
def test_the_steps_that_are_offered_are_those_that_are_possible(phase: str) -> None:
    found = in_phase(phase).get("acme")
    assert found is not None
    for step in ("set", "begin", "cutover", "complete", "abort"):
        table = in_phase(phase)
        table.clock.now += DRAIN_SECONDS  # type: ignore[attr-defined]
        if step in found.steps:
            take(table, step)
        else:
            with pytest.raises(RoutingError):
                take(table, step)


def test_the_barrier_says_how_long_it_takes_and_ends_at_that_time() -> None:
    table = in_phase("cutover")
    clock: Any = table.clock
    clock.now += DRAIN_SECONDS - 0.5
    with pytest.raises(BarrierPending, match=r"in 0\.5 seconds") as caught:
        table.complete("acme")
    assert (caught.value.remaining, caught.value.retryable) == (0.5, True)
    clock.now += 0.5
    assert table.complete("acme").target == place("B")


def test_a_second_move_has_a_barrier_of_its_own() -> None:
    table = in_phase("cutover")
    clock: Any = table.clock
    table.abort("acme")
    clock.now += DRAIN_SECONDS * 9
    table.begin("acme", place("B"))
    table.cutover("acme")
    with pytest.raises(BarrierPending):
        table.complete("acme")


def test_one_partition_leaves_the_default_and_the_others_stay() -> None:
    table = a_table()
    default = table.set(DEFAULT, place("shared"))
    begun = table.begin("acme", place("B"))
    assert (begun.target, begun.to, begun.epoch) == (place("shared"), place("B"), default.epoch + 1)
    assert not admits(table, "acme", default.epoch), "what was decided before is stale for it alone"
    assert admits(table, "other", default.epoch)
    aborted = table.abort("acme")
    assert (aborted.target, table.own("acme")) == (place("shared"), aborted)


def test_a_default_that_moves_takes_all_along_and_nobody_leaves_it_meanwhile() -> None:
    table = a_table()
    table.set(DEFAULT, place("shared"))
    table.begin(DEFAULT, place("new"))
    for step in (table.begin, table.set):
        with pytest.raises(AlreadyMigrating):
            step("acme", place("B"))
    cut = table.cutover(DEFAULT)
    assert not admits(table, "acme", cut.epoch)
    with pytest.raises(AlreadyMigrating):
        table.set("acme", place("B"))
    with pytest.raises(UnknownPartition):
        table.cutover("acme")


def test_a_write_that_is_refused_is_told_whether_to_wait() -> None:
    table = a_table()
    before = table.set("acme", place("A"))
    table.begin("acme", place("B"))
    with pytest.raises(StaleEpoch, match="took a step of a move meanwhile"):
        check_write(table.get("acme"), before.epoch)
    cut = table.cutover("acme")
    with pytest.raises(StaleEpoch, match="is being moved, and takes none until that is done"):
        check_write(table.get("acme"), cut.epoch)


def test_nothing_moves_to_where_it_is() -> None:
    table = in_phase("settled")
    before = table.epoch
    with pytest.raises(ValueError, match="at cluster-A/orders already"):
        table.begin("acme", place("A"))
    assert table.epoch == before
    table.begin("acme", Target("cluster-A", "orders", "https://elsewhere.example"))


@pytest.mark.parametrize(
    "parts",
    [
        {"partition": " "}, {"partition": 1}, {"epoch": 0}, {"epoch": True}, {"epoch": 2**64}, {"epoch": "1"},
        {"phase": "moving"}, {"phase": "draining"}, {"to": place("B")}, {"target": "a"}, {"phase": "cutover", "to": "b"},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_no_placement(parts: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Placement(**{"partition": "acme", "target": place("A"), "epoch": 1, **parts})


# --- Invariants -----------------------------------------------------------------------------------------------------

PARTITIONS = ["acme", "other", DEFAULT]
NAMES = st.sampled_from(PARTITIONS)
STEP = st.sampled_from(["set", "begin", "cutover", "complete", "abort"])


class Moves(RuleBasedStateMachine):
    """Any order of steps, time, and writes that were decided at any moment before: what a sink would get."""

    decided: Any = Bundle("decided")

    def __init__(self) -> None:
        super().__init__()
        self.table = a_table(drain_seconds=5.0)
        self.clock: Any = self.table.clock
        #: By partition, the epochs that it ever had.
        self.epochs: dict[str, set[int]] = {name: {0} for name in PARTITIONS}
        #: Where reads went last, and how many flips there were.
        self.highest = 0

    @rule(
        partition=NAMES,
        to=st.sampled_from("ABC"),
        step=st.sampled_from(["set", "begin", "cutover", "complete", "abort"]),
    )
    def take(self, partition: str, to: str, step: str) -> None:
        before = {name: self.table.get(name) for name in PARTITIONS}
        epoch = self.table.epoch
        try:
            made = getattr(self.table, step)(partition, *([place(to)] if step in ("set", "begin") else []))
        except (RoutingError, ValueError):
            assert self.table.epoch == epoch, "what is refused changes nothing, not even the counter"
            assert {name: self.table.get(name) for name in PARTITIONS} == before
            return
        assert made.epoch == epoch + 1, "each step has an epoch of its own"
        was = before[partition]
        if step in ("begin", "cutover", "abort"):
            assert was is not None
            assert made.target == was.target, "reads follow the old place until the flip, and return to it"
        for name in PARTITIONS:
            if DEFAULT not in (name, partition) and name != partition:
                assert self.table.get(name) == before[name], "no step of one stales another"

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(target=decided, partition=NAMES)
    def decide(self, partition: str) -> Any:
        found = self.table.get(partition)
        return None if found is None else (partition, found)

    @rule(write=consumes(decided))
    def write(self, write: Any) -> None:
        if write is None:
            return
        partition, then = write
        now = self.table.get(partition)
        assert now is not None
        if admits(self.table, partition, then.epoch):
            assert now.phase != "cutover", "M1: no write commits in cutover"
            assert now.target == then.target, "M2: what was decided before a flip never commits after it"
            assert now.epoch == then.epoch

    @invariant()
    def at_most_one_epoch_is_admitted(self) -> None:
        for partition in PARTITIONS:
            found = self.table.get(partition)
            if found is not None:
                self.epochs[partition].add(found.epoch)
            admitted = [epoch for epoch in self.epochs[partition] if admits(self.table, partition, epoch)]
            assert len(admitted) <= 1
            assert (found is not None and found.phase != "cutover") == bool(admitted), (
                "M3: and after an abort one again"
            )

    @invariant()
    def epochs_never_fall(self) -> None:
        assert self.table.epoch >= self.highest
        self.highest = self.table.epoch


TestMoves = Moves.TestCase


def test_every_phase_has_a_way_out() -> None:
    assert all(STEPS[phase] for phase in PHASES)
