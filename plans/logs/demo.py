"""Demo traffic: synthetic request logs whose sizes follow the measured quantiles of two public traces.

The figures below, and nothing else, come from the Azure LLM inference trace 2023 (AzurePublicDataset, CC-BY 4.0; Patel
et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024). No row of it is in here.
Everything about a demo row is generated, and `synthetic` says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.logs.formats import Row, cost_usd, invented_latency_ms, priced_model
from plans.logs.services import ImportReport, import_rows
from routes.catalog.services import price_table
from routes.engine.prices import PriceTable
from routes.orgs.models import Organization

#: The levels of the quantiles, in percent. A quantile is an element: of n in order the one at index
#: (2 level (n - 1) + 100) // 200, counted from 0.
LEVELS = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)


@dataclass(frozen=True, slots=True)
class Shape:
    """What was measured of one trace: tokens at `LEVELS`, requests, and the seconds from the first to the last."""

    context_tokens: tuple[int, ...]
    generated_tokens: tuple[int, ...]
    requests: int
    seconds: float

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


CHAT = Shape(
    context_tokens=(2, 29, 181, 207, 387, 403, 703, 1020, 1071, 1130, 1315, 2735, 4083, 4142, 14050),
    generated_tokens=(7, 16, 41, 54, 77, 91, 103, 129, 177, 384, 400, 424, 451, 601, 1000),
    requests=19_366,
    seconds=3501.721937,
)
CODE = Shape(
    context_tokens=(3, 17, 75, 147, 386, 770, 1075, 1469, 1909, 2433, 3192, 5186, 7302, 7436, 7437),
    generated_tokens=(6, 6, 6, 7, 8, 9, 11, 13, 16, 20, 29, 55, 90, 252, 1899),
    requests=8_819,
    seconds=3435.948056,
)

# --- Invented from here on ------------------------------------------------------------------------------------------

#: Code has the share that it had of the two traces' rates; the rest is chat, by these weights.
CODE_SHARE = CODE.requests_per_second / (CODE.requests_per_second + CHAT.requests_per_second)
TAGS: tuple[str | None, ...] = ("support", "summarize", "code", None)
TAG_WEIGHTS = ((1 - CODE_SHARE) * 0.5, (1 - CODE_SHARE) * 0.3, CODE_SHARE, (1 - CODE_SHARE) * 0.2)
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gpt-4.1")
MODEL_WEIGHTS: dict[str | None, tuple[float, ...]] = {
    "support": (0.65, 0.25, 0.05, 0.05),
    "summarize": (0.80, 0.10, 0.05, 0.05),
    "code": (0.35, 0.05, 0.40, 0.20),
    None: (0.70, 0.15, 0.05, 0.10),
}
#: How fast each model is beside the stated rule, in thousandths.
LATENCY_PERMILLE = {"gpt-4o": 1000, "gpt-4o-mini": 550, "claude-sonnet-4-5": 1300, "gpt-4.1": 900}
USERS = 150
#: A user stays with one kind of work in most requests, so requests of one user resemble each other.
HABIT = 0.75
IMAGE_SHARE = 0.04
FAILED_SHARE = 0.012
#: Traffic by hour of the day in UTC, and on Saturdays and Sundays as a share of that.
HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 14, 12, 14, 15, 15, 13, 11, 8, 6, 5, 4, 3, 2)
WEEKEND = 0.4


def demo_rows(
    *, prices: PriceTable, end: datetime, days: int = 14, rows: int = 20_000, seed: int = 1
) -> Iterator[dict[str, Any]]:
    """`rows` request logs of the `days` before `end`, in order of time: columns of `RequestLog`.

    The same arguments give the same rows. Input and output tokens are drawn independently of each other, which the
    traces' are not. Raises `UnpricedModel` where one of `MODELS` has no price.
    """
    providers = {model: priced_model(prices, model)[0] for model in MODELS}
    # Only `random()`, turned into everything else here: it is the draw that NumPy has kept the same over its releases.
    rng = np.random.Generator(np.random.PCG64(seed))
    times = _times(end, days, np.sort(rng.random(rows)))
    sizes = 1 / np.arange(3, USERS + 3)
    users = _choose(sizes, rng.random(rows))
    homes = _choose(TAG_WEIGHTS, rng.random(USERS))
    tags = np.where(rng.random(rows) < HABIT, homes[users], _choose(TAG_WEIGHTS, rng.random(rows)))
    draws = {name: rng.random(rows) for name in ("model", "input", "output", "image", "failed", "which", "stream")}

    for n in range(rows):
        tag = TAGS[tags[n]]
        shape = CODE if tag == "code" else CHAT
        model = MODELS[int(_choose(MODEL_WEIGHTS[tag], draws["model"][n : n + 1])[0])]
        input_tokens = _tokens(shape.context_tokens, draws["input"][n])
        output_tokens = _tokens(shape.generated_tokens, draws["output"][n])
        latency_ms = invented_latency_ms(input_tokens, output_tokens) * LATENCY_PERMILLE[model] // 1000
        price = prices.price(providers[model], model, times[n])
        cost = cost_usd(price, input_tokens, output_tokens) if price else None
        status = 200
        if draws["failed"][n] < FAILED_SHARE:
            # A failed request costs nothing and answers nothing; being turned away is quick.
            status = 429 if draws["which"][n] < 0.7 else 500
            output_tokens, cost = 0, Decimal(0)
            latency_ms = 40 if status == 429 else latency_ms
        values: dict[str, Any] = {
            "request_id": f"demo-{seed}-{n + 1:07d}",
            "ts": times[n],
            "kind": "primary",
            "provider": providers[model],
            "model": model,
            "requested_model": model,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost,
            "baseline_cost_usd": cost,
            "latency_ms": latency_ms,
            "status": status,
            "tag": tag,
            "cluster_key": f"user-{users[n] + 1:03d}",
            "finish_reason": "stop" if status == 200 else "error",
            "has_images": bool(tag != "code" and draws["image"][n] < IMAGE_SHARE),
            "has_audio": False,
            "has_documents": False,
            "has_tools": tag == "code",
            "is_stream": bool(draws["stream"][n] < 0.6),
        }
        yield values | {"synthetic": sorted(values)}


def install(org: Organization, *, end: datetime, by: Any, rows: int = 20_000) -> ImportReport:
    """Give the organisation demo traffic of the two weeks before `end`. Needs the prices of `MODELS`."""
    prices = price_table(org)
    return import_rows(
        org,
        lambda: (Row(n, values) for n, values in enumerate(demo_rows(prices=prices, end=end, rows=rows), start=1)),
        on_error="abort",
        by=by,
        source="generated demo traffic",
    )


def _choose(weights: Any, draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each draw from [0, 1) the index that it falls on, of indexes with these weights."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    chosen: NDArray[np.int64] = np.searchsorted(edges, draws * edges[-1], side="right")
    return np.minimum(chosen, len(edges) - 1)  # a draw just below 1 may be rounded up to the last edge


def _times(end: datetime, days: int, draws: NDArray[np.float64]) -> list[datetime]:
    """A time in the `days` before `end` for each draw, by the weights of hours and weekends; order is kept."""
    start = end.astimezone(UTC) - timedelta(days=days)
    hours = [start + timedelta(hours=hour) for hour in range(24 * days)]
    edges = np.cumsum([HOURS[hour.hour] * (WEEKEND if hour.weekday() >= 5 else 1.0) for hour in hours])
    at = np.interp(draws * edges[-1], np.concatenate([[0.0], edges]), np.arange(len(edges) + 1))
    micros = np.minimum((at * 3_600_000_000).astype(np.int64), days * 86_400_000_000 - 1)
    return [start + timedelta(microseconds=int(micro)) for micro in micros]


def _tokens(quantiles: tuple[int, ...], draw: float) -> int:
    """The number of tokens at this share of the distribution; between two levels geometrically, as long tails fall."""
    return round(float(np.exp(np.interp(100 * draw, LEVELS, np.log(quantiles)))))
