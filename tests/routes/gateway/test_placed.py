"""Services that lead to placements, in process: where requests go, what passes the gate, and routers that misbehave."""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from routes.engine.errors import PlacementUnavailable, RoutingError
from routes.engine.placements import Placement, PlacementTable
from routes.engine.placing import PinnedRouter, Placed, PlacementRouter
from routes.engine.spi import HeaderOp, Inject, SpiDecision, Target
from routes.gateway.placed import PlacedSink, ServiceCall, SourceHealth, SourcePlacements
from routes.gateway.router import RuntimeRouter, ServiceRef
from routes.gateway.trace import Trace
from routes.gateway.upstream import UpstreamClient
from tests.paths import shared
from tests.routes.gateway.loops import in_a_loop
from tests.routes.gateway.services import ORG, ServicesStore, a_service
from tests.routes.gateway.test_router import FakeClient, a_request, a_router, body_of

SERVICE = ServiceRef(ORG, "web", None)
A = Target("eu", "orders", "https://eu.example/base/")
B = Target("us", "orders", "http://us.example:8080")
BY_HEADER, BY_PATH, FOR_ALL = (
    "https://x-tenant.header.placement.invalid/v1", "https://Tenant.path.placement.invalid", "http://placement.invalid/all?k=v",
)  # fmt: skip
SERVICES = ServicesStore(
    a_service(
        paths={
            "/header/**": BY_HEADER,
            "/t/:Tenant/**": BY_PATH,
            "/all": FOR_ALL,
            "/odd": "http://odd.placement.invalid",
        }
    )
)


class Store:
    """A table behind a line that may be down for the next `failures` calls; `steps` happen one before each call."""

    def __init__(self) -> None:
        self.table = PlacementTable(lambda: 0.0, drain_seconds=0)
        self.failures = self.asked = 0
        self.steps: list[Any] = []

    async def placement(self, partition: str) -> Placement | None:
        self.asked += 1
        if self.steps and (step := self.steps.pop(0)):
            step()
        if self.failures:
            self.failures -= 1
            raise PlacementUnavailable("away")
        return self.table.get(partition)


async def no_pause(seconds: float) -> None:
    """As if it had passed."""


class World:
    def __init__(self, routing: Any = None, client: Any = None, **settings: Any) -> None:
        self.store = Store()
        self.table = self.store.table
        self.client = client or FakeClient(201)
        own = PlacementRouter[ServiceCall](self.store, lambda call: call.partition, sleep=no_pause)
        sink = PlacedSink(lambda org_id: routing or own, **settings)
        self.router: RuntimeRouter = a_router(SERVICES, self.client, placed=sink)
        self.trace: Trace = Trace("id-1")

    async def __call__(self, path: str = "/all", method: str = "POST", tenant: str | None = None, **more: Any) -> Any:
        """Status and body, of which a refusal's message is left out."""
        headers = [] if tenant is None else [("X-Tenant", tenant)]
        request = a_request(path, method=method, headers=[*headers, *more.pop("headers", ())], **more)
        self.trace = Trace("id-1")
        response = await self.router.handle(SERVICE, request, self.trace)
        assert response is not None
        said = await body_of(response)
        await response.aclose()
        return (response.status, said["error"], said["retryable"]) if isinstance(said, dict) else response.status

    @property
    def sent(self) -> list[str]:
        return [each["url"] for each in self.client.sent]

    def stage(self, name: str) -> Any:
        return next(each for each in self.trace.written()["stages"] if each["stage"] == name)


STALE = (409, "stale_epoch", True)


