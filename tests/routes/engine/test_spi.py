"""The SPI: what a router may answer, and what comes of one that does anything else."""

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from routes.engine import errors
from routes.engine.spi import (
    MAX_EPOCH,
    NEVER_PLACED,
    HeaderOp,
    Inject,
    RoutingSpi,
    SpiDecision,
    Target,
    next_epoch,
    resolve,
)
from tests.paths import ROOT, shared

TARGET = Target("eu", "gpt-4o")
PASS = SpiDecision.passthrough(TARGET, "http1", 0)


def placement_cases(kind: str) -> list[dict[str, Any]]:
    """The shared cases of this kind. Asked inside tests, so that where they are absent only these are skipped."""
    cases: list[dict[str, Any]] = json.loads(shared("cases/placements.json").read_text(encoding="utf-8"))[kind]
    assert cases
    return cases


# --- The shared cases -----------------------------------------------------------------------------------------------

#: Where the engine's tree rules otherwise than the case, or chooses between its two answers: what holds here, and why.
#: A class of None: the tree has no such refusal.
RULINGS: dict[str, tuple[type[errors.RoutingError] | None, dict[str, Any], str]] = {
    "upstream_failed": (
        errors.UpstreamFailed, {"retryable": False},
        "the case says per error; a class is retryable or not, and a request that was sent may have had an effect",
    ),
    "placement_backend_unavailable": (
        errors.PlacementUnavailable, {"retryable": True},
        "the case says per error; an answer that is final has a class of its own (PlacementMissing)",
    ),
    "unauthorized": (errors.Forbidden, {"code": "forbidden"}, "401 is called unauthorized by HTTP, 403 is not"),
    "overloaded": (errors.Overloaded, {"status": 429}, "two answers in the case; 503 is for what is down"),
    "cursor_unresolvable": (None, {}, "there are no cursors here"),
}  # fmt: skip

TREE = {cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}


def test_a_refusal_has_the_status_of_its_case_or_of_the_ruling_against_it() -> None:
    cases = placement_cases("error_status")
    for case in cases:
        found, differs, _ = RULINGS.get(case["code"], (TREE.get(case["code"]), {}, ""))
        if found is None:
            assert case["code"] in RULINGS, f"{case['code']}: no class, and no ruling that there is none"
            assert case["code"] not in TREE
            continue
        wanted = {"retryable": found.retryable, **case, **differs}
        assert (found.code, found.http_status, found.retryable) == (
            wanted["code"], wanted["status"], wanted["retryable"],
        )  # fmt: skip
    assert set(RULINGS) <= {case["code"] for case in cases}


def test_a_ruling_stands_only_where_the_case_alone_would_not_hold() -> None:
    for case in placement_cases("error_status"):
        if case["code"] in RULINGS:
            found, differs, reason = RULINGS[case["code"]]
            assert reason
            assert found is None or any(differs[key] != case[key] for key in differs)


#: The class of a variant that is called otherwise here: a header that names the partition and is not there.
VARIANTS = {"HeaderMissing": errors.PartitionUnresolved}


def test_a_failure_of_a_router_has_the_code_of_its_case() -> None:
    for case in placement_cases("spi_error_code"):
        found = VARIANTS.get(case["variant"]) or getattr(errors, case["variant"])
        codes = case["code"].values() if isinstance(case["code"], dict) else [case["code"]]
        assert found.code in codes
        assert found.retryable is case["retryable"]
        assert found.http_status == case.get("status", found.http_status)


def test_epochs_behave_as_their_cases_say() -> None:
    found: dict[str, Any] = {
        "zero means never placed": NEVER_PLACED,
        "first placement of a fresh table": next_epoch(NEVER_PLACED),
        "next of max u64": next_epoch(2**64 - 1),
        # There 0 is also the first placement's; here it never is, see the two before.
        "java initial": PASS.epoch,
    }
    for case in placement_cases("epoch"):
        expected = case.get("expect", 0)
        assert found.pop(case["case"]) == (2**64 - 1 if expected == "max u64 (saturates)" else expected)
    assert not found


def passes_through(expect: Any) -> None:
    assert list(PASS.header_ops) == expect["header_ops"]
    assert ("none" if PASS.body_transform is None else "some") == expect["body_transform"]
    assert PASS.epoch == expect["epoch"]


