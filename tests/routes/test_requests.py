"""A request to try, read and written."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routes.engine import UNKNOWN, RequestContext
from routes.requests import FACTS, facts_of, read_request

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_FLAG = st.none() | st.booleans()
_WHOLE = st.none() | st.integers(0, 2**53 - 1)
_TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
CONTEXTS = st.builds(
    RequestContext,
    st.none() | _TEXT,
    input_tokens=_WHOLE,
    tag=st.just(UNKNOWN) | st.none() | _TEXT,
    has_images=_FLAG,
    has_audio=_FLAG,
    has_documents=_FLAG,
    has_tools=_FLAG,
    is_stream=_FLAG,
    prompt=st.none() | _TEXT,
    estimated_cost_usd=st.none() | st.decimals(0, 1_000_000, places=9),
    metadata=st.just(UNKNOWN) | st.none() | st.dictionaries(_TEXT, _TEXT, max_size=3),
    headers=st.just(UNKNOWN) | st.none() | st.dictionaries(_TEXT, _TEXT | st.lists(_TEXT, max_size=3), max_size=3),
    numbers=st.none() | st.dictionaries(_TEXT, st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)),
    at=st.none() | _TIMES,
    request_id=st.none() | _TEXT,
    sticky_key=st.none() | _TEXT,
    upstream_latency_ms_p95=_WHOLE,
)


def values(context: RequestContext) -> dict[str, Any]:
    names = (name for name in FACTS if name not in ("unknown", "estimated_cost_usd"))
    return {"cost": context.estimated_cost_nano_usd, **{name: getattr(context, name) for name in names}}


@given(CONTEXTS)
def test_what_is_known_of_a_request_makes_the_same_request(context: RequestContext) -> None:
    again, force = read_request({"context": facts_of(context)})
    assert (values(again), force) == (values(context), None)


def test_only_what_is_known_is_named() -> None:
    assert facts_of(RequestContext()) == {}
    facts = facts_of(RequestContext("m", tag=UNKNOWN, headers={"X-A": ["1", "2"]}, at=datetime(2026, 5, 1, tzinfo=UTC)))
    assert facts == {
        "model": "m", "headers": {"x-a": ["1", "2"]}, "at": "2026-05-01T00:00:00.000000Z", "unknown": ["tag"],
    }  # fmt: skip