# --- Where requests go ------------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_request_goes_to_where_its_partition_is_by_header_by_path_or_with_all_others() -> None:
    world = World()
    world.table.set("acme", A)
    world.table.set("*", B)
    assert await world("/header/1", tenant="acme", query="x=1") == 201
    assert await world("/header", tenant="other") == 201
    assert await world("/t/acme/2/3") == 201
    assert await world("/all", query="x=1") == 201
    assert world.sent == [
        "https://eu.example/base/v1/1?x=1",
        "http://us.example:8080/v1",
        "https://eu.example/base/2/3",
        "http://us.example:8080/all?k=v&x=1",
    ]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/header", []),
        ("/header", [("X-Tenant", "")]),
        ("/header", [("X-Tenant", "*")]),
        ("/header", [("X-Tenant", "acme"), ("X-Tenant", "acme")]),
        ("/header", [("X-Tenant", "a/../b")]),
        ("/t/%2A", []),
        ("/t/a%20b", []),
    ],
)
@in_a_loop
async def test_a_request_that_does_not_name_its_partition_goes_nowhere(path: str, headers: Any) -> None:
    world = World()
    world.table.set("*", A)
    assert await world(path, headers=headers) == (400, "partition_unresolved", False)
    assert (world.sent, world.store.asked) == ([], 0)


@in_a_loop
async def test_what_is_placed_nowhere_goes_nowhere() -> None:
    world = World()
    world.table.set("acme", A)
    assert await world("/header", "GET", "other") == (404, "placement_missing", False)
    assert await world("/odd") == (400, "unsupported_endpoint", False)
    assert world.sent == []


@in_a_loop
async def test_a_gateway_without_placements_refuses_what_leads_to_them() -> None:
    client = FakeClient()
    response = await a_router(SERVICES, client).handle(SERVICE, a_request("/all"))
    assert response is not None
    assert (response.status, (await body_of(response))["error"], client.sent) == (400, "unsupported_endpoint", [])


@in_a_loop
async def test_the_address_of_a_placement_is_judged_like_any_other() -> None:
    client = UpstreamClient()
    world = World(client=client)
    guarded = replace(SERVICE, private_upstreams=())
    world.table.set("*", Target("inside", "x", "http://127.0.0.1:9"))
    response = await world.router.handle(guarded, a_request("/all", method="POST"))
    assert response is not None
    assert (response.status, (await body_of(response))["error"]) == (502, "egress_denied")
    await client.aclose()


# --- A move -----------------------------------------------------------------------------------------------------------


@in_a_loop
async def test_the_shared_cases_of_the_gate_hold_in_the_gateway() -> None:
    cases = {
        case["id"]: case for case in json.loads(shared("cases/placements.json").read_text())["write_gate_pipeline"]
    }
    world = World()
    world.table.set("acme", A)
    world.table.begin("acme", B)
    assert await world("/header", tenant="acme") == cases["gate-draining"]["write"]
    assert world.stage("placement")["phase"] == cases["gate-explain-phase"]["phase"]
    world.table.cutover("acme")
    before = list(world.sent)
    case = cases["gate-cutover-write"]
    assert (await world("/header", tenant="acme"))[0] == case["write"]
    assert (await world("/header", "DELETE", "acme"))[0] == case["delete"]
    assert (world.sent == before) is case["recorded_writes_unchanged"]
    assert await world("/header", "GET", "acme") == 201
    assert world.sent[-1].startswith("https://eu.example")
    world.table.complete("acme")
    assert await world("/header", tenant="acme") == cases["gate-after"]["write"]
    assert world.sent[-1].startswith("http://us.example")
    # Of one request in four the placement is in cutover: its neighbours pass.
    case = cases["gate-cutover-bulk"]
    world.table.set("cutover", A)
    world.table.begin("cutover", B)
    world.table.cutover("cutover")
    world.table.set("settled", A)
    before = list(world.sent)
    answers = [await world("/header", tenant=tenant) for tenant in case["items"]]
    assert [each if isinstance(each, int) else each[0] for each in answers] == case["item_status"]
    assert {each[1] for each in answers if not isinstance(each, int)} == {case["item_error_type"]}
    assert len(world.sent) - len(before) == case["recorded_writes"]