def an_empty_transform_is_one(expect: Any) -> None:
    decision = PASS.with_body_transform(Inject([]))
    assert (decision.body_transform is None) is expect["body_transform_is_none"]


def a_missing_field_is_rejected(expect: Any) -> None:
    assert expect == "rejected"
    whole: dict[str, Any] = {"target": TARGET, "protocol": "http1", "epoch": 0}
    SpiDecision(**whole)
    for name in whole:
        with pytest.raises((TypeError, ValueError)):
            SpiDecision(**{**whole, name: None})
        with pytest.raises(TypeError):
            SpiDecision(**{key: value for key, value in whole.items() if key != name})


def a_list_given_to_a_transform_is_copied(expect: Any) -> None:
    given: list[Any] = [("tags", ["a", {"b": [1]}])]
    transform = Inject(given)
    given[0][1][1]["b"].append(2)
    given[0][1].append("c")
    given.append(("more", 1))
    assert transform == Inject([("tags", ["a", {"b": [1]}])])


DECISIONS: dict[str, Callable[[Any], None]] = {
    "passthrough(target, http1, epoch 0)": passes_through,
    "passthrough then with_body_transform(inject [])": an_empty_transform_is_one,
    "any missing field": a_missing_field_is_rejected,
    "list given to a transform is copied": a_list_given_to_a_transform_is_copied,
}


def test_decisions_behave_as_their_cases_say() -> None:
    cases = placement_cases("route_decision")
    for case in cases:
        DECISIONS[case["case"]](case.get("expect"))
    assert len(cases) == len(DECISIONS)


# --- Values ---------------------------------------------------------------------------------------------------------


def test_targets_are_the_same_whatever_their_endpoint() -> None:
    there = Target("eu", "gpt-4o", "https://eu.internal:8443/v1")
    assert there == TARGET
    assert hash(there) == hash(TARGET)
    assert {TARGET: 1}[there] == 1
    assert str(there) == "eu/gpt-4o"
    assert SpiDecision(there, "http1", 0) == PASS


@pytest.mark.parametrize("other", [Target("us", "gpt-4o"), Target("eu", "gpt-4o-mini"), Target("gpt-4o", "eu")])
def test_targets_of_another_cluster_or_resource_are_others(other: Target) -> None:
    assert other != TARGET


