"""`Engine`: the routes of one version, compiled once; decides and explains without clock, chance or I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routes.engine.action import Action, load_action
from routes.engine.conditions import Conditions
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.document import Document, content_of, digest_of
from routes.engine.errors import DocumentRejected, InvalidRoute, Issue
from routes.engine.frozen import FrozenDict
from routes.engine.ids import canonical_uuid
from routes.engine.outcomes import Forced, Outcomes
from routes.engine.reading import ON_LOAD, Patterns, shown
from routes.engine.values import Route, read_route, write_route

if TYPE_CHECKING:
    from uuid import UUID

    from routes.engine.explanation import Explanation
    from routes.engine.paths import Service

#: So many services are loaded, and so many segments of their paths, from which tables are compiled.
MAX_SERVICES, MAX_SEGMENTS = 1_000, 50_000


@dataclass(frozen=True, slots=True)
class SkippedRoute:
    """A route of a document that could not be loaded: its place in `content.routes`, its id and name as far as they are
    text, and what is wrong with it. The other routes are not affected."""

    index: int
    route_id: str | None
    name: str | None
    issues: tuple[Issue, ...]


class Engine:
    """Decides for one organisation from one version of its routes. Immutable, and shared between threads freely.

    `Engine(routes)` takes routes in any number and sorts them stably by falling priority; `Engine.from_document` is the
    usual way. The first enabled, active route whose conditions hold wins; `default` is what happens to requests that no
    route takes. Raises `InvalidRoute` for patterns that RE2 refuses and for what this machine lacks: RE2 itself (the
    extra `regex`), or the time zone of a window.
    """

    #: `decide` is a slot, not a method: what is called is the very function that was compiled for these routes.
    __slots__ = {  # noqa: RUF023 (the order of the documentation)
        "decide": "`decide(context, *, force=None)`: the `RouteDecision` for a request. Never raises for any context that"
        " could be built. With `force`, the enabled route of this name takes the request without being asked.",
        "org_id": "The organisation, or None for routes built in code.",
        "version": "Of the document.",
        "routes": "All routes, in the order in which they are asked.",
        "default": "The `Action` for requests that no route takes, or None.",
        "services": "The `Service` values of the document by slug, with their paths.",
        "skipped": "The routes of the document that could not be loaded.",
        "_digest": None,
        "_header_names": None,
    }

    org_id: str | None
    version: int
    routes: tuple[Route, ...]
    default: Action | None
    services: Mapping[str, Service]
    skipped: tuple[SkippedRoute, ...]

    if TYPE_CHECKING:

        def decide(self, context: RequestContext, *, force: str | None = None) -> RouteDecision: ...

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        org_id: str | UUID | None = None,
        version: int = 0,
        default: Action | None = None,
    ) -> None:
        from routes.engine.compiled import compile_routes  # at the first engine, not at import

        self.org_id = None if org_id is None else canonical_uuid(org_id)
        self.version = version
        self.routes = tuple(sorted(routes, key=lambda route: -route.priority))
        self.default = default
        self.services = FrozenDict()
        self.skipped = ()
        self._header_names: frozenset[str] | None = None
        self._digest: str | None = None
        outcomes = Outcomes(self.org_id, version)
        try:
            decide = compile_routes(
                ((route, outcomes.of(route)) for route in self.routes if route.enabled),
                outcomes.no_match(default),
                Forced(self.routes, outcomes),
            )
        except (ImportError, LookupError, ValueError):
            raise InvalidRoute(_unusable(self.routes)) from None
        object.__setattr__(self, "decide", decide)

    @classmethod
    def from_document(cls, document: Document, *, is_live: bool = True) -> Engine:
        """The engine of a document. A route that is malformed, or repeats an earlier one's id or name, is skipped, named
        in `skipped`, and logged, but not of a document that nobody published (`is_live`). Raises `DocumentRejected` where a
        route needs what this machine lacks (dropping one guard would let the next route win), and where the default or a
        service is malformed."""
        content = document.content
        routes, skipped = _load_routes(content["routes"])
        try:
            engine = cls(
                routes,
                org_id=document.org_id,
                version=document.version,
                default=None if content["default"] is None else load_action(content["default"]),
            )
        except InvalidRoute as error:
            raise DocumentRejected(f"The default is not acceptable: {error}") from None
        engine.services = _load_services(content["services"])
        engine.skipped = skipped
        engine._digest = document.digest
        if skipped and is_live:
            _log_skipped(document, skipped)
        return engine

    @property
    def digest(self) -> str:
        """The digest of the document; for routes built in code, that of the document they would make (`InvalidRoute`
        where no document could hold them)."""
        if self._digest is None:
            self._digest = digest_of(content_of(self.routes, default=self.default))
        return self._digest

    @property
    def header_names(self) -> frozenset[str]:
        """The headers, in lower case, that conditions look at: no others need to be put into a context."""
        if self._header_names is None:
            self._header_names = frozenset(name for route in self.routes for name in _headers_of(route.when))
        return self._header_names

    def explain(self, context: RequestContext, *, force: str | None = None) -> Explanation:
        """The same decision, with what every route saw and expected."""
        from routes.engine.explanation import Explanation, explain_routes  # asked by people, not by gateways

        return Explanation(self.decide(context, force=force), explain_routes(context, self.routes))

    def __repr__(self) -> str:
        return f"<Engine org_id={self.org_id} version={self.version} routes={len(self.routes)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The compiled function cannot be pickled; it is compiled again.
        state = (self.services, self.skipped, self._digest)
        return _rebuilt, (self.routes, self.org_id, self.version, self.default, *state)


def _rebuilt(
    routes: tuple[Route, ...],
    org_id: str | None,
    version: int,
    default: Action | None,
    services: Mapping[str, Service],
    skipped: tuple[SkippedRoute, ...],
    digest: str | None,
) -> Engine:
    engine = Engine(routes, org_id=org_id, version=version, default=default)
    engine.services, engine.skipped, engine._digest = services, skipped, digest
    return engine


def _headers_of(conditions: Conditions) -> Iterator[str]:
    yield from conditions.headers
    for member in conditions.any_of:
        yield from _headers_of(member)
    if conditions.not_ is not None:
        yield from _headers_of(conditions.not_)


def _unusable(routes: Iterable[Route]) -> list[Issue]:
    """What of routes built in code cannot be compiled here, and why."""
    issues: list[Issue] = []
    for route in routes:
        try:
            read_route(write_route(route), ON_LOAD)
        except InvalidRoute as error:
            issues += [{**issue, "message": f"{shown(route.name)}: {issue['message']}"} for issue in error.issues]
    return issues


def _load_routes(raw_routes: list[Any]) -> tuple[list[Route], tuple[SkippedRoute, ...]]:
    routes: list[Route] = []
    skipped: list[SkippedRoute] = []
    ids: dict[str, int] = {}
    names: dict[str, int] = {}
    patterns = Patterns()
    for index, raw in enumerate(raw_routes):
        try:
            route = read_route(raw, ON_LOAD, patterns)
            repeated: list[Issue] = [
                {"path": path, "code": "duplicate_value", "message": f"The route at [{seen[value]}] has this {path}."}
                for path, value, seen in (("id", route.id, ids), ("name", route.name, names))
                if value in seen
            ]
            if repeated:
                raise InvalidRoute(repeated)
        except InvalidRoute as error:
            if lacking := [issue for issue in error.issues if issue["code"] == "needs_extra"]:
                raise DocumentRejected(
                    f"The route at [{index}] cannot be served here: {lacking[0]['message']}"
                ) from None
            known = raw if isinstance(raw, dict) else {}
            route_id, name = (value if isinstance(value := known.get(key), str) else None for key in ("id", "name"))
            skipped.append(SkippedRoute(index, route_id, name, tuple(error.issues)))
        else:
            ids[route.id] = names[route.name] = index
            routes.append(route)
        if patterns.left < 0:
            raise DocumentRejected("Compiled, the patterns of its routes take more than a gateway has for them.")
    return routes, tuple(skipped)


def segments_of(raw_services: Iterable[Any]) -> int:
    """How many segments the patterns of these services of a document have, as far as they are services."""
    return sum(map(_segments, raw_services))


def _segments(raw: Any) -> int:
    paths = raw.get("paths") if isinstance(raw, dict) else None
    patterns = [path.get("pattern") for path in paths if isinstance(path, dict)] if isinstance(paths, list) else []
    return sum(pattern.count("/") for pattern in patterns if isinstance(pattern, str))


def _load_services(raw_services: list[Any]) -> Mapping[str, Service]:
    if not raw_services:
        return FrozenDict()
    from routes.engine.paths import load_service  # only for gateways that serve paths

    if len(raw_services) > MAX_SERVICES:
        raise DocumentRejected(f"There are {len(raw_services):,} services, {MAX_SERVICES:,} are loaded at most.")
    services: dict[str, Service] = {}
    segments = 0
    for index, raw in enumerate(raw_services):
        segments += _segments(raw)
        if segments > MAX_SEGMENTS:
            raise DocumentRejected(f"The paths of all services together have more than {MAX_SEGMENTS:,} segments.")
        try:
            service = load_service(raw)
        except InvalidRoute as error:
            raise DocumentRejected(f"The service at [{index}] is not acceptable: {error}") from None
        if service.slug in services:
            raise DocumentRejected(f"Two services are called {shown(service.slug)}.")
        services[service.slug] = service
    return FrozenDict(services)


def _log_skipped(document: Document, skipped: tuple[SkippedRoute, ...]) -> None:
    import logging  # only when there is something to say; the import costs 10 ms

    logger = logging.getLogger("routes.engine")
    for route in skipped:
        logger.warning(
            "Organisation %s, version %d: route %s (%s) at [%d] is skipped: %s",
            document.org_id,
            document.version,
            shown(route.route_id),
            shown(route.name),
            route.index,
            InvalidRoute(route.issues),
        )