@pytest.mark.parametrize("step", ["begin", "abort", "complete", "set"])
@in_a_loop
async def test_a_step_between_the_decision_and_the_gate_makes_the_write_stale(step: str) -> None:
    world = World()
    world.table.set("acme", A)
    if step in ("abort", "complete"):
        world.table.begin("acme", B)
    steps = {
        "set": lambda: world.table.set("acme", B),
        "begin": lambda: world.table.begin("acme", B),
        "abort": lambda: world.table.abort("acme"),
        "complete": lambda: (world.table.cutover("acme"), world.table.complete("acme")),
    }
    world.store.steps = [None, steps[step]]
    assert await world("/header", tenant="acme") == STALE
    assert world.sent == []
    # Sent again it passes. What only reads is never refused.
    assert await world("/header", tenant="acme") == 201
    for method in ("GET", "HEAD", "OPTIONS"):
        asked = world.store.asked
        assert await world("/header", method, "acme") == 201
        assert world.store.asked == asked + 1


@in_a_loop
async def test_what_happened_can_be_explained_with_partition_target_epoch_and_phase() -> None:
    world = World()
    world.table.set("acme", A)
    world.table.begin("acme", B)
    await world("/header", tenant="acme")
    told = {"partition": "acme", "target": "eu/orders", "epoch": 2}
    placed, gate = world.stage("placement"), world.stage("gate")
    assert {key: placed[key] for key in (*told, "phase")} == {**told, "phase": "draining"}
    assert {key: gate[key] for key in told} == told
    world.table.cutover("acme")
    await world("/header", tenant="acme")
    document = world.trace.written()
    assert [each["stage"] for each in document["stages"]] == ["match", "placement"]
    assert (document["error"]["code"], document["stages"][-1]["phase"]) == ("stale_epoch", "cutover")


# --- A store that is away ---------------------------------------------------------------------------------------------


@in_a_loop
async def test_the_shared_cases_of_a_store_that_is_away_hold_in_the_gateway() -> None:
    cases = {case["id"]: case for case in json.loads(shared("cases/placements.json").read_text())["retry"]}
    world = World()
    world.table.set("*", A)
    world.store.failures = cases["rp-pipeline-recovers"]["failures"]
    assert await world() == 201
    assert len(world.sent) == cases["rp-pipeline-recovers"]["expect"]["writes"]
    world.store.failures = 99
    expected = cases["rp-pipeline-down"]["expect"]
    assert await world() == (503, expected["code"], expected["retryable"])
    assert len(world.sent) - 1 == expected["writes"]


@pytest.mark.parametrize("fault", [OSError("secret"), RuntimeError("secret"), 0])
@in_a_loop
async def test_a_source_that_fails_or_hangs_is_a_placement_that_cannot_be_read(fault: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    is_over = Event()

    def read(org_id: str, partition: str) -> None:
        if isinstance(fault, Exception):
            raise fault
        is_over.wait(10)

    with ThreadPoolExecutor(1) as threads:
        try:
            with pytest.raises(PlacementUnavailable) as caught:
                await SourcePlacements(read, ORG, threads, SourceHealth(), seconds=0.05).placement("acme")
        finally:
            is_over.set()
    assert "secret" not in str(caught.value)


@in_a_loop
async def test_an_outage_of_the_source_is_told_once_and_so_is_its_end(caplog: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    answers: list[Exception | None] = [None, OSError("down"), PlacementUnavailable("503"), OSError("down"), None, None]

    def read(org_id: str, partition: str) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    caplog.set_level(logging.INFO)
    health = SourceHealth()
    with ThreadPoolExecutor(1) as threads:
        for _ in range(6):
            with suppress(PlacementUnavailable):
                await SourcePlacements(read, ORG, threads, health).placement("acme")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "placements cannot be read, so nothing is served that is placed: OSError: down"),
        ("INFO", "placements are read again, after 3 failures"),
    ]


# --- Routers that misbehave -------------------------------------------------------------------------------------------


