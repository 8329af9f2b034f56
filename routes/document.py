"""From rows to the document that the engine loads: the one bridge between the database and the engine."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from routes import engine
from routes.engine import values
from routes.orgs.models import Organization
from routes.paths.models import Service
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion

EMPTY_CONTENT: dict[str, Any] = {"default": None, "routes": [], "services": []}


def canonical_route(raw: dict[str, Any]) -> dict[str, Any]:
    """The route in its canonical form, or as it is where the engine cannot read it: such a row is reported."""
    try:
        return values.canonical_route(raw)
    except engine.errors.InvalidRoute:
        return raw


def content_with(
    routes: Iterable[dict[str, Any]], *, default: dict[str, Any] | None, services: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """The content that publishes exactly these routes, given in evaluation order, this action for requests that none of
    them takes, and these services, given by slug."""
    return {"default": default, "routes": list(routes), "services": list(services)}


def live_routes(org: Organization) -> list[dict[str, Any]]:
    """The organisation's routes as their rows say, in evaluation order."""
    return [canonical_route(row.as_document()) for row in Route.objects.of(org).in_order()]


def live_services(org: Organization) -> list[dict[str, Any]]:
    """The organisation's services as their rows say, by slug. Rows hold the canonical form, as no route does that says
    when it is active: to compile thousands of patterns again just for that would be in every writer's way."""
    return [row.as_document() for row in Service.objects.of(org).in_order()]


def default_of(org: Organization) -> dict[str, Any] | None:
    """The action for requests that no route takes, as the row says: in the document's keys, None for unchanged."""
    raw: dict[str, Any] | None = org.default_action
    try:
        return None if raw is None else engine.Action.from_dict(raw).to_dict()
    except engine.errors.InvalidRoute:
        return raw  # nobody would load it, and so `publish` refuses it


def content_at(org_id: UUID | str, version: int) -> dict[str, Any] | None:
    """What this version published, the empty content for version 0; None where it is not there, or was retired."""
    if version == 0:
        return EMPTY_CONTENT
    published = RouteSetVersion.objects.filter(org=org_id, version=version).first()
    return published.unpacked() if published else None


def document_of(org: Organization) -> engine.Document:
    """The document that the organisation's newest version published; empty, version 0, where there is none yet."""
    # The newest row, not the one that `org` names: the instance may have been read before somebody's commit.
    published = RouteSetVersion.objects.filter(org=org).order_by("-version").first()
    content = published.unpacked() if published else None
    return engine.Document.build(
        content if content is not None else EMPTY_CONTENT,
        org_id=str(org.id),
        org_slug=org.slug,
        version=published.version if published else 0,
        published_at=published.published_at if published else None,
        status=org.status,
    )
