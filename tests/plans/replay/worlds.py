"""Rows, routes and prices for tests of the replay: some to write by hand, some to generate."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from plans.replay import LogRow, replay
from routes.engine import Engine, Route
from routes.engine.ids import uuid7
from routes.engine.prices import Price, PriceTable

START = datetime(2026, 5, 1, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=10))
PRICES = PriceTable(
    [
        Price(
            provider="openai", model="big", input_nano_per_million=2_500_000_000, output_nano_per_million=10_000_000_000
        ),
        Price(
            provider="openai",
            model="small",
            input_nano_per_million=150_000_000,
            output_nano_per_million=600_000_001,
            cached_input_nano_per_million=75_000_000,
        ),
        Price(provider="azure", model="small", input_nano_per_million=1, output_nano_per_million=1),
    ]
)


def row(n: int = 0, **changes: Any) -> LogRow:
    """The n-th request, a minute after the one before; all its facts are logged."""
    cost = 250_000 * (n + 1) + 500_000
    fields = {
        "request_id": f"r{n:05d}",
        "ts": START + timedelta(minutes=n),
        "provider": "openai",
        "model": "big",
        "requested_model": "big",
        "input_tokens": 100 * (n + 1),
        "output_tokens": 50,
        "cost_nano": cost,
        "baseline_cost_nano": cost,
        "cluster_key": f"u{n % 12}",
        "fact_input_tokens": 100 * (n + 1),
        "fact_estimated_cost_nano": cost,
    }
    return LogRow(**{**fields, **changes})


def routes(*raw: dict[str, Any]) -> Engine:
    return Engine(
        Route.from_dict({"id": uuid7(), "name": f"r{n}", "priority": 100, "enabled": True, "when": {}, **one})
        for n, one in enumerate(raw)
    )


def to(model: str, **when: Any) -> dict[str, Any]:
    return {"when": when, "then": {"target_model": model}}


NOTHING = routes()


def run(rows: list[LogRow], proposed: Engine, current: Engine = NOTHING, **more: Any) -> dict[str, Any]:
    return replay(
        rows, **{"current": current, "proposed": proposed, "prices": PRICES, "seed": 1, "iterations": 400, **more}
    )


def caveats(result: dict[str, Any]) -> dict[str, Any]:
    """The values of each caveat by its code."""
    return {caveat["code"]: caveat["values"] for caveat in result["caveats"]}


MODELS = st.sampled_from(["big", "small", "new", "unpriced"])
PROVIDERS = st.sampled_from(["openai", "azure", "other", ""])
MONEY = st.integers(0, 10**10)
TOKENS = st.integers(0, 5000)
FLAGS = st.sampled_from([None, True, False])
#: Seven in eight rows are usual ones, so that most examples have something to replay.
USUALLY = st.sampled_from([True] * 7 + [False])


@st.composite
def logs(draw: st.DrawFn, keys: list[str | None]) -> list[LogRow]:
    """Up to 50 rows of ten days in the order of (ts, request_id); some fail, some repeat, some nobody can price."""
    found = []
    for n in range(draw(st.integers(0, 50))):
        usual = draw(USUALLY)
        found.append(
            row(
                n,
                request_id=f"r{n:05d}" if usual else f"r{draw(st.integers(0, 5)):05d}",
                ts=START + timedelta(minutes=draw(st.integers(0, 10 * 24 * 60 - 1))),
                kind="primary" if usual else draw(st.sampled_from(["primary", "fallback", "shadow"])),
                status=200 if usual else draw(st.sampled_from([200, 399, 400, 503])),
                provider=draw(PROVIDERS),
                model=draw(MODELS),
                requested_model=draw(MODELS),
                input_tokens=draw(TOKENS),
                output_tokens=draw(TOKENS),
                cached_tokens=draw(st.integers(0, 6000)),
                cost_nano=draw(MONEY if usual else st.none() | MONEY),
                baseline_cost_nano=draw(MONEY if usual else st.none() | MONEY),
                tag=draw(st.sampled_from([None, "a", "b"])),
                cluster_key=draw(st.sampled_from(keys)),
                has_images=draw(FLAGS),
                has_audio=draw(FLAGS),
                has_documents=draw(FLAGS),
                has_tools=draw(FLAGS),
                is_stream=draw(FLAGS),
                fact_sticky_key=draw(st.sampled_from([None, "user-42", "user-1"])),
                fact_input_tokens=draw(st.none() | TOKENS),
                fact_estimated_cost_nano=draw(st.none() | MONEY),
                fact_upstream_latency_ms_p95=draw(st.none() | st.integers(0, 2000)),
            )
        )
    return sorted(found, key=lambda one: (one.ts, one.request_id))


FLAT = st.fixed_dictionaries(
    {},
    optional={
        "model_in": st.lists(MODELS, min_size=1, max_size=2, unique=True),
        "model_matches": st.sampled_from([["*"], ["s*"], ["b*g", "new"]]),
        "input_tokens_lt": TOKENS,
        "tag_equals": st.just("a"),
        "has_images": st.booleans(),
        "has_tools": st.booleans(),
        "is_stream": st.booleans(),
        "estimated_cost_gt": st.sampled_from([0.5, 3]),
        "metadata": st.just({"team": ["a"]}),
        "headers": st.just({"x-team": ["a"]}),
        "numbers": st.just({"budget_share": {"gt": 0.5}}),
        "time_window": st.sampled_from([{"from": "08:00", "to": "18:00", "tz": "Europe/Berlin"}]),
    },
)
WHEN = FLAT | st.builds(
    lambda flat, groups: {**flat, **groups},
    FLAT,
    st.fixed_dictionaries({}, optional={"any_of": st.lists(FLAT, min_size=1, max_size=2), "not": FLAT}),
)
HANDLING = st.fixed_dictionaries(
    {},
    optional={
        "max_cost_usd": st.sampled_from([0.001, 5]),
        "traffic_pct": st.sampled_from([0, 50, 100]),
        "disable_cache": st.just(True),
        "shadow_model": MODELS,
    },
)
THEN = st.one_of(
    st.builds(lambda model, handling: {"target_model": model, **handling}, MODELS, HANDLING),
    st.builds(
        lambda model, provider, handling: {"target_model": model, "provider": provider, **handling},
        MODELS,
        st.sampled_from(["openai", "azure", "elsewhere"]),
        HANDLING,
    ),
    HANDLING.map(lambda handling: {**handling, "disable_cache": True}),
    st.builds(
        lambda models, handling: {
            "split": [{"target_model": model, "weight": weight} for weight, model in enumerate(models, 1)],
            **handling,
        },
        st.lists(MODELS, min_size=2, max_size=3, unique=True),
        HANDLING,
    ),
    st.just({"refuse": {"status": 403, "code": "no", "message": "No."}}),
)
RULES = st.lists(
    st.fixed_dictionaries(
        {"priority": st.integers(0, 3), "enabled": st.booleans(), "when": WHEN, "then": THEN},
        optional={"paused": st.just(True), "active_until": st.just("2026-05-06T00:00:00Z")},
    ),
    max_size=5,
)

#: Of each provider, model, start and standing at most one, as the table of prices has it.
PRICE_LISTS = st.lists(
    st.builds(
        Price,
        provider=st.sampled_from(["openai", "azure", "other"]),
        model=st.sampled_from(["big", "small", "new"]),
        since=st.none() | st.integers(-2, 9).map(lambda day: START + timedelta(days=day)),
        negotiated=st.booleans(),
        input_nano_per_million=st.integers(0, 10**11),
        output_nano_per_million=st.integers(0, 10**11),
        cached_input_nano_per_million=st.none() | st.integers(0, 10**11),
    ),
    max_size=12,
    unique_by=lambda price: (price.provider, price.model, price.since, price.negotiated),
)
