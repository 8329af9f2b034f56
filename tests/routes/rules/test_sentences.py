import pytest

from routes.money import usd_text
from routes.rules.sentences import default_effect, differences, sentence, standing


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
        (
            {"model_matches": ["gpt-*"], "is_stream": False, "has_tools": True, "prompt_matches_any_of": ["^a"]},
            {"target_model": "m", "provider": "azure", "shadow_model": "n", "traffic_pct": 10},
            "model matches gpt-* and has tools and is not streamed and the text matches /^a/"
            " → m at azure, with a copy to n, for 10% of them",
        ),
        (
            {"metadata": {"team": ["a", "b"]}, "headers": {"x-y": ["z"]}, "numbers": {"share": {"gt": 0.2, "lt": 1}}},
            {"disable_cache": True},
            "metadata team is a or b and header x-y is z and share between 0.2 and 1 (both excluded)"
            " → the model that was asked for, without cache",
        ),
        (
            {"numbers": {"a": {"gt": 5}, "b": {"lt": 0.5}}, "estimated_cost_lt": 0.25},
            {"split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 2}]},
            "estimated to cost less than $0.25 and a above 5 and b below 0.5 → 33.3% to a and 66.7% to b",
        ),
        (
            {"any_of": [{"tag_equals": "a"}, {"has_images": True}], "not": {"model_matches": ["gpt-*"]}},
            {"split": [{"target_model": name, "weight": 5} for name in "abcd"]},
            "(tag is a or has images) and not (model matches gpt-*) → 25% to a, 25% to b, 25% to c and 25% to d",
        ),
        (
            {"any_of": [{}, {"tag_equals": "a", "not": {"has_audio": True, "has_tools": True}}], "not": {}},
            {"refuse": {"status": 403, "code": "too_dear", "message": "Not this month."}},
            "(any request or (tag is a and not (has audio and has tools))) and not (any request)"
            " → refused with 403 too_dear: “Not this month.”",
        ),
        (
            {"any_of": [{"tag_equals": "a"}], "has_tools": True},
            {"target_model": "m"},
            "has tools and tag is a → m",
        ),
        (
            {"any_of": [{"tag_equals": "a", "has_tools": True}]},
            {"target_model": "m"},
            "(tag is a and has tools) → m",
        ),
        ({"unheard_of": 1}, {"target_model": 5}, "(cannot be read) → (cannot be read)"),
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


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"from": "08:00", "to": "18:00"}, "between 08:00 and 18:00 (UTC)"),
        ({"from": "00:00", "to": "00:00", "days": ["sat", "sun"]}, "at any hour (UTC) on Sat, Sun"),
        (
            {"from": "22:00", "to": "06:00", "days": ["mon", "tue", "wed", "fri"]},
            "between 22:00 and 06:00 (UTC) beginning on Mon to Wed, Fri",
        ),
        ({"from": "22:00", "to": "00:00", "days": ["fri"]}, "between 22:00 and 00:00 (UTC) on Fri"),
        ({"from": "08:00", "to": "08:00", "days": ["fri"]}, "between 08:00 and 08:00 (UTC) beginning on Fri"),
    ],
)
def test_a_window_says_on_which_days_it_begins(window: dict[str, object], expected: str) -> None:
    when = {"time_window": {**window, "tz": "UTC"}}
    assert sentence({"when": when, "then": {"target_model": "m"}}) == f"{expected} → m"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"enabled": True, "paused": False}, []),
        ({"enabled": False, "paused": True}, ["disabled", "paused"]),
        ({"active_from": "2026-05-01T08:00:00.000000Z"}, ["active from 2026-05-01 08:00 UTC"]),
        (
            {"active_from": "2026-05-01T08:00:01.000000Z", "active_until": "2026-05-01T09:00:00.500000Z"},
            ["active from 2026-05-01 08:00:01 UTC until 2026-05-01 09:00:00.500000 UTC"],
        ),
    ],
)
def test_what_keeps_a_route_from_acting_is_said(keys: dict[str, object], expected: list[str]) -> None:
    assert standing(keys) == expected
    text = sentence({"then": {"target_model": "m"}, **keys})
    assert text == "any request → m" + (f" ({'; '.join(expected)})" if expected else "")


def test_a_default_reads_as_an_effect() -> None:
    assert default_effect(None) == "unchanged"
    assert default_effect({"target_model": "m"}) == "m"


def test_what_the_sentence_does_not_say_is_a_difference() -> None:
    was = {"name": "a", "then": {"target_model": "m"}, "meta": {"owner": "x", "labels": {"stage": "trial"}}}
    now = {"name": "b", "then": {"target_model": "m"}, "meta": {"labels": {"stage": "live"}, "x-n": [1]}}
    assert differences(was, was) == []
    assert differences(was, now) == ["name: a → b", "owner: x → none", "label stage: trial → live", "x-n: none → [1]"]