@pytest.mark.parametrize("name", ["cluster", "resource"])
@pytest.mark.parametrize("value", [None, 1, b"eu", "", " ", "e\nu", "e\x00u", "e\u2028u", "e\ud800u"])
def test_a_target_needs_names(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Target(**{"cluster": "eu", "resource": "gpt-4o", name: value})


@pytest.mark.parametrize("endpoint", ["http://10.0.0.1", "https://[::1]:8443/v1?a=b", "grpc://eu.internal:443"])
def test_an_endpoint_is_an_absolute_url(endpoint: str) -> None:
    assert Target("eu", "m", endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "", "eu.internal", "/v1", "//eu.internal", "https://", "https:///v1", "https://?a", "https://user:pw@eu.internal",
        "https://eu.internal/#f", "https://eu.internal\\@evil", "https://eu internal", "https://eu\r\nHost: x",
        "https://eu\n", "https://eü.internal", "https://eu.internal/ü", "HTTPS://eu.internal", 8080, b"https://eu",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_and_not_echoed(endpoint: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        Target("eu", "m", endpoint)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("protocol", ["http1", "http2", "grpc"])
def test_the_protocols_are_a_small_set(protocol: Any) -> None:
    assert SpiDecision(TARGET, protocol, 0).protocol == protocol


@pytest.mark.parametrize("protocol", ["", "http", "http3", "HTTP1", "grpc ", None, 1, ["http1"], {}])
def test_another_protocol_is_refused(protocol: Any) -> None:
    with pytest.raises(ValueError, match="protocol"):
        SpiDecision(TARGET, protocol, 0)


@pytest.mark.parametrize("epoch", [0, 1, 2**63, MAX_EPOCH])
def test_an_epoch_has_64_bits(epoch: int) -> None:
    assert SpiDecision(TARGET, "http1", epoch).epoch == epoch
    assert next_epoch(epoch) in (epoch + 1, MAX_EPOCH)
    assert next_epoch(epoch) >= epoch


@pytest.mark.parametrize("epoch", [-1, 2**64, pytest.param(10**5000, id="huge"), 1.0, True, False, "1", None])
def test_what_is_no_epoch_is_refused(epoch: Any) -> None:
    for build in (next_epoch, lambda value: SpiDecision(TARGET, "http1", value)):
        with pytest.raises((TypeError, ValueError), match="epoch"):
            build(epoch)


@pytest.mark.parametrize("target", [None, "eu/gpt-4o", ("eu", "gpt-4o"), [TARGET], {"cluster": "eu"}])
def test_a_decision_has_exactly_one_target(target: Any) -> None:
    with pytest.raises(TypeError, match="target"):
        SpiDecision(target, "http1", 0)


def test_changes_answer_a_copy() -> None:
    ops = [HeaderOp("set", "x-tenant", "acme")]
    with_ops = PASS.with_header_ops(ops)
    ops.append(HeaderOp("remove", "cookie"))
    both = with_ops.with_body_transform(Inject({"user": "u1"}))
    assert (PASS.header_ops, PASS.body_transform) == ((), None)
    assert (with_ops.header_ops, with_ops.body_transform) == ((HeaderOp("set", "x-tenant", "acme"),), None)
    assert (both.header_ops, both.body_transform) == (with_ops.header_ops, Inject([("user", "u1")]))
    assert (both.target, both.protocol, both.epoch) == (PASS.target, PASS.protocol, PASS.epoch)
    assert both.with_header_ops(()).with_body_transform(None) == PASS


def test_a_list_of_header_operations_is_copied() -> None:
    ops = [HeaderOp("append", "via", "1.1 gate")]
    decision = SpiDecision(TARGET, "http2", 7, ops)  # type: ignore[arg-type]
    ops.clear()
    assert decision.header_ops == (HeaderOp("append", "via", "1.1 gate"),)


@pytest.mark.parametrize(
    "ops",
    [
        None, "x", {"x-a": "1"}, [("set", "x-a", "1")], [None], 5,
        # A set has no order, and what can be read once is empty after the first look.
        {HeaderOp("remove", "x-a")}, iter([HeaderOp("remove", "x-a")]),
    ],
)  # fmt: skip
def test_header_operations_are_header_operations(ops: Any) -> None:
    with pytest.raises(TypeError):
        SpiDecision(TARGET, "http1", 0, ops)


@pytest.mark.parametrize("transform", [(), {}, [("a", 1)], "none", False])
def test_a_body_transform_is_one_of_the_closed_set(transform: Any) -> None:
    with pytest.raises(TypeError, match="body_transform"):
        SpiDecision(TARGET, "http1", 0, (), transform)


FULL = PASS.with_header_ops([HeaderOp("set", "x-a", "1"), HeaderOp("remove", "x-b")]).with_body_transform(
    Inject({"a": [1, {"b": [2]}]})
)


@pytest.mark.parametrize(
    ("value", "field"),
    [(TARGET, "endpoint"), (HeaderOp("set", "x-a", "1"), "value"), (Inject({}), "fields"), (PASS, "epoch")],
)
def test_values_cannot_be_changed(value: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)
    with pytest.raises((AttributeError, TypeError)):
        value.other = 1


def test_values_inside_a_transform_cannot_be_changed() -> None:
    inner = Inject({"a": {"b": 1}}).fields[0][1]
    with pytest.raises(TypeError):
        inner["b"] = 2


def test_decisions_can_be_hashed_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(FULL)) == copy.deepcopy(FULL) == FULL
    assert len({FULL, copy.copy(FULL), PASS}) == 2


def test_a_printed_decision_keeps_what_it_puts_in_to_itself() -> None:
    secret = PASS.with_header_ops([HeaderOp("set", "authorization", "Bearer s3cret")])
    printed = repr(secret.with_body_transform(Inject({"tenant": "s3cret"})))
    assert "authorization" in printed
    assert "tenant" in printed
    assert "s3cret" not in printed


# --- Header operations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("set", "x-tenant", "acme"), ("append", "via", "1.1\tgate way"), ("set", "x-empty", ""), ("set", "x", "a"),
        ("remove", "cookie", None), ("set", "!#$%&'*+-.^_`|~09az", '~!"'),
    ],
)  # fmt: skip
def test_a_header_operation_sets_appends_or_removes(kind: Any, name: str, value: str | None) -> None:
    op = HeaderOp(kind, name, value)
    assert (op.kind, op.name, op.value) == (kind, name, value)