class Misbehaving:
    """Answers what it is given in its two ways; waits for ever for `...`."""

    def __init__(self, placed: Any, admit: Any = None) -> None:
        self._placed, self._admit = placed, admit

    async def placed(self, call: Any) -> Any:
        return await self._do(self._placed)

    async def admit(self, partition: str, epoch: int) -> Any:
        return await self._do(self._admit)

    @staticmethod
    async def _do(given: Any) -> Any:
        if given is ...:
            await asyncio.Event().wait()
        if isinstance(given, BaseException):
            raise given
        return given


class Strange(RoutingError):
    http_status = 418


FINE = Placed("acme", "settled", SpiDecision.passthrough(A, "http1", 7))
INTERNAL, UNSUPPORTED = (500, "internal", False), (400, "unsupported_endpoint", False)


def decided(**other: Any) -> Misbehaving:
    return Misbehaving(replace(FINE, decision=replace(FINE.decision, **other)))


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        (object(), INTERNAL),
        (Misbehaving(None), INTERNAL),
        (Misbehaving(FINE.decision), INTERNAL),
        (Misbehaving(KeyError("secret")), INTERNAL),
        (Misbehaving(asyncio.CancelledError()), INTERNAL),
        (Misbehaving(...), INTERNAL),
        (Misbehaving(Strange("Not here.")), (418, "strange", False)),
        (Misbehaving(FINE, True), INTERNAL),
        (Misbehaving(FINE, KeyError("secret")), INTERNAL),
        (Misbehaving(FINE, ...), INTERNAL),
        (decided(protocol="grpc"), UNSUPPORTED),
        (decided(target=Target("eu", "x")), UNSUPPORTED),
        (decided(body_transform=Inject({})), UNSUPPORTED),
    ],
)
@in_a_loop
async def test_whatever_a_router_does_the_client_gets_a_code_and_the_upstream_nothing(
    routing: Any, expected: Any
) -> None:
    world = World(routing, routing_seconds=0.05)
    assert await asyncio.wait_for(world(body=b"data"), 5) == expected
    assert world.sent == []
    assert world.trace.written()["error"]["code"] == expected[1]


@pytest.mark.parametrize("fault", [KeyError("secret"), Strange("Not here.")])
@in_a_loop
async def test_an_organisation_without_a_router_is_told_so(fault: Exception) -> None:
    def routing(org_id: str) -> Any:
        raise fault

    sink = PlacedSink(routing)
    response = await a_router(SERVICES, FakeClient(), placed=sink).handle(
        SERVICE, a_request("/all"), trace := Trace("1")
    )
    assert response is not None
    expected = "internal" if isinstance(fault, KeyError) else "strange"
    assert (await body_of(response))["error"] == trace.written()["error"]["code"] == expected


@pytest.mark.parametrize("parts", [(7, "settled"), ("acme", "lost"), ("acme", "settled", "there")])
def test_what_a_router_answers_holds_what_it_says(parts: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Placed(*parts[:2], *(parts[2:] or (FINE.decision,)))


@in_a_loop
async def test_a_pinned_router_sends_everything_to_its_target() -> None:
    world = World(PinnedRouter(B))
    assert [await world(method=method) for method in ("GET", "POST")] == [201, 201]
    assert set(world.sent) == {"http://us.example:8080/all?k=v"}


@in_a_loop
async def test_headers_are_changed_as_the_router_says_in_its_order() -> None:
    ops = [
        HeaderOp("set", "x-a", "1"),
        HeaderOp("append", "x-a", "2"),
        HeaderOp("remove", "x-b"),
        HeaderOp("append", "x-c", "3"),
    ]
    world = World(decided(header_ops=tuple(ops)))
    await world(headers=[("X-A", "0"), ("X-B", "0"), ("X-C", "0")])
    sent = [
        (name, value) for name, value in world.client.sent[0]["headers"] if name.startswith(b"x-") and len(name) == 3
    ]
    assert sent == [(b"x-c", b"0"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-c", b"3")]
