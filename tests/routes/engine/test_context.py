"""`RequestContext`: the facts of a request, from a chat body or by name."""

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import UNKNOWN, Engine, RequestContext, Route
from tests.routes.engine.build import json_values, raw_routes, route, unhurried
from tests.routes.engine.build import route_id as new_id


def chat(*messages: Any) -> RequestContext:
    return RequestContext.from_chat({"model": "m", "messages": list(messages)})


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def modalities(context: RequestContext) -> tuple[bool | None, bool | None, bool | None]:
    return context.has_images, context.has_audio, context.has_documents


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, (True, False, False)) for kind in ("image_url", "input_image", "image")),
        *((kind, (False, True, False)) for kind in ("input_audio", "audio")),
        *((kind, (False, False, True)) for kind in ("document", "file", "input_file")),
        ("text", (False, False, False)),
        ("refusal", (False, False, False)),
    ],
)
def test_the_type_of_a_part_says_which_modality_it_is(kind: str, expected: tuple[bool, bool, bool]) -> None:
    for role in ("user", "system", "assistant", "tool", "developer"):
        assert modalities(chat({"role": role, "content": [{"type": kind}]})) == expected


def test_the_prompt_is_the_text_of_user_and_system_messages() -> None:
    context = chat(
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "no"},
        {"role": "tool", "content": "no"},
        user({"type": "text", "text": "le"}, {"type": "image_url"}, {"type": "text", "text": "gal"}),
    )
    assert context.prompt == "be brief\nlegal"


def test_a_body_without_messages_leaves_modalities_and_prompt_unknown() -> None:
    for body in ({"model": "m"}, {"model": "m", "messages": None}, {"model": "m", "messages": "hi"}):
        context = RequestContext.from_chat(body)
        assert context.model == "m"
        assert (context.prompt, context.has_tools, *modalities(context)) == (None, None, None, None, None)


def test_messages_are_joined_with_a_newline_and_the_parts_of_one_with_nothing() -> None:
    context = chat(
        user({"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}),
        {"role": "developer", "content": "no"},
        {"role": "user", "content": ""},
        {"role": "system", "content": "c"},
    )
    assert context.prompt == "ab\n\nc"
    assert chat().prompt == ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, False),
        ({"tools": []}, False),
        ({"tools": [{"type": "function"}]}, True),
        ({"functions": [{"name": "f"}]}, True),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, True),
        ({"messages": [{"role": "assistant", "tool_calls": []}, {"role": "user", "content": "tool"}]}, False),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, True),
        ({"messages": [{"role": "tool", "content": "42"}]}, True),
        ({"messages": [{"role": "function", "content": "42"}, {"role": "user", "content": "x"}]}, True),
        ({"messages": [{"role": ["tool"], "content": "42"}]}, False),
    ],
)
def test_tools_are_those_that_are_offered_or_were_called_earlier(body: dict[str, Any], expected: bool) -> None:
    assert RequestContext.from_chat({"model": "m", "messages": []} | body).has_tools is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"stream": True}, True), ({"stream": False}, False), ({}, False), ({"stream": "true"}, False), ({"stream": 1}, False),
     ([], None), (None, None)],
)  # fmt: skip
def test_a_stream_is_asked_for_by_true_alone(body: Any, expected: bool | None) -> None:
    assert RequestContext.from_chat(body).is_stream is expected


def test_a_fact_given_by_name_wins_over_the_body() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    context = RequestContext.from_chat(body, model="n", prompt="other", has_images=True, tag="t", input_tokens=5)
    assert (context.model, context.prompt, context.has_images, context.tag, context.input_tokens) == (
        "n", "other", True, "t", 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [None, 5, [], {}, {"role": "user"}, {"role": 5, "content": "x"}, {"role": ["user"], "content": ["x"]},
     user(None, 5, "text", {"type": 5}, {"type": ["text"]}, {"text": "x"}, {"type": "text", "text": 5})],
)  # fmt: skip
def test_malformed_parts_are_ignored_and_the_rest_is_read(message: Any) -> None:
    context = chat(message, {"role": "user", "content": "hi"})
    assert context.prompt is not None
    assert context.prompt.strip() == "hi"
    assert modalities(context) == (False, False, False)


