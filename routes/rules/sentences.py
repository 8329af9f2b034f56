"""A route as a sentence: "model is gpt-4o and fewer than 2,000 input tokens → gpt-4o-mini, else claude-haiku".

Everything is given in the document's keys. What no engine could read is said to be so, never an error: rows may have been
written by hand, or by another release.
"""

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from routes.engine.action import Action, SplitArm, read_action
from routes.engine.conditions import Conditions, NumberRange, read_conditions
from routes.engine.frozen import FrozenDict
from routes.engine.meta import read_meta, write_meta
from routes.engine.reading import UNLIMITED, Reading
from routes.engine.times import DAYS, TimeWindow, read_time
from routes.money import usd_text

UNREADABLE = "(cannot be read)"


def sentence(route: dict[str, Any]) -> str:
    """Condition and effect of a route, and what keeps it from acting."""
    text = f"{condition(route.get('when') or {})} → {effect(route.get('then') or {})}"
    return f"{text} ({'; '.join(limits)})" if (limits := standing(route)) else text


def condition(when: Any) -> str:
    """Which requests a route takes, by its conditions or what stands for them in JSON; "any request" without any."""
    conditions = when if isinstance(when, Conditions) else _read(read_conditions, when)
    return UNREADABLE if conditions is None else " and ".join(_parts(conditions)) or "any request"


def effect(then: Any) -> str:
    """What happens to them, by the action or what stands for it in JSON."""
    action = then if isinstance(then, Action) else _read(read_action, then)
    if action is None:
        return UNREADABLE
    if action.refuse is not None:
        refusal = action.refuse
        return f"refused with {refusal.status} {refusal.code}: “{refusal.message}”"
    text = _shares(action.split) if action.split else action.target_model or "the model that was asked for"
    if action.provider:
        text += f" at {action.provider}"
    if action.fallbacks:
        text += f", else {', then '.join(action.fallbacks)}"
    if action.max_cost_usd is not None:
        text += f", at most {usd_text(action.max_cost_usd)} a request"
    if action.disable_cache:
        text += ", without cache"
    if action.shadow_model:
        text += f", with a copy to {action.shadow_model}"
    if action.traffic_pct is not None:
        text += f", for {action.traffic_pct}% of them"
    return text


def default_effect(action: dict[str, Any] | None) -> str:
    """What happens to requests that no route takes."""
    return "unchanged" if action is None else effect(action)


def standing(route: dict[str, Any]) -> list[str]:
    """What keeps a route from acting: "disabled", "paused", the time in which it is active. Empty for most."""
    found = ["disabled"] if route.get("enabled") is False else []
    if route.get("paused"):
        found.append("paused")
    return [*found, f"active {span}"] if (span := activity(route)) else found


def activity(route: dict[str, Any]) -> str:
    """The time in which a route is active, "from … until …"; "" where that is not limited."""
    start, end = (moment(route.get(key)) for key in ("active_from", "active_until"))
    return " ".join([*([f"from {start}"] if start else []), *([f"until {end}"] if end else [])])


def not_asked(route: dict[str, Any], *, past: bool = False) -> str:
    """Why a route is not asked, as it goes on after its name: "is disabled", or outside which time; "" where neither
    can keep it from being asked."""
    verb = "was" if past else "is"
    if route.get("enabled") is False:
        return f"{verb} disabled"
    return f"{verb} active only {span}" if (span := activity(route)) else ""


def lets_pass(route: dict[str, Any], *, past: bool = False, takes_it: bool = True) -> str:
    """Why what a route takes passes unchanged, as it goes on after its name; "" where it acts on at least some of it.
    `takes_it` is false where another route comes before it."""
    takes = "it took the request, which passed unchanged" if past else "it takes the request, which passes unchanged"
    if not takes_it:
        takes = f"the request would {'have passed' if past else 'pass'} unchanged"
    if route.get("paused"):
        return f"{'was' if past else 'is'} paused: {takes}"
    if (route.get("then") or {}).get("traffic_pct") == 0:
        return f"{'had' if past else 'has'} a share of 0% of its requests: {takes}"
    return ""


def differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed besides the sentence: "name: a → b", "owner: none → team"."""
    before, after = ({"name": route.get("name", ""), **_flat(route.get("meta"))} for route in (was, now))
    return [
        f"{key}: {before.get(key, 'none')} → {after.get(key, 'none')}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


# --- Conditions -----------------------------------------------------------------------------------------------------


def _parts(conditions: Conditions) -> list[str]:
    """One text for each condition, all of which must hold."""
    when = conditions
    alternatives = [_alternative(each) for each in when.any_of]
    return [
        *_listed("model is", map(visible, when.model_in)),
        *_listed("model matches", map(visible, when.model_matches)),
        *_between(when.input_tokens_gt, when.input_tokens_lt, "input tokens"),
        *_listed("tag is", [] if when.tag_equals is None else [visible(when.tag_equals)]),
        *_flags(when),
        *_listed("the text contains", [f"“{word}”" for word in when.prompt_contains_any_of]),
        *_listed("the text matches", [f"/{pattern}/" for pattern in when.prompt_matches_any_of]),
        *(
            []
            if when.estimated_cost_gt is None
            else [f"estimated to cost more than {usd_text(when.estimated_cost_gt)}"]
        ),
        *(
            []
            if when.estimated_cost_lt is None
            else [f"estimated to cost less than {usd_text(when.estimated_cost_lt)}"]
        ),
        *(_listed(f"metadata {name} is", map(visible, values))[0] for name, values in when.metadata.items()),
        *(_listed(f"header {name} is", map(visible, values))[0] for name, values in when.headers.items()),
        *(_range(name, bounds) for name, bounds in when.numbers.items()),
        *(
            []
            if when.upstream_latency_ms_p95_gt is None
            else [f"upstream p95 latency above {when.upstream_latency_ms_p95_gt:,} ms"]
        ),
        *([] if when.time_window is None else [_window(when.time_window)]),
        *([f"({' or '.join(alternatives)})"] if len(alternatives) > 1 else alternatives),
        *([] if when.not_ is None else [f"not ({' and '.join(_parts(when.not_)) or 'any request'})"]),
    ]


def _alternative(conditions: Conditions) -> str:
    parts = _parts(conditions)
    text = " and ".join(parts) or "any request"
    return f"({text})" if len(parts) > 1 else text


def _between(low: int | None, high: int | None, noun: str) -> list[str]:
    if low is not None and high is not None:
        return [f"between {low:,} and {high:,} {noun} (both excluded)"]
    if low is not None:
        return [f"more than {low:,} {noun}"]
    return [] if high is None else [f"fewer than {high:,} {noun}"]


_FLAGS = (
    ("has_images", "has images", "has no images"),
    ("has_audio", "has audio", "has no audio"),
    ("has_documents", "has documents", "has no documents"),
    ("has_tools", "has tools", "has no tools"),
    ("is_stream", "is streamed", "is not streamed"),
)


def _flags(when: Conditions) -> list[str]:
    return [yes if wanted else no for key, yes, no in _FLAGS if (wanted := getattr(when, key)) is not None]


def _range(name: str, bounds: NumberRange) -> str:
    return f"{name} {bounds_in_words(bounds.to_dict())}"


def visible(text: str) -> str:
    """The text, in quotes where it begins or ends with a space, which nobody would see."""
    return text if text == text.strip() else f"“{text}”"


def bounds_in_words(bounds: dict[str, Any]) -> str:
    """ "above 0.2", "below 0.8" or both, of `{"gt", "lt"}`."""
    low, high = bounds.get("gt"), bounds.get("lt")
    if low is not None and high is not None:
        return f"between {low} and {high} (both excluded)"
    return f"above {low}" if low is not None else f"below {high}"


def window_in_words(hours: dict[str, Any]) -> str:
    """ "between 22:00 and 06:00 (Europe/Berlin), beginning on Mon to Fri", of a window in the document's keys."""
    return _window(TimeWindow(hours["from"], hours["to"], hours["tz"], tuple(hours.get("days", DAYS))))


def _window(hours: TimeWindow) -> str:
    """ "between 22:00 and 06:00 (Europe/Berlin), beginning on Mon to Fri"."""
    all_day = hours.start == hours.end == "00:00"
    text = f"{'at any hour' if all_day else f'between {hours.start} and {hours.end}'} ({hours.tz})"
    if hours.days == DAYS:
        return text
    goes_over_midnight = hours.start >= hours.end != "00:00"
    return f"{text} {'beginning on' if goes_over_midnight else 'on'} {_days(hours.days)}"


def _days(days: Iterable[str]) -> str:
    """ "Mon to Fri, Sun": three and more in a row as a span."""
    spans: list[list[int]] = []
    for number in map(DAYS.index, days):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(
        f"{DAYS[span[0]].title()} to {DAYS[span[-1]].title()}"
        if len(span) > 2
        else ", ".join(DAYS[number].title() for number in span)
        for span in spans
    )


def _listed(what: str, values: Iterable[str]) -> list[str]:
    """[] for no values."""
    found = list(values)
    if len(found) > 4:
        return [f"{what} {', '.join(found[:3])} or one of {len(found) - 3} more"]
    if len(found) > 1:
        return [f"{what} {', '.join(found[:-1])} or {found[-1]}"]
    return [f"{what} {value}" for value in found]


# --- Actions and the rest -------------------------------------------------------------------------------------------


def _shares(arms: Iterable[SplitArm]) -> str:
    """ "90% to a and 10% to b": shares with one decimal where they are not whole."""
    arms = list(arms)
    total = sum(arm.weight for arm in arms)
    parts = [f"{_percent(Fraction(100 * arm.weight, total))} to {arm.target_model}" for arm in arms]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _percent(share: Fraction) -> str:
    return f"{share.numerator}%" if share.denominator == 1 else f"{float(share):.1f}%"


def moment(text: Any) -> str:
    """ "2026-05-01 08:00 UTC"; seconds where there are some."""
    try:
        at = read_time(text)
    except ValueError:
        return ""
    clock = at.replace(tzinfo=None).isoformat(sep=" ")
    return f"{clock.removesuffix(':00')} UTC"


def _flat(meta: Any) -> dict[str, str]:
    """What people know of a route, as texts by name; labels by theirs."""
    found = write_meta(_read(read_meta, meta or {}) or FrozenDict())
    labels = found.pop("labels", {})
    return {
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()},
        **{f"label {name}": value for name, value in labels.items()},
    }


def _read[T](read: Callable[[object, str, Reading], T], raw: object) -> T | None:
    """None for what no engine could read, whatever its length."""
    reading = Reading(UNLIMITED)
    value = read(raw, "", reading)
    return None if reading.issues else value
