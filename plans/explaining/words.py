"""What is said of a logged request: what happened by the log, what the versions say, why they differ, what is not sure.

Values in, sentences out.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from plans.explaining.services import Explained, Side, outcome
from plans.replay.pricing import is_called
from routes.engine import RouteDecision
from routes.engine.canonical import canonical_bytes
from routes.engine.explanation import FACT_OF
from routes.money import usd_text
from routes.requests import facts_of
from routes.rules.explained import continued, verdict
from routes.rules.sentences import not_asked

#: By id of a route whether it is to be in a version: the versions between which it came, or went.
type Turned = Callable[[str, bool], tuple[int, int]]

#: Facts that a log may lack, and what people call them.
FACTS: Final = {
    "headers": "request headers",
    "numbers": "the gateway's own figures",
    "prompt": "the text",
    "metadata": "metadata",
    "has_images": "whether it had images",
    "has_audio": "whether it had audio",
    "has_documents": "whether it had documents",
    "has_tools": "whether it had tools",
    "is_stream": "whether it was streamed",
    "estimated_cost_usd": "the estimated cost",
    "upstream_latency_ms_p95": "the upstream latency of the moment",
}
#: Columns of a row that conditions see, and what people call them.
_SEEN: Final = {
    "ts": "its time",
    "requested_model": "the model it asked for",
    "input_tokens": "its tokens",
    "fact_input_tokens": "the gateway's count of its tokens",
    "tag": "its tag",
    **{
        name: FACTS[name] for name in ("metadata", "has_images", "has_audio", "has_documents", "has_tools", "is_stream")
    },
    "baseline_cost_usd": "what it would have cost without routing",
    "fact_estimated_cost_usd": FACTS["estimated_cost_usd"],
    "fact_upstream_latency_ms_p95": FACTS["upstream_latency_ms_p95"],
}


def headline_then(told: Explained) -> str:
    """What became of the request: as the log says it, or, where it says nothing of it, as the version of then has it."""
    if (logged := by_the_log(told)) is not None:
        return logged
    if told.then.decision is None:
        return f"the log does not say what took it; {served(told)}"
    if not told.then.version:
        return f"nothing was published yet; {served(told)}"
    return f"{_of_side(told, told.then)} (by version {told.then.version}; the log does not say)"


def headline_now(told: Explained) -> str:
    return _of_side(told, told.now) or told.now.problem


def is_same(told: Explained) -> bool | None:
    """Whether both versions do the same with it; None where one cannot be asked."""
    if told.then.decision is None or told.now.decision is None:
        return None
    return outcome(told.then.decision) == outcome(told.now.decision)


def served(told: Explained) -> str:
    row = told.row
    how = "answered from the cache, first by" if row.cached else "failed at" if row.status >= 400 else "served by"
    return f"{how} {row.model}"


def by_the_log(told: Explained) -> str | None:
    """What the log says about who took the request, None where it says nothing."""
    row, name = told.row, told.route_name
    if not row.reason and row.matched_route_id is None:
        return None
    taker = f"“{name}”" if name is not None else "a route that is not known any more"
    happened = {
        "forced": f"{taker} was asked for by name",
        "forced_not_found": "a route was asked for by name that was not enabled",
        "paused": f"{taker} took it, but was paused",
        "control": f"{taker} took it, but it was outside its share",
        "default": "no route took it: what was set for such requests happened",
        "no_match": "no route took it",
    }
    if row.reason == "refused":
        who = taker if row.matched_route_id else "what was set for requests that no route takes"
        return f"{who} refused it with {row.status}"
    return f"{happened.get(row.reason, f'{taker} took it')}, {served(told)}"


def disagreements(told: Explained) -> list[str]:
    """Where the version of then, decided on what was kept, says something else than the log."""
    row, decision = told.row, told.then.decision
    if decision is None:
        return []
    found = []
    logged = None if row.matched_route_id is None else str(row.matched_route_id)
    knows = bool(row.reason) or logged is not None
    if knows and (logged != decision.route_id or (row.reason and row.reason != decision.reason)):
        if not told.then.version:
            return [f"The log says: {by_the_log(told)}. But nothing was published here by then."]
        found.append(
            f"The log says: {by_the_log(told)}. Decided once more by version {told.then.version}, on what the log kept:"
            f" {_of(decision, row.requested_model)}."
        )
    elif row.status < 400 and not row.cached and not any(is_called(model, row.model) for model in _expected(told)):
        found.append(
            f"The log says that {row.model} served it. Version {told.then.version}, on what the log kept, sends it to"
            f" {' or '.join(_expected(told))}."
            if told.then.version
            else f"The log says that {row.model} served it. But nothing was published here by then: it asked for"
            f" {row.requested_model}, and would have passed unchanged."
        )
    return found


def _expected(told: Explained) -> list[str]:
    """The models that may have served it by the decision of then; for an attempt of another kind those of that kind."""
    decision, row = told.then.decision, told.row
    assert decision is not None
    first = decision.model_for(row.requested_model)
    if decision.refusal is not None:
        return [row.model]  # there is nobody to compare with: the reason was compared
    if row.kind == "fallback":
        return [*decision.fallbacks] or [row.model]
    if row.kind == "shadow":
        return [decision.shadow_model or row.model]
    return [first]


def doubts(told: Explained) -> list[str]:
    """Why what is decided once more may differ from what happened: what was not kept, stands in, or was made up."""
    return list(_doubts(told))


def _doubts(told: Explained) -> Iterator[str]:
    row = told.row
    if not told.is_version_logged:
        yield (
            f"Which version decided was not logged: version {told.then.version} was live by then."
            if told.then.version
            else "Which version decided was not logged, and nothing was published here by then."
        )
    for side, verb in ((told.then, "may have taken"), (told.now, "may take")):
        names = [f"“{route['name']}”" for uid in side.left_open if (route := side.route(uid))]
        if names:
            more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
            yield (
                f"By version {side.version} {', '.join(names[:5])}{more} {verb} it: what it asks for is not in the log"
                f" ({', '.join(_lacking(side))})."
            )
    asked = _asked(told)
    if "input_tokens" in asked and row.fact_input_tokens is None:
        yield f"The gateway's own count of tokens was not kept: the {row.input_tokens:,} that were billed stand for it."
    if "estimated_cost_usd" in asked and row.fact_estimated_cost_usd is None and row.baseline_cost_usd is not None:
        yield (
            "The gateway's estimate of the cost was not kept: what it would have cost without routing"
            f" ({usd_text(row.baseline_cost_usd)}) stands for it."
        )
    if told.has_other_price and "estimated_cost_usd" in asked:
        yield f"The price of {row.requested_model} changed since: asked today it would be estimated to cost something else."
    if _is_drawn(told) and not row.fact_sticky_key:
        yield "Shares and splits are drawn from its id: whether a sticky key decided was not logged."
    invented = [words for name, words in _SEEN.items() if name in row.synthetic]
    if invented:
        yield f"Some of what the conditions see was made up for this row: {', '.join(invented)}."
    if row.reason == "forced_not_found":
        yield "The name that was asked for is not in the log."
    if disagreements(told):
        yield "A gateway may also have run another version at that moment, or another program may have written the log."


def _sides(told: Explained) -> list[Side]:
    return [side for side in (told.then, told.now) if side.explanation is not None]


def _asked(told: Explained) -> set[str]:
    """The facts that routes of either version ask for."""
    found: set[str] = set()
    for side in _sides(told):
        assert side.explanation is not None
        for route in side.explanation.routes:
            if route.outcome != "disabled":
                found |= {fact for condition in route.conditions if (fact := _fact(condition.path)) is not None}
    return found


def _fact(path: str) -> str | None:
    """The fact that a condition looks at, of those that a log may lack, and of tokens."""
    rest = path
    while True:
        name, _, below = rest.partition(".")
        if name == "when" or name.startswith("any_of") or name == "not":
            if not below:
                return None
            rest = below
            continue
        break
    name = FACT_OF.get(name, name)
    return name if name in FACTS or name == "input_tokens" else None


def _lacking(side: Side) -> list[str]:
    """What the routes that may have come first ask for, and nobody knows of this request, in words."""
    unknown = {fact for opened in side.left_open.values() for fact in opened.facts}
    return [words for fact, words in FACTS.items() if fact in unknown]


def not_kept(told: Explained) -> list[str]:
    """All that conditions can ask for and the log does not say of this request, in words."""
    known = facts_of(told.context)
    return [words for fact, words in FACTS.items() if fact not in known]


def _is_drawn(told: Explained) -> bool:
    """Whether one of the decisions came by lot."""
    for side in _sides(told):
        assert side.decision is not None
        route = None if side.decision.route_id is None else side.route(side.decision.route_id)
        then = (route or {}).get("then") or side.content["default"] or {}
        if side.decision.variant is not None or then.get("traffic_pct") is not None:
            return True
    return False


# --- Why then and now differ ------------------------------------------------------------------------------------------


def reasons(told: Explained, turned: Turned, revisions: dict[str, int]) -> list[str]:
    """Why the live version does something else with it than that of then, and, where the log names another route than
    that, what became of that one; in sentences. Nothing where it is all the same.

    `revisions`: by id of a live route the version that changed it last.
    """
    then, now = told.then.decision, told.now.decision
    found = []
    logged = None if told.row.matched_route_id is None else str(told.row.matched_route_id)
    is_other = logged is not None and (then is None or logged != then.route_id)
    if logged is not None and is_other and told.then.route(logged) is not None and told.now.route(logged) is None:
        found.append(f"“{told.route_name}”, which took it by the log, was deleted {between(*turned(logged, False))}.")
    if then is None or now is None or outcome(then) == outcome(now):
        return found
    if then.route_id is not None and then.route_id != now.route_id:
        found.append(_lost(told, then.route_id, turned, revisions))
    if now.route_id is not None:
        found.append(_won(told, now.route_id, turned, revisions))
    if None in (then.route_id, now.route_id) and told.then.content["default"] != told.now.content["default"]:
        found.append("What is set for requests that no route takes was changed since.")
    return [text for text in found if text] or ["What is live differs from that version; compare them to see in what."]


def _lost(told: Explained, uid: str, turned: Turned, revisions: dict[str, int]) -> str:
    """Why the route that took it then does not now."""
    was, route = told.then.route(uid), told.now.route(uid)
    assert was is not None
    name = f"“{was['name']}”"
    if route is None:
        return f"{name} was deleted {between(*turned(uid, False))}."
    if route["name"] != was["name"]:
        name += f" (now “{route['name']}”)"
    outcome_now = _outcome(told.now, uid)
    changed = _in(revisions.get(uid)) if _differs(was, route) else ""
    if outcome_now == "disabled":
        return f"{name} was disabled{changed}."
    if outcome_now == "inactive":
        return f"{name} was changed{changed}: it {not_asked(route)}."
    if outcome_now == "conditions":
        return f"{name} was changed{changed}: its conditions do not fit any more."
    taker = None if told.now.decision is None else told.now.decision.route_name
    return f"{name} would still take it, but “{taker}” comes first now." if taker is not None else ""


def _won(told: Explained, uid: str, turned: Turned, revisions: dict[str, int]) -> str:
    """Why the route that takes it now does so, and did not, or did otherwise, then."""
    was, route = told.then.route(uid), told.now.route(uid)
    assert route is not None
    name = f"“{route['name']}”"
    if was is None:
        return f"{name} was added {between(*turned(uid, True))}."
    if was["name"] != route["name"]:
        name += f" (then “{was['name']}”)"
    changed = _in(revisions.get(uid)) if _differs(was, route) else ""
    outcome_then = _outcome(told.then, uid)
    if outcome_then == "disabled":
        return f"{name} was disabled then: it was enabled{changed}."
    if outcome_then == "inactive":
        return f"{name} {not_asked(was, past=True)}: it was changed{changed}."
    if outcome_then == "conditions":
        return f"{name} was changed{changed}: its conditions fit now."
    if outcome_then == "selected":
        return (
            f"{name} was changed{changed}: it takes the request as before, and does something else with it."
            if changed
            else ""
        )
    moved = f", and was changed{changed}" if changed else ""
    return f"{name} came later then{moved}."


def _outcome(side: Side, uid: str) -> str:
    assert side.explanation is not None
    return next((str(route.outcome) for route in side.explanation.routes if route.route_id == uid), "")


def _differs(was: dict[str, Any], now: dict[str, Any]) -> bool:
    return canonical_bytes(was) != canonical_bytes(now)


def _in(version: int | None) -> str:
    return "" if version is None else f" in version {version}"


def between(older: int, newer: int) -> str:
    """When something happened of which it is known that it had not by the older version, and had by the newer one."""
    if newer - older == 1:
        return f"in version {newer}"
    return f"between version {older} and version {newer}" if older else f"in version {newer} or before"


# --- Decisions --------------------------------------------------------------------------------------------------------


def at_this_moment(told: Explained) -> str:
    """What is said where the same request would be decided otherwise by now; "" where not."""
    if told.at_this_moment is None:
        return ""
    return f"Sent at this moment, at another time of the week or day: {_of(told.at_this_moment, told.row.requested_model)}."


def _of(decision: RouteDecision, requested: str, *, is_sure: bool = True) -> str:
    return continued(verdict(decision.to_dict(), requested, is_sure=is_sure)["headline"])


def _of_side(told: Explained, side: Side) -> str:
    """What its version makes of the request, as far as the log knows it; "" where it cannot be asked."""
    if side.decision is None:
        return ""
    is_sure = told.force is not None or not side.left_open
    return _of(side.decision, told.row.requested_model, is_sure=is_sure)
