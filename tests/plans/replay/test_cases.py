"""The shared cases of plans: costs, caches, similarity, percentiles. Applying is for the tests of the life of a plan."""

import json
import re
from datetime import timedelta
from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest

from plans.replay import LogRow
from plans.replay.caches.l2 import cosine, diverged
from plans.replay.figures import quantile
from plans.replay.sure import BINS, latency_bin
from routes.engine.prices import Price
from tests.paths import shared
from tests.plans.replay.worlds import NOTHING, START, row, run

CASES: dict[str, list[dict[str, Any]]] = json.loads(shared("cases/plans.json").read_text())


def cases(name: str) -> Any:
    return pytest.mark.parametrize("case", CASES[name], ids=[case["id"] for case in CASES[name]])


@cases("cost")
def test_what_tokens_cost(case: dict[str, Any]) -> None:
    usd = case["in"]["price"]
    price = Price(
        provider="p",
        model="m",
        input_nano_per_million=round(usd["input"] * 10**9),
        output_nano_per_million=round(usd["output"] * 10**9),
        cached_input_nano_per_million=round(usd["cached"] * 10**9),
    )
    assert price.cost_nano(*case["in"]["tok"]) / 10**9 == pytest.approx(case["out"]["usd"], abs=case["tol"])


@cases("l1")
def test_what_an_exact_cache_answers(case: dict[str, Any]) -> None:
    rows = [
        row(n, ts=START + timedelta(seconds=at), model=model, input_tokens=tokens, tag=tag)
        for n, (at, model, tokens, tag) in enumerate(case["in"]["rows"])
    ]
    result = run(rows, NOTHING, l1_ttl_seconds=case["in"]["l1_ttl_seconds"])
    rate = result["aggregates"]["cache_hit_rate_projected"]
    expected = case["out"]
    if case["in"]["l1_ttl_seconds"] is None:
        assert rate is None, "without such a cache there is no rate, not even 0"
        return
    assert rate * len(rows) == pytest.approx(expected["hits"])
    assert expected.get("rate", rate) == pytest.approx(rate, abs=case.get("tol", 0))
    assert result["sample_size"] == expected.get("total", len(rows))


@cases("l2_cosine")
def test_how_alike_two_embeddings_are(case: dict[str, Any]) -> None:
    one, other = (np.array(case["in"][name], np.float32) for name in ("a", "b"))
    assert float(cosine(one, other)) == pytest.approx(case["out"]["sim"], abs=case["tol"])
    assert cosine(other, one) == cosine(one, other)


@cases("l2_divergence")
def test_which_answers_seem_to_be_others(case: dict[str, Any]) -> None:
    source, current = case["in"]["source"], case["in"]["current"]
    for one, other in ((source, current), (current, source)):
        assert diverged(one["finish"], one["out"], other["finish"], other["out"]) is case["out"]["diverged"]


def embedding(given: Any) -> bytes | None:
    """`[1, 0]`, or `unit2d(21.79deg)`."""
    if isinstance(given, str):
        found = re.fullmatch(r"unit2d\((.*)deg\)", given)
        assert found is not None
        given = unit(float(found[1]))
    return None if given is None else np.array(given, "<f4").tobytes()


def unit(degrees: float) -> tuple[float, float]:
    return cos(radians(degrees)), sin(radians(degrees))


def l2_rows(given: dict[str, Any]) -> list[LogRow]:
    raw = given.get("rows")
    if raw is None:  # the one case that says in words what it is made of
        turned = [(0.10 if n % 2 else 0.0) + 0.0001 * n for n in range(50)]
        raw = [[n + 1, 5 * n, "p", "m", unit(degrees), "stop", 50] for n, degrees in enumerate(turned)]
    return [
        row(
            request_id=f"r{number:05d}",
            ts=START + timedelta(seconds=at),
            provider=provider,
            model=model,
            embedding=embedding(vector),
            finish_reason=finish,
            output_tokens=tokens,
        )
        for number, at, provider, model, vector, finish, tokens in raw
    ]


@cases("l2")
def test_what_a_semantic_cache_answers(case: dict[str, Any]) -> None:
    given, expected = case["in"], case["out"]
    rows = l2_rows(given)
    asked = {"l2_ttl_seconds": given["l2_ttl_seconds"], "l2_threshold_sweep": tuple(given["sweep"])}
    totals = run(rows, NOTHING, **asked)["aggregates"]
    by_threshold = totals["l2_projections"]
    found = {name: [one[name] for one in by_threshold] for name in ("total", "hits", "rate")}
    found["poison_per_threshold"] = [one["poisoning_candidates"] for one in by_threshold]
    found |= {"poison": totals["l2_poisoning_candidates"], "per_threshold": by_threshold, "derived_hits": found["hits"]}
    if "derived" in expected:
        expected = expected | expected["derived"]
    for name in set(found) & set(expected):
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name
    if "cosine_f32" in expected:
        one, other = (np.frombuffer(each.embedding or b"", np.float32) for each in rows)
        assert float(cosine(one, other)) == pytest.approx(expected["cosine_f32"], abs=1e-7)
    if expected.get("hits_non_increasing"):
        assert found["hits"] == sorted(found["hits"], reverse=True)
        assert found["hits"][0] > 0
        assert len(by_threshold) == expected["rows"]
    assert run(rows[::-1], NOTHING, **asked)["aggregates"] == totals, "given in any order, they are in that of time"


@cases("percentile")
def test_quantiles(case: dict[str, Any]) -> None:
    values = case["in"]["values"]
    if isinstance(values, str):
        first, last = map(int, values.split(".."))
        values = range(first, last + 1)
    assert case["in"]["q"] == 0.5
    counts = np.bincount(latency_bin(np.array(values)), minlength=BINS)
    assert quantile(counts, (1, 2)) == case["out"]["value"]