message_like = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant"]) | json_values,
        "content": json_values
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"type": st.sampled_from(["text", "image_url", "file"]) | json_values, "text": json_values}
            )
        ),
    },
)
bodies = json_values | st.fixed_dictionaries(
    {}, optional={"model": json_values, "messages": json_values | st.lists(message_like | json_values)}
)


@unhurried
@given(bodies, raw_routes)
def test_any_json_body_gives_a_context_that_can_be_decided(body: Any, raw: dict[str, Any]) -> None:
    context = RequestContext.from_chat(body)
    engine = Engine([Route.from_dict(raw)])
    assert engine.decide(context) is engine.explain(context).decision


@pytest.mark.parametrize(
    "wrong",
    [{"has_tools": 1}, {"is_stream": "no"}, {"request_id": 5}, {"sticky_key": b"k"}, {"at": "2026-11-21T08:00:00Z"},
     {"at": 5}, {"metadata": ["k"]}, {"metadata": {"k": 5}}, {"metadata": {5: "v"}}, {"headers": "x: y"},
     {"headers": {5: "v"}}, {"headers": {"x": [5]}}, {"headers": {"x": ["a", None]}}, {"numbers": [1]},
     {"numbers": {"n": "5"}}, {"numbers": {"n": True}}, {"numbers": {5: 5}}, {"numbers": UNKNOWN}, {"prompt": UNKNOWN},
     {"model": 5}, {"model": ["m"]}, {"tag": 5}, {"prompt": b"x"}, {"input_tokens": 5.0}, {"input_tokens": True},
     {"input_tokens": "5"}, {"has_images": 1}, {"has_audio": "yes"}, {"has_documents": []},
     {"estimated_cost_usd": "0.1"}, {"estimated_cost_usd": True}, {"upstream_latency_ms_p95": "5"},
     {"upstream_latency_ms_p95": False}],
)  # fmt: skip
def test_a_fact_of_a_wrong_type_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        RequestContext(**wrong)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_not_finite_cannot_be_built(wrong: float) -> None:
    with pytest.raises(ValueError):
        RequestContext(estimated_cost_usd=wrong)
    with pytest.raises(ValueError):
        RequestContext(upstream_latency_ms_p95=wrong)
    with pytest.raises(ValueError):
        RequestContext(numbers={"n": wrong})


