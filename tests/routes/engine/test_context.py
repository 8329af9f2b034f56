"""`RequestContext`: the facts of a request, from a chat body or by name."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import Engine, RequestContext
from tests.routes.engine.build import json_values, raw_routes, route
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
        assert (context.prompt, *modalities(context)) == (None, None, None, None)


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


@given(bodies, raw_routes)
def test_any_json_body_gives_a_context_that_can_be_decided(body: Any, raw: dict[str, Any]) -> None:
    context = RequestContext.from_chat(body)
    engine = Engine([route(id=raw["id"], **raw["when"])])
    assert engine.decide(context) is engine.explain(context).decision


@pytest.mark.parametrize(
    "wrong",
    [{"model": 5}, {"model": ["m"]}, {"tag": 5}, {"prompt": b"x"}, {"input_tokens": 5.0}, {"input_tokens": True},
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


def test_the_prompt_is_not_echoed() -> None:
    assert "secret" not in repr(RequestContext("m", prompt="a secret"))
