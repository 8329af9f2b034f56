import pytest

from routes.money import usd_text
from routes.rules.sentences import sentence


@pytest.mark.parametrize(
    ("when", "then", "expected"),
    [
        ({}, {"target_model": "m"}, "any request → m"),
        (
            {"model_in": ["gpt-4o"], "input_tokens_lt": 2000},
            {"target_model": "gpt-4o-mini", "fallbacks": ["claude-haiku"]},
            "model is gpt-4o and fewer than 2,000 input tokens → gpt-4o-mini, else claude-haiku",
        ),
        (
            {"input_tokens_gt": 0, "input_tokens_lt": 10, "has_audio": False, "tag_equals": "x"},
            {"target_model": "m", "max_cost_usd": 0.5, "disable_cache": True},
            "between 0 and 10 input tokens (both excluded) and tag is x and has no audio"
            " → m, at most $0.50 a request, without cache",
        ),
        (
            {"prompt_contains_any_of": ["a", "b"], "estimated_cost_gt": 0, "upstream_latency_ms_p95_gt": 1500},
            {"target_model": "m", "fallbacks": ["n", "o"]},
            "the text contains “a” or “b” and estimated to cost more than $0.00 and upstream p95 latency above 1,500 ms"
            " → m, else n, then o",
        ),
        ({"model_in": list("abcdef")}, {"target_model": "m"}, "model is a, b, c or one of 3 more → m"),
    ],
)
def test_a_route_reads_as_a_sentence(when: dict[str, object], then: dict[str, object], expected: str) -> None:
    assert sentence({"when": when, "then": then}) == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (1204.5, "$1,204.50"),
        (0.0042, "$0.0042"),
        (-3, "−$3.00"),
        (0, "$0.00"),
        (0.05, "$0.050"),
        (1e-9, "$0.000000001"),
    ],
)
def test_dollars_show_as_many_decimals_as_say_something(amount: float, text: str) -> None:
    assert usd_text(amount) == text
