"""Rows, routes and prices for tests of the replay, to write by hand; `generated` makes others."""

from datetime import UTC, datetime, timedelta
from typing import Any

from plans.replay import LogRow, MemorySource, Question, replay
from plans.replay.columns import BLOCK_ROWS
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
        "latency_ms": 500 + 10 * (n % 40),
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


def run(
    rows: list[LogRow], proposed: Engine, current: Engine = NOTHING, *, block_rows: int = BLOCK_ROWS, **more: Any
) -> dict[str, Any]:
    """The replay of these rows, with 400 draws unless others are asked for."""
    question = Question(**{"current": current, "proposed": proposed, "prices": PRICES, "iterations": 400, **more})
    return replay(MemorySource(rows, block_rows=block_rows), question)


def caveats(result: dict[str, Any]) -> dict[str, Any]:
    """The values of each caveat by its code."""
    return {caveat["code"]: caveat["values"] for caveat in result["caveats"]}