@pytest.mark.parametrize("kind", ["add", "replace", "", "SET", None, 1, ["set"]])
def test_another_kind_of_operation_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="set, append or remove"):
        HeaderOp(kind, "x-a", "1")


@pytest.mark.parametrize("kind", ["set", "append", "remove"])
@pytest.mark.parametrize(
    "name",
    [
        "", " ", "x a", "x-a ", " x-a", "X-A", "x-a:", ":path", "x\r\ny", "x-a\n", "x\x00", "x\ty", "x-ä", "x/a", "x\u212a",
        "(x)", "x,y", None, 1, b"x-a",
    ],
)  # fmt: skip
def test_a_name_that_could_split_a_header_or_is_not_in_lower_case_is_refused(kind: Any, name: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        HeaderOp(kind, name, None if kind == "remove" else "1")


@pytest.mark.parametrize("kind", ["set", "append"])
@pytest.mark.parametrize(
    "value",
    ["a\r\nx: y", "a\n", "a\r", "a\nb", "a\x00b", "a\x0bb", "a\x7f", "a\x85b", " a", "a ", "\ta", "ä", "a\u2028b", " "],
)
def test_a_value_that_could_split_a_header_or_reads_differently_is_refused(kind: Any, value: str) -> None:
    with pytest.raises(ValueError, match="x-a is visible ASCII"):
        HeaderOp(kind, "x-a", value)


def test_a_refused_value_is_not_echoed() -> None:
    with pytest.raises(ValueError, match="authorization") as refused:
        HeaderOp("set", "authorization", "Bearer s3cret\n")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("kind", ["set", "append"])
@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_setting_and_appending_need_a_value(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="value"):
        HeaderOp(kind, "x-a", value)


@pytest.mark.parametrize("value", ["", "a", 1])
def test_removing_takes_no_value(value: Any) -> None:
    with pytest.raises(ValueError, match="removed"):
        HeaderOp("remove", "x-a", value)


@pytest.mark.parametrize("kind", ["set", "append", "remove"])
@pytest.mark.parametrize(
    "name",
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
)
def test_what_frames_the_message_is_not_to_be_changed(kind: Any, name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the connection"):
        HeaderOp(kind, name, None if kind == "remove" else "1")


# --- Body transforms ------------------------------------------------------------------------------------------------


def test_fields_come_as_pairs_or_as_a_mapping_and_keep_their_order() -> None:
    assert Inject({"b": 1, "a": None}).fields == (("b", 1), ("a", None)) == Inject([["b", 1], ["a", None]]).fields  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        None, 1, "ab", b"ab", "", b"", ["ab"], [("a",)], [("a", 1, 2)], [None], {1: 2}, {"": 1}, {" ": 1}, {"a\n": 1},
        [("a", 1), ("a", 1)], {"a": float("nan")}, {"a": {1, 2}}, {"a": object()}, {"a": {1: 2}}, {"a": "\ud800"},
        {"a": 2**53},
    ],
)  # fmt: skip
def test_fields_that_are_not_json_members_are_refused(fields: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Inject(fields)


# --- Routers --------------------------------------------------------------------------------------------------------


class Pinned:
    """The smallest router: one target for everything."""

    async def route(self, ctx: str) -> SpiDecision:
        return PASS


class Odd:
    """A router that does as it is told, after the event loop had a turn."""

    def __init__(self, answer: Any = None, *, raises: BaseException | None = None) -> None:
        self.answer, self.raises = answer, raises

    async def route(self, ctx: object) -> Any:
        await asyncio.sleep(0)
        if self.raises is not None:
            raise self.raises
        return self.answer


def run(spi: Any, ctx: object = "ctx") -> SpiDecision:
    return asyncio.run(resolve(spi, ctx))


def test_a_router_needs_nothing_but_route() -> None:
    spi: RoutingSpi[str] = Pinned()
    assert run(spi) is PASS


def test_the_context_is_passed_as_it_is() -> None:
    seen = []

    class Watching:
        async def route(self, ctx: object) -> SpiDecision:
            seen.append(ctx)
            return PASS

    context = object()
    run(Watching(), context)
    assert seen == [context]


@pytest.mark.parametrize("cls", [errors.PlacementMissing, errors.PlacementUnavailable, errors.StaleEpoch])
def test_a_refusal_of_the_tree_passes_as_it_is(cls: type[errors.RoutingError]) -> None:
    refusal = cls("here")
    with pytest.raises(cls) as raised:
        run(Odd(raises=refusal))
    assert raised.value is refusal
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("acme"), KeyError("acme"), TimeoutError("acme"), OSError("acme"), RecursionError(), MemoryError(),
        AssertionError("acme"), NotImplementedError(), ExceptionGroup("acme", [errors.NoRoute("acme")]),
        StopAsyncIteration(), UnicodeDecodeError("utf-8", b"acme", 0, 1, "acme"),
    ],
    ids=repr,
)  # fmt: skip
def test_every_other_exception_becomes_internal_with_its_cause(fault: Exception) -> None:
    with pytest.raises(errors.Internal) as raised:
        run(Odd(raises=fault))
    assert raised.value.__cause__ is fault
    assert "acme" not in str(raised.value)
    assert "Odd" in str(raised.value)


