"""`Engine`: the routes of one version, compiled once; decides and explains without clock, chance or I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routes.engine.atoms import Atom, Test, compile_conditions
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.document import Document, content_of, digest_of
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.ids import canonical_uuid
from routes.engine.reading import ON_LOAD, shown
from routes.engine.values import Route, read_route

if TYPE_CHECKING:
    from uuid import UUID

    from routes.engine.explanation import Explanation


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
    usual way. The first enabled route whose conditions hold wins.
    """

    __slots__ = ("_asked", "_atoms", "_digest", "_matched", "_no_match", "org_id", "routes", "skipped", "version")

    org_id: str | None
    version: int
    #: In the order in which they are asked.
    routes: tuple[Route, ...]
    #: The routes of the document that could not be loaded.
    skipped: tuple[SkippedRoute, ...]

    def __init__(self, routes: Iterable[Route], *, org_id: str | UUID | None = None, version: int = 0) -> None:
        self.org_id = None if org_id is None else canonical_uuid(org_id)
        self.version = version
        self.routes = tuple(sorted(routes, key=lambda route: -route.priority))
        self.skipped = ()
        self._digest: str | None = None
        self._no_match = RouteDecision(self.org_id, version, None, None, None, (), False, None, "no_match")
        self._matched = tuple(self._decision_of(route) for route in self.routes)
        self._atoms: tuple[tuple[Atom, ...], ...] = tuple(compile_conditions(route.when) for route in self.routes)
        self._asked: tuple[tuple[tuple[Test, ...], RouteDecision], ...] = tuple(
            (tuple(atom.test for atom in atoms), decision)
            for route, atoms, decision in zip(self.routes, self._atoms, self._matched, strict=True)
            if route.enabled
        )

    @classmethod
    def from_document(cls, document: Document) -> Engine:
        """The engine of a document. A route that is malformed, or repeats an earlier one's id or name, is skipped,
        logged, and named in `skipped`. Never raises: what can be rejected was, when the document was built."""
        routes, skipped = _load_routes(document.content["routes"])
        engine = cls(routes, org_id=document.org_id, version=document.version)
        engine.skipped = skipped
        engine._digest = document.digest
        if skipped:
            _log_skipped(document, skipped)
        return engine

    @property
    def digest(self) -> str:
        """The digest of the document; for routes built in code, that of the document they would make (`InvalidRoute`
        where no document could hold them)."""
        if self._digest is None:
            self._digest = digest_of(content_of(self.routes))
        return self._digest

    def decide(self, context: RequestContext) -> RouteDecision:
        """The decision for a request. Never raises for any context that could be built, and allocates nothing."""
        for tests, decision in self._asked:
            for test in tests:
                if not test(context):
                    break
            else:
                return decision
        return self._no_match

    def explain(self, context: RequestContext) -> Explanation:
        """The same decision, with what every route saw and expected."""
        from routes.engine.explanation import explain  # asked by people, not by gateways; they need not load it

        return explain(context, zip(self.routes, self._atoms, self._matched, strict=True), self._no_match)

    def __repr__(self) -> str:
        return f"<Engine org_id={self.org_id} version={self.version} routes={len(self.routes)}>"

    def _decision_of(self, route: Route) -> RouteDecision:
        then = route.then
        return RouteDecision(
            org_id=self.org_id,
            version=self.version,
            route_id=route.id,
            route_name=route.name,
            target_model=then.target_model,
            fallbacks=then.fallbacks,
            disable_cache=then.disable_cache,
            max_cost_usd=then.max_cost_usd,
            reason="matched",
        )


def _load_routes(raw_routes: list[Any]) -> tuple[list[Route], tuple[SkippedRoute, ...]]:
    routes: list[Route] = []
    skipped: list[SkippedRoute] = []
    ids: dict[str, int] = {}
    names: dict[str, int] = {}
    for index, raw in enumerate(raw_routes):
        try:
            route = read_route(raw, ON_LOAD)
            repeated: list[Issue] = [
                {"path": path, "code": "duplicate_value", "message": f"The route at [{seen[value]}] has this {path}."}
                for path, value, seen in (("id", route.id, ids), ("name", route.name, names))
                if value in seen
            ]
            if repeated:
                raise InvalidRoute(repeated)
        except InvalidRoute as error:
            known = raw if isinstance(raw, dict) else {}
            route_id, name = (value if isinstance(value := known.get(key), str) else None for key in ("id", "name"))
            skipped.append(SkippedRoute(index, route_id, name, tuple(error.issues)))
        else:
            ids[route.id] = names[route.name] = index
            routes.append(route)
    return routes, tuple(skipped)


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
