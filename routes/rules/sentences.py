"""A route as a sentence: "model is gpt-4o and fewer than 2,000 input tokens → gpt-4o-mini, else claude-haiku"."""

from typing import Any

from routes.money import usd_text


def sentence(route: dict[str, Any]) -> str:
    """Condition and effect of a route given in the document's keys."""
    return f"{condition(route.get('when') or {})} → {effect(route.get('then') or {})}"


def condition(when: dict[str, Any]) -> str:
    """Which requests a route takes; "any request" without conditions."""
    parts = [part for part in (_model(when), _tokens(when), *_others(when)) if part]
    return " and ".join(parts) or "any request"


def effect(then: dict[str, Any]) -> str:
    """What happens to them."""
    text = str(then.get("target_model", ""))
    if fallbacks := then.get("fallbacks"):
        text += f", else {', then '.join(fallbacks)}"
    if ceiling := then.get("max_cost_usd"):
        text += f", at most {usd_text(ceiling)} a request"
    if then.get("disable_cache"):
        text += ", without cache"
    return text


def _model(when: dict[str, Any]) -> str:
    return f"model is {_any_of(when['model_in'])}" if when.get("model_in") else ""


def _tokens(when: dict[str, Any]) -> str:
    low, high = when.get("input_tokens_gt"), when.get("input_tokens_lt")
    if low is not None and high is not None:
        return f"between {low:,} and {high:,} input tokens (both excluded)"
    if low is not None:
        return f"more than {low:,} input tokens"
    return f"fewer than {high:,} input tokens" if high is not None else ""


def _others(when: dict[str, Any]) -> list[str]:
    parts = []
    if tag := when.get("tag_equals"):
        parts.append(f"tag is {tag}")
    for key, noun in (("has_images", "images"), ("has_audio", "audio"), ("has_documents", "documents")):
        if (wanted := when.get(key)) is not None:
            parts.append(f"{'has' if wanted else 'has no'} {noun}")
    if words := when.get("prompt_contains_any_of"):
        quoted = [f"“{word}”" for word in words]
        parts.append(f"the text contains {_any_of(quoted)}")
    if (low := when.get("estimated_cost_gt")) is not None:
        parts.append(f"estimated to cost more than {usd_text(low)}")
    if (high := when.get("estimated_cost_lt")) is not None:
        parts.append(f"estimated to cost less than {usd_text(high)}")
    if (slow := when.get("upstream_latency_ms_p95_gt")) is not None:
        parts.append(f"upstream p95 latency above {slow:,} ms")
    return parts


def _any_of(values: list[str]) -> str:
    if len(values) > 4:
        return f"{', '.join(values[:3])} or one of {len(values) - 3} more"
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
