"""Routes of every kind that the engine accepts, in their canonical form, with texts that look like notation."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from routes.engine import Action, NewRoute
from routes.engine.errors import InvalidRoute
from routes.times import rfc3339

TEXTS = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)
    | st.text("ab \"'=,<>\\5.e-&;{}", min_size=1, max_size=6)
    | st.sampled_from(["gpt-4o", " gpt-4o ", "0.5", "a = b, c", '"quoted"', "__n__", "</textarea>", "&amp;"])
).filter(str.strip)
LISTS = st.lists(TEXTS, min_size=1, max_size=3, unique=True)
TOKENS = st.integers(0, 3) | st.integers(0, 2**53 - 1)
USD = st.integers(0, 10**15).map(lambda nano: nano // 10**9 if nano % 10**9 == 0 else nano / 10**9)
FIGURES = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
CLOCKS = st.sampled_from(["00:00", "06:30", "22:00", "23:59"])
#: Whole minutes, whole milliseconds and microseconds, also of early years.
TIMES = st.builds(
    lambda at, zeros: rfc3339(at.replace(microsecond=at.microsecond // zeros * zeros, tzinfo=UTC)),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)) | st.just(datetime(2026, 5, 1)),
    st.sampled_from([1, 1_000, 10_000, 1_000_000]),
)  # fmt: skip
PATTERNS = st.sampled_from([r"\bsalary\b", "(?i)legal", " x ", "a|b"])

FLAT: dict[str, st.SearchStrategy[Any]] = {
    "model_in": LISTS,
    "model_matches": LISTS,
    "input_tokens_lt": TOKENS,
    "input_tokens_gt": TOKENS,
    "tag_equals": TEXTS,
    **{f"has_{kind}": st.booleans() for kind in ("images", "audio", "documents", "tools")},
    "is_stream": st.booleans(),
    "prompt_contains_any_of": LISTS,
    "prompt_matches_any_of": st.lists(PATTERNS, min_size=1, max_size=2, unique=True),
    "estimated_cost_gt": USD,
    "estimated_cost_lt": USD,
    "metadata": st.dictionaries(TEXTS, LISTS, min_size=1, max_size=2),
    "headers": st.dictionaries(st.sampled_from(["x-team", "user-agent", "a.b"]), LISTS, min_size=1, max_size=2),
    "numbers": st.dictionaries(
        TEXTS, st.fixed_dictionaries({}, optional={"gt": FIGURES, "lt": FIGURES}).filter(bool), min_size=1, max_size=2
    ),
    "upstream_latency_ms_p95_gt": TOKENS,
    "time_window": st.fixed_dictionaries(
        {"from": CLOCKS, "to": CLOCKS, "tz": st.sampled_from(["UTC", "Europe/Berlin"])},
        optional={"days": st.lists(st.sampled_from(["mon", "tue", "fri", "sat", "sun"]), min_size=1, unique=True)},
    ),
}


def _some_of(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({key: FLAT[key] for key in keys})


FLAT_CONDITIONS = st.lists(st.sampled_from(sorted(FLAT)), max_size=3, unique=True).flatmap(_some_of)
CONDITIONS = st.recursive(
    FLAT_CONDITIONS,
    lambda inner: st.builds(
        lambda flat, groups: {**flat, **groups},
        FLAT_CONDITIONS,
        st.fixed_dictionaries({}, optional={"any_of": st.lists(inner, min_size=1, max_size=3), "not": inner}),
    ),
    max_leaves=6,
)
HANDLING = st.fixed_dictionaries(
    {},
    optional={
        "fallbacks": LISTS,
        "disable_cache": st.just(True),
        "max_cost_usd": USD.filter(bool),
        "traffic_pct": st.integers(0, 100),
        "shadow_model": TEXTS,
    },
)
KINDS = st.one_of(
    st.fixed_dictionaries({"target_model": TEXTS}, optional={"provider": TEXTS}),
    st.just({}),
    st.lists(st.tuples(TEXTS, st.integers(1, 10_000)), min_size=2, max_size=10, unique_by=lambda arm: arm[0]).map(
        lambda arms: {"split": [{"target_model": model, "weight": weight} for model, weight in arms]}
    ),
)
REFUSALS = st.builds(
    lambda status, code, message: {"refuse": {"status": status, "code": code, "message": message}},
    st.integers(400, 499), TEXTS, TEXTS,
)  # fmt: skip
ACTIONS = REFUSALS | st.builds(lambda kind, handling: {**kind, **handling}, KINDS, HANDLING)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 2**53 - 1, 5e-324]) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
META = st.fixed_dictionaries(
    {},
    optional={
        "description": TEXTS,
        "owner": TEXTS,
        "link": st.just("https://issues.example/7?a=b&c=d"),
        "labels": st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=2),
        "x-team": JSON,
    },
)
RAW_ROUTES = st.builds(
    lambda top, when, then: {**top, "when": when, "then": then},
    st.fixed_dictionaries(
        {"name": TEXTS, "priority": st.integers(0, 2**31 - 1), "enabled": st.booleans(), "meta": META},
        optional={"paused": st.booleans(), "active_from": TIMES, "active_until": TIMES},
    ),
    CONDITIONS,
    ACTIONS,
)


def _canonical(read: Any) -> Any:
    def canonical(raw: dict[str, Any]) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = read(raw).to_dict()
        except InvalidRoute:
            return None  # parts that are good in themselves and not together
        return document

    return canonical


#: Canonical routes without an id, and canonical actions.
NEW_ROUTES = RAW_ROUTES.map(_canonical(NewRoute.from_dict)).filter(bool)
CANONICAL_ACTIONS = ACTIONS.map(_canonical(Action.from_dict)).filter(bool)
