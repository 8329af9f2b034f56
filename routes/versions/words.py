"""Versions as people are told of them: what led to one, and who."""

from typing import Any, Final

from routes.orgs.models import Organization
from routes.versions.models import RouteSetVersion

#: Every action that publishes.
_CAUSES: Final = {
    "route.created": "A route was added",
    "route.updated": "A route was changed",
    "route.deleted": "A route was deleted",
    "route.paused": "A route was paused",
    "route.resumed": "A route goes on",
    "routes.enabled": "Routes were enabled",
    "routes.disabled": "Routes were disabled",
    "routes.paused": "Routes were paused",
    "routes.resumed": "Routes go on",
    "routes.deleted": "Routes were deleted",
    "routes.reordered": "Routes were put into another order",
    "routes.imported": "Routes were imported",
    "default.updated": "What happens to the rest was changed",
    "plan.applied": "A plan was applied",
    "plan.reverted": "A plan was reverted",
    "version.restored": "An earlier version was restored",
}


def cause_in_words(cause: str) -> str:
    """What led to a version; the action itself where it has no words here."""
    return _CAUSES.get(cause, cause)


def told(row: RouteSetVersion) -> dict[str, Any]:
    """A version as the pages tell it: of a person by name, else by what it was."""
    return {"row": row, "what": cause_in_words(row.cause), "who": row.author_name or row.author_type}


def somebody_was_faster(org: Organization) -> str:
    """Who published what is live, for whoever looked at something else."""
    row = RouteSetVersion.objects.of(org).brief().order_by("-version").first()
    if row is None:
        return "Nothing was published yet."
    newest = told(row)
    return f"{newest['what']} by {newest['who']} after you looked: version {row.version} is live now."
