"""Routers of placements: the store asked again, what it answers, the gate before a write, and routers that misbehave."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from routes.engine.errors import (
    Internal,
    PartitionUnresolved,
    PlacementMissing,
    PlacementUnavailable,
    RoutingError,
    StaleEpoch,
)
from routes.engine.placements import Placement, PlacementTable
from routes.engine.placing import PinnedRouter, PlacementRouter, Retry, Retrying
from routes.engine.spi import SpiDecision, Target, resolve
from tests.paths import shared

A, B = Target("eu", "orders", "https://eu.example"), Target("us", "orders", "https://us.example")
Request = dict[str, str]


class Store:
    """A table behind a line that may be down: `failures` says how often it still is."""

    def __init__(self, failures: int = 0, answer: Any = ...) -> None:
        self.table = PlacementTable(lambda: 0.0, drain_seconds=0)
        self.failures, self.asked, self.answer = failures, 0, answer

    async def placement(self, partition: str) -> Placement | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise PlacementUnavailable("The database does not answer.")
        if isinstance(self.answer, BaseException):
            raise self.answer
        found: Placement | None = self.table.get(partition) if self.answer is ... else self.answer
        return found


class Pauses(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def router(store: Store, **keys: Any) -> PlacementRouter[Request]:
    return PlacementRouter(store, lambda request: request.get("tenant"), sleep=Pauses(), **keys)


def run[Answer](made: Any) -> Any:
    return asyncio.run(made)


# --- Asking again ---------------------------------------------------------------------------------------------------


def test_the_shared_cases_of_asking_again_hold() -> None:
    found = {case["id"]: case for case in json.loads(shared("cases/placements.json").read_text())["retry"]}
    assert set(found) == {"rp-default", "rp-exhausted", "rp-pipeline-recovers", "rp-pipeline-down"}
    usual, wanted = Retry(), found["rp-default"]["expect"]
    assert (usual.attempts, 1000 * usual.base_seconds, 1000 * usual.cap_seconds) == (
        wanted["max_attempts"], wanted["base_ms"], wanted["cap_ms"],
    )  # fmt: skip
    assert usual.pause(2) == wanted["factor"] * usual.pause(1)
    case = found["rp-exhausted"]
    store = Store(failures=99)
    with pytest.raises(PlacementUnavailable, match="does not answer"):
        run(Retrying(store, Retry(case["max_attempts"]), sleep=Pauses()).placement("acme"))
    assert store.asked == case["expect"]["calls"]
    store = Store(failures=found["rp-pipeline-recovers"]["failures"])
    store.table.set("acme", A)
    assert run(router(store).route({"tenant": "acme"})).target == A
    wanted = found["rp-pipeline-down"]["expect"]
    with pytest.raises(PlacementUnavailable) as caught:
        run(router(Store(failures=99)).admit("acme", 1))
    assert (caught.value.code, caught.value.retryable) == (wanted["code"], wanted["retryable"])


def test_each_pause_is_twice_the_one_before_and_none_is_longer_than_the_longest() -> None:
    pauses = Pauses()
    with pytest.raises(PlacementUnavailable):
        run(Retrying(Store(failures=99), Retry(attempts=8), sleep=pauses).placement("acme"))
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert Retry(attempts=10_000).pause(9_999) == 1.0


@pytest.mark.parametrize("keys", [{"attempts": 0}, {"base_seconds": -1.0}, {"base_seconds": 2.0}])
def test_what_can_be_no_rule_for_asking_again_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one attempt at least"):
        Retry(**keys)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, PlacementMissing),
        (PlacementMissing("gone"), PlacementMissing),
        (OSError("disk"), Internal),
        (Placement("other", A, 1), Internal),
        ("eu", Internal),
    ],
)
def test_an_answer_is_never_asked_for_again(answer: Any, expected: type[RoutingError]) -> None:
    store = Store(answer=answer)
    with pytest.raises(expected) as caught:
        run(router(store).route({"tenant": "acme"}))
    assert (store.asked, type(caught.value)) == (1, expected)
    assert "disk" not in str(caught.value), "what it says may be seen by a client"


# --- Deciding and writing -------------------------------------------------------------------------------------------


def test_a_decision_has_the_target_and_the_epoch_of_the_same_reading() -> None:
    store = Store()
    store.table.set("acme", A)
    store.table.begin("acme", B)
    placed = run(router(store, protocol="http2").placed({"tenant": "acme"}))
    assert placed.decision == SpiDecision.passthrough(A, "http2", 2)
    assert placed.decision.target.endpoint == "https://eu.example"
    assert (placed.partition, placed.phase, store.asked) == ("acme", "draining", 1)


def test_a_request_without_a_partition_is_refused_before_the_store_is_asked() -> None:
    store = Store()
    with pytest.raises(PartitionUnresolved):
        run(router(store).route({}))
    assert store.asked == 0


def test_a_write_passes_the_gate_only_at_the_epoch_of_now_and_never_in_cutover() -> None:
    """The shared cases of the pipeline, but for its bulk requests, of which there are none here."""
    cases = {
        case["id"]: case for case in json.loads(shared("cases/placements.json").read_text())["write_gate_pipeline"]
    }
    assert set(cases) == {
        "gate-draining", "gate-cutover-write", "gate-cutover-bulk", "gate-after", "gate-explain-phase",
    }  # fmt: skip
    store = Store()
    first = store.table.set("acme", A).epoch
    gate = router(store)

    def status(epoch: int) -> int:
        try:
            run(gate.admit("acme", epoch))
        except StaleEpoch as refused:
            return refused.http_status
        return 201

    assert status(first) == 201
    draining = store.table.begin("acme", B).epoch
    assert (status(first), status(draining)) == (409, cases["gate-draining"]["write"])
    cut = store.table.cutover("acme").epoch
    assert status(cut) == cases["gate-cutover-write"]["write"]
    done = store.table.complete("acme")
    assert (status(done.epoch), done.target) == (cases["gate-after"]["write"], B)
    assert [status(epoch) for epoch in (first, draining, cut)] == [409, 409, 409]


@pytest.mark.parametrize("epoch", [0, 1])
def test_nothing_is_written_where_nothing_was_placed(epoch: int) -> None:
    with pytest.raises(StaleEpoch):
        run(router(Store()).admit("ghost", epoch))


def test_a_pinned_router_sends_everything_to_one_target_at_epoch_0() -> None:
    assert run(resolve(PinnedRouter(A), object())) == SpiDecision.passthrough(A, "http1", 0)


# --- Routers that misbehave -----------------------------------------------------------------------------------------


class Hanging:
    async def route(self, ctx: object) -> SpiDecision:
        await asyncio.Event().wait()
        raise AssertionError


class Raising:
    def __init__(self, made: Callable[[], Any]) -> None:
        self.made = made

    async def route(self, ctx: object) -> Any:
        return self.made()


def broken() -> Any:
    raise KeyError("secret")


@pytest.mark.parametrize("spi", [Hanging(), Raising(broken), Raising(lambda: None), Raising(lambda: A), object()])
def test_whatever_a_router_does_a_routing_error_comes_of_it_in_time(spi: Any) -> None:
    with pytest.raises(Internal) as caught:
        run(asyncio.wait_for(resolve(spi, object(), timeout_seconds=0.02), 5))
    assert (caught.value.http_status, "secret" in str(caught.value)) == (500, False)


def test_a_router_that_answers_in_time_is_not_disturbed() -> None:
    store = Store()
    store.table.set("acme", A)
    assert run(resolve(router(store), {"tenant": "acme"}, timeout_seconds=5)).target == A