def test_a_panic_that_is_no_exception_becomes_internal_in_a_task() -> None:
    class Panic(BaseException):
        """As extensions raise it that are written in Rust."""

    with pytest.raises(errors.Internal, match=r"Odd failed with Panic\."):
        run(Odd(raises=Panic("acme")))


@pytest.mark.parametrize("ending", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_what_ends_the_task_or_the_process_passes(ending: BaseException) -> None:
    # Driven by hand: an event loop has ways of its own with these.
    coroutine = resolve(Odd(raises=ending), "ctx")
    coroutine.send(None)
    with pytest.raises(type(ending)) as raised:
        coroutine.send(None)
    assert raised.value is ending


def test_a_cancelled_task_is_cancelled() -> None:
    class Waiting:
        async def route(self, ctx: object) -> SpiDecision:
            await asyncio.Event().wait()
            return PASS

    async def main() -> bool:
        task = asyncio.create_task(resolve(Waiting(), "ctx"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=10)
        return task.cancelled()

    assert asyncio.run(main())


def test_a_cancelled_task_is_cancelled_also_while_a_timeout_runs_in_it() -> None:
    class Waiting:
        async def route(self, ctx: object) -> SpiDecision:
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
            return PASS

    async def main() -> None:
        async with asyncio.timeout(0.01):
            await resolve(Waiting(), "ctx")

    with pytest.raises(TimeoutError):  # which the caller's timeout makes of the cancellation
        asyncio.run(main())


def test_a_cancellation_of_what_the_router_waited_for_is_internal() -> None:
    class Impatient:
        async def route(self, ctx: object) -> SpiDecision:
            inner = asyncio.ensure_future(asyncio.sleep(60))
            inner.cancel()
            await inner
            return PASS

    with pytest.raises(errors.Internal, match="Impatient failed with CancelledError") as raised:
        run(Impatient())
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize(
    "answer", [None, TARGET, "eu/gpt-4o", (TARGET, "http1", 0), [PASS, PASS], SpiDecision, errors.NoRoute("acme")],
    ids=lambda answer: type(answer).__name__,
)  # fmt: skip
def test_an_answer_that_is_no_decision_is_internal(answer: Any) -> None:
    with pytest.raises(errors.Internal, match=type(answer).__name__):
        run(Odd(answer))


def test_a_decision_that_cannot_be_built_is_internal() -> None:
    class Careless:
        async def route(self, ctx: object) -> SpiDecision:
            return SpiDecision(TARGET, "http1", -1)

    with pytest.raises(errors.Internal) as raised:
        run(Careless())
    assert isinstance(raised.value.__cause__, ValueError)


class NotAsync:
    def route(self, ctx: object) -> SpiDecision:
        return PASS


class FailsAtOnce:
    def route(self, ctx: object) -> Coroutine[Any, Any, SpiDecision]:
        raise LookupError("before there is anything to await")


class TakesNothing:
    async def route(self) -> SpiDecision:
        return PASS


@pytest.mark.parametrize("spi", [NotAsync(), FailsAtOnce(), TakesNothing(), object(), None])
def test_what_is_no_router_is_internal(spi: Any) -> None:
    with pytest.raises(errors.Internal) as raised:
        run(spi)
    assert isinstance(raised.value.__cause__, Exception)


def test_the_import_does_without_asyncio() -> None:
    program = "import sys, routes.engine.spi, routes.engine.prices; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