def test_a_time_is_aware_and_kept_in_utc() -> None:
    eastern = timezone(timedelta(hours=-5))
    at = RequestContext(at=datetime(2026, 11, 21, 23, 30, tzinfo=eastern)).at
    assert at == datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
    assert at is not None
    assert at.tzinfo is UTC
    for wrong in (
        datetime(2026, 11, 21), datetime(1, 6, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, tzinfo=eastern), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            RequestContext(at=wrong)


def matched(context: RequestContext, **conditions: Any) -> bool:
    return Engine([route("r", **conditions)]).decide(context).reason == "matched"


def test_headers_are_named_in_any_case_and_any_of_several_values_may_hold() -> None:
    context = RequestContext(headers={"X-Team": "a", "x-team": ["b", "c"], "X-Empty": [], "X-One": ["d"]})
    for value in "abc":
        assert matched(context, headers={"x-team": [value, "z"]})
    assert not matched(context, headers={"x-team": ["d"]})
    assert not matched(context, headers={"x-empty": [""]})
    assert matched(context, headers={"x-one": ["d"]})
    assert matched(context, not_={"headers": {"x-empty": ["a"]}})
    assert not matched(context, not_={"headers": {"x-team": ["b"]}})


@pytest.mark.parametrize(
    ("facts", "condition"),
    [
        ({"tag": UNKNOWN}, {"tag_equals": "t"}),
        ({"metadata": UNKNOWN}, {"metadata": {"k": ["v"]}}),
        ({"headers": UNKNOWN}, {"headers": {"k": ["v"]}}),
        ({"numbers": {}}, {"numbers": {"n": {"gt": 0}}}),
        ({}, {"numbers": {"n": {"gt": 0}}}),
        ({"prompt": None}, {"prompt_contains_any_of": ["x"]}),
        ({"model": None}, {"model_matches": ["*"]}),
        ({}, {"has_tools": True}),
    ],
)
def test_the_unknown_holds_in_neither_way(facts: dict[str, Any], condition: dict[str, Any]) -> None:
    context = RequestContext(**facts)
    assert not matched(context, **condition)
    assert not matched(context, not_=condition)
    assert not matched(context, any_of=[condition, {"not": condition}])


@pytest.mark.parametrize(
    ("facts", "condition"),
    [
        ({"tag": None}, {"tag_equals": "t"}),
        ({"metadata": None}, {"metadata": {"k": ["v"]}}),
        ({"metadata": {"other": "v"}}, {"metadata": {"k": ["v"]}}),
        ({"headers": None}, {"headers": {"k": ["v"]}}),
        ({"headers": {}}, {"headers": {"k": ["v"]}}),
    ],
)
def test_the_absent_is_known_not_to_hold(facts: dict[str, Any], condition: dict[str, Any]) -> None:
    context = RequestContext(**facts)
    assert not matched(context, **condition)
    assert matched(context, not_=condition)


def test_a_context_holds_copies_of_what_it_was_given() -> None:
    metadata, headers, numbers = {"k": "v"}, {"x": ["a"]}, {"n": 1}
    context = RequestContext(metadata=metadata, headers=headers, numbers=numbers)
    metadata["k"] = headers["x"][0] = "changed"
    numbers["n"] = 9
    assert matched(context, metadata={"k": ["v"]}, headers={"x": ["a"]}, numbers={"n": {"lt": 2}})


def test_a_sticky_key_wins_over_the_id_of_the_request_and_can_always_be_hashed() -> None:
    assert RequestContext().split_key() is None
    assert RequestContext(request_id="r").split_key() == b"r"
    assert RequestContext(request_id="r", sticky_key="s").split_key() == b"s"
    assert RequestContext(request_id="r", sticky_key="").split_key() == b""
    assert RequestContext(sticky_key="a\ud800é").split_key() == "a\ufffdé".encode()


def test_unknown_is_one_value_also_after_a_copy() -> None:
    assert repr(UNKNOWN) == "UNKNOWN"
    assert pickle.loads(pickle.dumps(UNKNOWN)) is copy.deepcopy(UNKNOWN) is UNKNOWN


def test_an_estimate_is_kept_in_whole_nano_dollars() -> None:
    for amount in (0.02, Decimal("0.02"), 0.02 + 1e-12):
        context = RequestContext(estimated_cost_usd=amount)
        assert context.estimated_cost_nano_usd == 20_000_000
        assert context.estimated_cost_usd == 0.02
    assert RequestContext(estimated_cost_usd=3).estimated_cost_usd == 3


def test_estimate_and_threshold_agree_at_the_border() -> None:
    engine = Engine([route("r", id=new_id(1), estimated_cost_gt=0.3)])
    assert engine.decide(RequestContext(estimated_cost_usd=0.1 + 0.2)).reason == "no_match"
    assert engine.decide(RequestContext(estimated_cost_usd=0.300000001)).reason == "matched"


def test_the_text_is_lowered_at_most_once_and_only_when_asked_for() -> None:
    lowered = []

    class Watched(str):
        def isascii(self) -> bool:
            return True

        def lower(self) -> str:
            lowered.append(self)
            return str.lower(self)

    context = RequestContext("m", prompt=Watched("About SALARY"))
    Engine([route("r", model_in=["m"])]).decide(context)
    assert lowered == []
    engine = Engine([route("a", prompt_contains_any_of=["x"]), route("b", prompt_contains_any_of=["SALARY"])])
    assert engine.decide(context).route_name == "b"
    engine.decide(context)
    assert len(lowered) == 1


def test_lone_surrogates_are_replaced_before_text_is_searched() -> None:
    context = RequestContext(prompt="a\ud800B")
    assert context.lowered_prompt() == "a\ufffdb"
    assert Engine([route("r", prompt_contains_any_of=["a\ufffdb"])]).decide(context).reason == "matched"


def test_neither_the_prompt_nor_what_headers_hold_is_echoed() -> None:
    context = RequestContext("m", prompt="a secret", headers={"authorization": "secret"}, tag="t", numbers={"n": 1})
    assert repr(context) == "RequestContext('m', tag='t', numbers={'n': 1}, headers=<hidden>, prompt=<8 characters>)"
    assert repr(RequestContext()) == "RequestContext(None)"
    assert repr(RequestContext(tag=UNKNOWN, headers=UNKNOWN)) == "RequestContext(None, tag=UNKNOWN, headers=<hidden>)"
