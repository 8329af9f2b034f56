"""A service as the API and the pages show it: its table in the order in which it is asked, which path takes a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from routes.engine.errors import MethodNotAllowed, UnsafePath
from routes.engine.path_patterns import PathRoute
from routes.engine.paths import PathMatch, PathTable
from routes.engine.paths import Service as ServiceValue
from routes.paths.models import Service
from routes.times import rfc3339

#: What became of a path when a request was tried: it takes it; it would, but another one is asked before; it fits the path,
#: but not the method, or the headers; it does not fit the path; it is disabled.
OUTCOMES: Final = ("taken", "later", "method", "headers", "path", "disabled")
#: Why a service takes a request or does not.
REASONS: Final = ("matched", "disabled", "no_path", "method_not_allowed", "unsafe_path")
type Headers = Mapping[str, str | Sequence[str]]


def service_json(row: Service) -> dict[str, Any]:
    """The service with what is only ever read of it."""
    return {
        **row.as_document(),
        "revision": row.revision,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def in_order(paths: Sequence[PathRoute]) -> list[tuple[int, PathRoute]]:
    """The paths with their places in the list, in the order in which gateways ask them; those that they do not ask last."""
    order = PathTable(paths).order
    asked = set(order)
    return [(index, paths[index]) for index in (*order, *(n for n in range(len(paths)) if n not in asked))]


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one path, `index` in the service's list; `why` in a sentence, empty for the one that takes it."""

    index: int
    path: PathRoute
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """Which path of a service takes a request, and what became of the others, in the order in which they are asked."""

    reason: str
    #: In a sentence; empty where a path takes it.
    detail: str = ""
    match: PathMatch | None = None
    #: The place of the path that takes it in the service's list.
    index: int | None = None
    steps: list[Step] = field(default_factory=list)
    #: The methods that the paths which fit would take, where none takes this one.
    allow: tuple[str, ...] = ()

    def to_dict(self, query: str = "") -> dict[str, Any]:
        match = self.match
        return {
            "reason": self.reason,
            "detail": self.detail,
            "allow": list(self.allow),
            "index": self.index,
            "pattern": match.pattern if match else None,
            "target_url": match.target_url if match else None,
            "params": dict(match.params) if match else {},
            "remainder": match.remainder if match else None,
            "url": match.url(query) if match else None,
            "paths": [
                {"index": step.index, "pattern": step.path.pattern, "outcome": step.outcome, "why": step.why}
                for step in self.steps
            ],
        }


def tried(service: ServiceValue, method: str, path: str, headers: Headers | None = None) -> Tried:
    """Which path takes a request with this method, raw path (without query) and headers. The engine's own table says it,
    of all paths and of each alone."""
    headers = headers or {}
    if not service.enabled:
        steps = _steps(service, method, path, headers, None)
        return Tried("disabled", "The service is disabled: gateways answer 404 to everything.", steps=steps)
    try:
        match = service.table.match(path, method, headers)
    except UnsafePath as error:
        return Tried("unsafe_path", f"Gateways refuse this path with 400. {error}")
    except MethodNotAllowed as error:
        steps = _steps(service, method, path, headers, None)
        detail = f"{error} Gateways answer 405 to {method}."
        return Tried("method_not_allowed", detail, steps=steps, allow=tuple(sorted(error.allow)))
    if match is None:
        steps = _steps(service, method, path, headers, None)
        return Tried("no_path", "No path takes this request: gateways answer 404.", steps=steps)
    taken = next(
        index
        for index in service.table.order
        if (service.paths[index].pattern, service.paths[index].target_url) == (match.pattern, match.target_url)
        and _outcome(service.paths[index], method, path, headers) == "taken"
    )
    return Tried("matched", match=match, index=taken, steps=_steps(service, method, path, headers, taken))


def _steps(service: ServiceValue, method: str, path: str, headers: Headers, taken: int | None) -> list[Step]:
    steps = []
    winner = None if taken is None else service.paths[taken]
    for index, route in in_order(service.paths):
        outcome = _outcome(route, method, path, headers)
        if outcome == "taken" and index != taken:
            # Of a disabled service each that fits would take it, were it enabled.
            outcome = "later"
        steps.append(Step(index, route, outcome, _why(outcome, route, winner, path)))
    return steps


def _outcome(route: PathRoute, method: str, path: str, headers: Headers) -> str:
    """What one path would do with the request if it were asked alone; "disabled" where it is not asked."""
    if not route.enabled:
        return "disabled"
    try:
        if PathTable([route]).match(path, method, headers) is not None:
            return "taken"
    except MethodNotAllowed:
        return "method"
    except UnsafePath:
        return "path"
    return "headers" if route.headers and _fits(route, path) else "path"


def _fits(route: PathRoute, path: str) -> bool:
    return PathTable([PathRoute(route.pattern, route.target_url)]).match(path) is not None


def _why(outcome: str, route: PathRoute, winner: PathRoute | None, path: str) -> str:
    match outcome:
        case "disabled":
            return "It is disabled."
        case "later":
            return "It fits too, but is asked later." if winner else "It fits."
        case "method":
            return f"It fits the path, but takes {' or '.join(route.methods or ())} only."
        case "headers":
            told = " and ".join(f"{name}: {' or '.join(values)}" for name, values in (route.headers or {}).items())
            return f"It fits the path, but asks for the header {told}."
        case "path":
            return _why_not_the_path(route, path)
    return ""


def _why_not_the_path(route: PathRoute, path: str) -> str:
    """What is nearly right is said, because it is what people ask about."""
    parts = route.parts
    if parts.star == "*" and path == "/" + "/".join(segment or "" for segment in parts.segments).strip("/"):
        return f"It takes what is below, not {path} itself; a pattern that ends in /** takes both."
    if path.endswith("/") and path != "/" and _fits_safely(route, path.rstrip("/")):
        return "It does not take the slash at the end."
    if not path.endswith("/") and _fits_safely(route, f"{path}/"):
        return "It takes the path with a slash at the end only."
    if path != path.lower() and _fits_safely(route, path.lower()):
        return "It does not fit the path: capitals matter."
    return "It does not fit the path."


def _fits_safely(route: PathRoute, path: str) -> bool:
    try:
        return path.startswith("/") and _fits(route, path)
    except UnsafePath:
        return False
