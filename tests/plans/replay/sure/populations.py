"""The published populations of requests on which intervals are measured, and what is true of each.

They are those of the notes on intervals: normal (a), lognormal (b), clustered (c), clustered with informative sizes (ci),
few rows (d), twelve keys of which one has half the rows (e), the same keys given, by days (f). Each draws its requests
from a `Generator`; truths are formulae, quadratures and bisections, not simulations.

MIX is the relative effect of a route: U(-0.6, 0) with probability 0.3, else U(0.2, 0.9), mean 0.295. LN(m, s) is the
exponential of N(m, s).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, hypot, log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

NORMAL = NormalDist()
KEY_SIZES = np.array([6000, 1500, 1200, 900, 700, 500, 400, 300, 200, 150, 100, 50])
MOST_ROWS = 400
LN_900 = log(900)
MIX_MEAN = 0.295


@dataclass(frozen=True)
class Truth:
    """Shares; milliseconds."""

    percent: float
    hit_rate: float
    p50: float
    p95: float


@dataclass(frozen=True)
class Requests:
    """What one window holds, an entry per row, and what is true of the traffic it comes from."""

    cluster: NDArray[np.int64]
    clusters: int
    #: The UTC day, where clusters are so few that days are the units.
    day: NDArray[np.int64] | None
    current: NDArray[np.int64]  # nano-dollars
    saved: NDArray[np.int64]
    hit: NDArray[np.bool_]
    latency_ms: NDArray[np.int64]
    on_route: NDArray[np.bool_]
    truth: Truth


@dataclass(frozen=True)
class Population:
    name: str
    draw: Callable[[np.random.Generator], Requests]
    #: Whether each row is a cluster of its own, so that rows as units are clusters as units.
    single_rows: bool = False


def _requests(
    truth: Truth,
    cluster: NDArray[np.int64],
    clusters: int,
    cost: NDArray[np.float64],
    effect: NDArray[np.float64],
    hit: NDArray[np.bool_],
    latency: NDArray[np.float64],
    on_route: NDArray[np.bool_],
    day: NDArray[np.int64] | None = None,
) -> Requests:
    current, saved = (np.rint(usd * 1e9).astype(np.int64) for usd in (cost, cost * effect))
    ms = np.rint(np.maximum(latency, 0)).astype(np.int64)
    return Requests(cluster, clusters, day, current, saved, hit, ms, on_route, truth)


def mix(chance: np.random.Generator, count: int, loses: float | NDArray[np.float64] = 0.3) -> NDArray[np.float64]:
    return np.where(chance.random(count) < loses, chance.uniform(-0.6, 0, count), chance.uniform(0.2, 0.9, count))


# --- A row is a cluster -----------------------------------------------------------------------------------------------


def normal_rows(rows: int) -> Callable[[np.random.Generator], Requests]:
    truth = Truth(0.25, 0.3, *(float(np.rint(NormalDist(900, 200).inv_cdf(q))) for q in (0.5, 0.95)))

    def draw(chance: np.random.Generator) -> Requests:
        return _requests(
            truth,
            np.arange(rows),
            rows,
            cost=np.maximum(chance.normal(0.01, 0.003, rows), 1e-4),
            effect=chance.normal(0.25, 0.2, rows),
            hit=chance.random(rows) < 0.3,
            latency=chance.normal(900, 200, rows),
            on_route=chance.random(rows) < 0.1,
        )

    return draw


def lognormal_rows(
    rows: int, *, cost_sigma: float, latency_sigma: float, hit: float, route: float
) -> Callable[[np.random.Generator], Requests]:
    truth = Truth(MIX_MEAN, hit, *mixture_quantiles([1.0], [LN_900], latency_sigma))

    def draw(chance: np.random.Generator) -> Requests:
        return _requests(
            truth,
            np.arange(rows),
            rows,
            cost=chance.lognormal(-6, cost_sigma, rows),
            effect=mix(chance, rows),
            hit=chance.random(rows) < hit,
            latency=chance.lognormal(LN_900, latency_sigma, rows),
            on_route=chance.random(rows) < route,
        )

    return draw


# --- Clusters ---------------------------------------------------------------------------------------------------------


def _clustered(
    chance: np.random.Generator,
    truth: Truth,
    sizes: NDArray[np.int64],
    effects: NDArray[np.float64],
    hits: NDArray[np.float64],
    latencies: NDArray[np.float64],
    routes: NDArray[np.float64],
) -> Requests:
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rows = len(cluster)
    return _requests(
        truth,
        cluster,
        len(sizes),
        cost=chance.lognormal(-6, 1.2, rows),
        effect=effects[cluster],
        hit=chance.random(rows) < hits[cluster],
        latency=chance.lognormal(LN_900 + latencies[cluster], 0.8),
        on_route=chance.random(rows) < routes[cluster],
    )


def clusters(count: int, *, sizes_inform: bool = False) -> Callable[[np.random.Generator], Requests]:
    """Sizes min(1 + Zipf(1.8), 400). Where sizes inform, clusters above 50 rows mostly lose, hit more, and are slower."""
    share = share_of_rows_above(50) if sizes_inform else 0.0
    truth = Truth(
        percent=share * (0.6 * -0.3 + 0.4 * 0.55) + (1 - share) * (0.2 * -0.3 + 0.8 * 0.55)
        if sizes_inform
        else MIX_MEAN,
        hit_rate=share * 3 / 4.2 + (1 - share) * 0.5,
        **dict(
            zip(
                ("p50", "p95"),
                mixture_quantiles([share, 1 - share], [LN_900 + 0.3, LN_900], hypot(0.8, 0.6)),
                strict=True,
            )
        ),
    )

    def draw(chance: np.random.Generator) -> Requests:
        sizes = np.minimum(1 + chance.zipf(1.8, count), MOST_ROWS)
        big = (sizes > 50) & sizes_inform
        return _clustered(
            chance,
            truth,
            sizes,
            effects=mix(chance, count, np.where(big, 0.6, 0.2) if sizes_inform else 0.3),
            hits=np.where(big, chance.beta(3, 1.2, count), chance.beta(1.2, 1.2, count)),
            latencies=chance.normal(0, 0.6, count) + 0.3 * big,
            routes=0.5 * (chance.random(count) < 0.2),
        )

    return draw


def twelve_keys() -> Callable[[np.random.Generator], Requests]:
    truth = Truth(MIX_MEAN, 0.5, *mixture_quantiles([1.0], [LN_900], hypot(0.8, 0.6)))

    def draw(chance: np.random.Generator) -> Requests:
        effects, hits, latencies = mix(chance, 12), chance.beta(1.2, 1.2, 12), chance.normal(0, 0.6, 12)
        return _clustered(chance, truth, KEY_SIZES, effects, hits, latencies, routes=np.full(12, 0.3))

    return draw


# --- Keys that are given, and days ------------------------------------------------------------------------------------


def keys_by_days(days: int) -> Callable[[np.random.Generator], Requests]:
    """The keys are drawn, and then what is true is true of them. The route, which the notes do not have here, is that of
    `twelve_keys`."""

    def draw(chance: np.random.Generator) -> Requests:
        effects, latencies = mix(chance, 12), chance.normal(0, 0.6, 12)
        hits = np.clip(chance.beta(1.2, 1.2, 12), 0.01, 0.99)
        logits = np.log(hits / (1 - hits))
        cells = (12, days)

        def shifted(by_key: NDArray[np.float64], of_day: float, of_cell: float) -> NDArray[np.float64]:
            return by_key[:, None] + chance.normal(0, of_day, days) + chance.normal(0, of_cell, cells)

        sizes = np.rint(KEY_SIZES[:, None] / 28 * chance.lognormal(0, 0.5, cells)).astype(np.int64)
        effect = shifted(effects, 0.05, 0.10)
        logit = shifted(logits, 0.2, 0.4)
        log_cost = shifted(np.full(12, -6.0), 0.2, 0.3)
        log_ms = shifted(LN_900 + latencies, 0.15, 0.3)
        cell = np.repeat(np.arange(12 * days), sizes.ravel())
        rows = len(cell)
        weights = mean_day_sizes() / mean_day_sizes().sum()
        spread = hypot(0.8, 0.15, 0.3)
        truth = Truth(
            float(weights @ effects),
            float(weights @ [mean_share(logit, hypot(0.2, 0.4)) for logit in logits.tolist()]),
            *mixture_quantiles(weights.tolist(), (LN_900 + latencies).tolist(), spread),
        )
        return _requests(
            truth,
            cell // days,
            12,
            cost=chance.lognormal(log_cost.ravel()[cell], 1.2),
            effect=effect.ravel()[cell],
            hit=chance.random(rows) < 1 / (1 + np.exp(-logit.ravel()[cell])),
            latency=chance.lognormal(log_ms.ravel()[cell], 0.8),
            on_route=chance.random(rows) < 0.3,
            day=cell % days,
        )

    return draw


# --- What is true -----------------------------------------------------------------------------------------------------


def mixture_quantiles(weights: Sequence[float], means: Sequence[float], sigma: float) -> tuple[float, float]:
    """p50 and p95, in whole ms, of latencies whose logarithm is a mixture of normal ones."""

    def quantile(q: float) -> float:
        low, high = 0.0, 30.0
        while high - low > 1e-13:
            middle = (low + high) / 2
            below = sum(w * NORMAL.cdf((middle - mean) / sigma) for w, mean in zip(weights, means, strict=True))
            low, high = (middle, high) if below < q else (low, middle)
        return float(round(exp(low)))

    return quantile(0.5), quantile(0.95)


@cache
def share_of_rows_above(size: int) -> float:
    """Of the rows of clusters of min(1 + Zipf(1.8), 400)."""
    numbers = np.arange(1, MOST_ROWS - 1)
    # zeta(1.8): the first 10^6 terms, and the rest by Euler and Maclaurin.
    terms, s = 10**6, 1.8
    zeta = (np.arange(1, terms, dtype=float) ** -s).sum() + terms ** (1 - s) / (s - 1) + terms**-s / 2
    chances = numbers**-s / zeta
    sizes = np.append(numbers + 1, MOST_ROWS)
    rows = sizes * np.append(chances, 1 - chances.sum())
    return float(rows[sizes > size].sum() / rows.sum())


@cache
def mean_day_sizes() -> NDArray[np.float64]:
    """The mean of rint(size / 28 * LN(0, 0.5)) of each key: the sum of the chances of at least 1, 2, 3, ... rows."""
    return np.array(
        [
            sum(NORMAL.cdf(2 * log(size / 28 / (rows - 0.5))) for rows in range(1, 50 + size))
            for size in KEY_SIZES.tolist()
        ]
    )


def mean_share(logit: float, sigma: float) -> float:
    """The mean of 1 / (1 + exp(-x)) of a normal x, by Gauss and Hermite."""
    nodes, weights = _hermite()
    return float(weights @ (1 / (1 + np.exp(-(logit + sigma * nodes)))))


@cache
def _hermite() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return nodes, weights / weights.sum()


_FEW = {"cost_sigma": 1.2, "latency_sigma": 0.8, "hit": 0.1, "route": 0.3}
_HEAVY = {"cost_sigma": 1.5, "latency_sigma": 1.5, "hit": 0.3, "route": 0.1}
POPULATIONS = {
    each.name: each
    for each in [
        Population("a2000", normal_rows(2000), single_rows=True),
        Population("b2000", lognormal_rows(2000, **_HEAVY), single_rows=True),
        Population("b20000", lognormal_rows(20_000, **_HEAVY), single_rows=True),
        *(Population(f"c{count}", clusters(count)) for count in (30, 60, 100, 300, 1000, 5000)),
        Population("ci1000", clusters(1000, sizes_inform=True)),
        *(Population(f"d{rows}", lognormal_rows(rows, **_FEW), single_rows=True) for rows in (30, 50, 100)),
        Population("e12", twelve_keys()),
        *(Population(f"f{days}", keys_by_days(days)) for days in (7, 14, 28)),
    ]
}
