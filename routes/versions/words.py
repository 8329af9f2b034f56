"""Versions as people are told of them: what led to one, and who."""

from typing import Any, Final

from routes.orgs.models import Organization
from routes.versions.models import RouteSetVersion

#: By action that publishes what it did, and the same of what is named.
_CAUSES: Final = {
    "route.created": ("A route was added", "{} was added"),
    "route.updated": ("A route was changed", "{} was changed"),
    "route.deleted": ("A route was deleted", "{} was deleted"),
    "route.paused": ("A route was paused", "{} was paused"),
    "route.resumed": ("A route goes on", "{} goes on"),
    "routes.enabled": ("Routes were enabled", "Enabled: {}"),
    "routes.disabled": ("Routes were disabled", "Disabled: {}"),
    "routes.paused": ("Routes were paused", "Paused: {}"),
    "routes.resumed": ("Routes go on", "Resumed: {}"),
    "routes.deleted": ("Routes were deleted", "Deleted: {}"),
    "routes.reordered": ("Routes were put into another order", ""),
    "routes.imported": ("Routes were imported", "Imported: {}"),
    "service.created": ("A service was added", "The service {} was added"),
    "service.updated": ("A service was changed", "The service {} was changed"),
    "service.deleted": ("A service was deleted", "The service {} was deleted"),
    "default.updated": ("What happens to the rest was changed", ""),
    "plan.applied": ("A plan was applied", "The plan {} was applied"),
    "plan.reverted": ("A plan was reverted", "The plan {} was reverted"),
    "version.restored": ("An earlier version was restored", "{} was restored"),
}
#: So many are named, and so many characters of each name.
_NAMED: Final = 3
_LONGEST: Final = 200


def about_of(payload: dict[str, Any]) -> str:
    """What a change was about, from what its entry will hold: names in quotation marks; empty for none."""
    if "restored_version" in payload:
        return f"Version {payload['restored_version']}"
    named = [payload] if "name" in payload else payload.get("routes", ())
    text = ", ".join(map(_named, named[:_NAMED]))
    return text + (f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else "")


def _named(one: dict[str, Any]) -> str:
    """A route, a plan, or a service, where that is not said otherwise; what has no name is the default."""
    if one["name"] is None:
        return "what happens to the rest"
    return f"{'the service ' if 'service' in one else ''}“{one['name'][:_LONGEST]}”"


def cause_in_words(cause: str, about: str = "") -> str:
    """What led to a version; the action itself where it has no words here."""
    plain, named = _CAUSES.get(cause, (cause, ""))
    return named.format(about) if about and named else plain


def told(row: RouteSetVersion) -> dict[str, Any]:
    """A version as the pages tell it: of a person by name, else by what it was."""
    # Of a plan the note is its name, which stands there already.
    is_said = row.cause == "plan.reverted" or (
        row.cause == "plan.applied" and row.about == about_of({"name": row.note})
    )
    return {
        "row": row,
        "what": cause_in_words(row.cause, row.about),
        "who": row.author_name or row.author_type,
        "note": "" if is_said else row.note,
    }


def somebody_was_faster(org: Organization) -> str:
    """Who published what is live, for whoever looked at something else."""
    row = RouteSetVersion.objects.of(org).brief().order_by("-version").first()
    if row is None:
        return "Nothing was published yet."
    newest = told(row)
    return f"{newest['what']} by {newest['who']} after you looked: version {row.version} is live now."
