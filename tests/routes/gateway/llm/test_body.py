"""Bodies of chat completions: read strictly, and asked for another model without another change."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine.errors import MalformedRequest, PayloadTooLarge
from routes.engine.tokens import count_tokens
from routes.gateway.llm.body import MAX_BODY_BYTES, MAX_DEPTH, read_chat, with_model


def nested(levels: int) -> bytes:
    """A body of so many levels, itself the first."""
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    return b'{"model": "m", "x": ' + (inner or b"0") + b"}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "names no model"),
        (b'{"model": ""}', "names no model"),
        (b'{"model": 5}', "names no model"),
        (b'{"model": "a", "model": "b"}', "twice|repeated|more than once"),
        (b'{"model": "a", "x": {"y": 1, "y": 2}}', "twice|repeated|more than once"),
        (b'{"model": "a", "x": NaN}', "NaN"),
        (b'{"model": "a", "x": 1e999}', "double"),
        (b'{"model": "\xff"}', "not JSON"),
        ('{"model": "a"}'.encode("utf-16"), "not JSON"),
        (nested(MAX_DEPTH + 1), f"{MAX_DEPTH} levels"),
        (nested(100_000), f"{MAX_DEPTH} levels"),
        (b'{"model": "a"} x', "not JSON"),
    ],
)
def test_what_is_no_body_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(MalformedRequest, match=said) as caught:
        read_chat(data)
    assert "document" not in str(caught.value)


def test_as_many_levels_as_are_allowed_are_read() -> None:
    assert read_chat(nested(MAX_DEPTH))["model"] == "m"


def test_a_body_above_the_bound_is_too_large_and_one_at_it_is_not() -> None:
    frame = b'{"model": "m", "x": "%s"}'
    at_it = frame % (b"x" * (MAX_BODY_BYTES - len(frame) + 2))
    assert len(at_it) == MAX_BODY_BYTES
    assert read_chat(at_it)["model"] == "m"
    with pytest.raises(PayloadTooLarge):
        read_chat(at_it + b" ")


# --- Another model ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"model":"a","n":1}', '{"model":"new \\"one\\"","n":1}'),
        ('{ "n" : 1.0 ,\n "model" :  "a" }', '{ "n" : 1.0 ,\n "model" :  "new \\"one\\"" }'),
        (
            '{"x":{"model":"a"},"y":["model"],"model":"a","z":1e-7}',
            '{"x":{"model":"a"},"y":["model"],"model":"new \\"one\\"","z":1e-7}',
        ),
        ('{"m\\u006fdel": "a"}', '{"m\\u006fdel": "new \\"one\\""}'),
        ('{"messages":"\\"model\\":\\"a\\"","model":"a"}', '{"messages":"\\"model\\":\\"a\\"","model":"new \\"one\\""}'),
    ],
)  # fmt: skip
def test_the_model_is_replaced_where_it_stands_and_no_other_byte(before: str, after: str) -> None:
    assert with_model(before.encode(), 'new "one"').decode() == after


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=5),
    st.text(min_size=1),
    st.text(min_size=1),
    st.integers(0, 5),
    st.booleans(),
)
def test_the_rewritten_body_is_the_same_object_with_another_model(
    others: dict[str, Any], model: str, new: str, place: int, is_ascii: bool
) -> None:
    others.pop("model", None)
    items = list(others.items())
    items.insert(min(place, len(items)), ("model", model))
    text = json.dumps(dict(items), ensure_ascii=is_ascii)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate, which no body can hold but escaped
    rewritten = with_model(data, new)
    assert json.loads(rewritten) == {**json.loads(data), "model": new}


# --- Tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([{"role": "user", "content": "x" * 8}], 2),
        ([{"role": "user", "content": "x" * 9}], 3),
        ([{"role": "system", "content": "abcd"}, {"role": "assistant", "content": "efgh"}], 2),
        ([{"role": "user", "content": [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {}}]}], 1),
        ([{"role": "user", "content": "日本語の文"}], 2),
        ([], 0),
        (None, 0),
        ("text", 0),
        ([5, {"content": 7}, {"content": [1, {"type": "text", "text": 3}]}, {"content": {"text": "x"}}], 0),
    ],
)
def test_tokens_are_characters_of_all_messages_by_four_rounded_up(messages: Any, tokens: int) -> None:
    assert count_tokens({"model": "m", "messages": messages}) == tokens
