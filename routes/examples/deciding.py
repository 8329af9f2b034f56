"""What becomes of an example: the engine alone decides, without network, clock or chance."""

from dataclasses import dataclass
from typing import Any, Final

from routes import engine
from routes.engine.times import read_time
from routes.errors import issue
from routes.examples.models import ExampleRequest
from routes.orgs.models import Organization
from routes.requests import InvalidRequest, read_request

Content = dict[str, Any]
#: `route`, `target_model` and `reason` of a decision.
Outcome = dict[str, str | None]


def read_example_request(request: Any) -> engine.RequestContext:
    """The engine's context of an example's request: `context` and `chat` as `read_request` takes them, and `now`, the time
    of the request. Without one its time is unknown. Raises `InvalidRequest` with everything that is wrong."""
    if not isinstance(request, dict):
        raise InvalidRequest([issue("", "wrong_type", "The request is an object of context, chat and now.")])
    issues = []
    if request.get("context") is None and request.get("chat") is None:
        issues.append(issue("", "missing_key", "Give facts in context, a body in chat, or both."))
    if "force" in request:
        issues.append(issue("force", "unknown_key", "An example is decided by conditions. Known: context, chat, now."))
    facts = request.get("context", {})
    if (now := request.get("now")) is not None:
        try:
            read_time(now)
        except ValueError:
            issues.append(issue("now", "wrong_type", "now is a time like 2026-11-21T08:00:00.000000Z."))
        if isinstance(facts, dict) and facts.get("at") is not None:
            issues.append(issue("now", "conflict", "The time is given twice: as now, and as at of the context."))
        elif isinstance(facts, dict) and not issues:
            facts = {**facts, "at": now}
    body = {key: value for key, value in request.items() if key not in ("now", "force")}
    try:
        context, _ = read_request({**body, "context": facts})
    except InvalidRequest as error:
        issues += error.issues
    if issues:
        raise InvalidRequest(issues)
    return context


def outcome(routes: engine.Engine, request: dict[str, Any]) -> Outcome | None:
    """What these routes do with the request; None where it cannot be read any more."""
    try:
        decision = routes.decide(read_example_request(request))
    except InvalidRequest:
        return None
    return {"route": decision.route_name, "target_model": decision.target_model, "reason": decision.reason}


def holds(expected: dict[str, Any], found: Outcome | None) -> bool:
    """Whether that is what was expected, in all that was."""
    return found is not None and all(found[key] == value for key, value in expected.items())


@dataclass(frozen=True, slots=True)
class Checked:
    """An example beside what these routes do with it."""

    example: ExampleRequest
    found: Outcome | None
    holds: bool


def check_all(org: Organization, routes: engine.Engine) -> list[Checked]:
    """All examples of the organisation, by name."""
    checked = []
    for example in ExampleRequest.objects.of(org).order_by("name"):
        found = outcome(routes, example.request)
        checked.append(Checked(example, found, holds(example.expected, found)))
    return checked


def broken_by(org: Organization, was: Content, now: engine.Engine) -> list[dict[str, Any]]:
    """The examples that held under the content `was` and do not under these routes:
    `[{"id", "name", "expected", "was", "is", "route"}]`, of which `route` is the one that takes it now, None for none."""
    failing = [checked for checked in check_all(org, now) if not checked.holds]
    if not failing:
        return []  # as nearly always: what was live is then not compiled once more
    try:
        before = engine.Engine.from_document(engine.Document.build(was, org_id=str(org.id), org_slug=org.slug))
    except engine.errors.DocumentRejected:
        return []  # no gateway loaded it, so that nothing held
    found = []
    for checked in failing:
        example = checked.example
        earlier = outcome(before, example.request)
        if checked.found is not None and holds(example.expected, earlier):
            found.append(
                {
                    "id": str(example.uid),
                    "name": example.name,
                    "expected": example.expected,
                    "was": earlier,
                    "is": checked.found,
                    "route": checked.found["route"],
                }
            )
    return found


# --- In words ---------------------------------------------------------------------------------------------------------


#: The reasons that a decision can have where no route is asked for by name, and how people are told of them.
REASONS: Final = {
    "matched": "a route decides",
    "default": "what is set for the rest decides",
    "no_match": "nothing decides",
    "paused": "the route is paused",
    "control": "it is outside the share",
    "refused": "it is refused",
}


def in_words(found: dict[str, Any] | None) -> str:
    """What became, or must become, of a request; of what is expected only what is said of it."""
    if found is None:
        return "it cannot be read any more"
    parts = []
    if "route" in found:
        parts.append("no route takes it" if found["route"] is None else f"“{found['route']}” takes it")
    if "target_model" in found:
        parts.append("its model stays" if found["target_model"] is None else f"it goes to {found['target_model']}")
    if "reason" in found:
        parts.append(REASONS[found["reason"]])
    return ", ".join(parts)
