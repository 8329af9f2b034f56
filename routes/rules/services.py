"""Creating, changing, pausing and deleting routes, and what happens to requests that none takes. Only writer of `Route`."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import Max
from django.utils import timezone

from routes import engine
from routes.document import canonical_route, content_at, default_of
from routes.engine.canonical import canonical_bytes
from routes.engine.times import read_time
from routes.errors import NameTaken, NotFound, RoutesError
from routes.orgs.models import Organization, new_id
from routes.publish import Change, publish
from routes.rules.models import Route
from routes.transactions import repeated
from routes.versions.difference import fields_between


class StaleRoute(RoutesError):
    """Somebody changed this route since the caller looked at it."""

    code = "stale_route"

    def __init__(self, row: Route, seen: int | None = None) -> None:
        """`row` as it is now, and the revision that the caller saw, where that is known."""
        super().__init__(f'"{row.name}" last changed at version {row.revision}, which is not what you saw. Look again.')
        self.row = row
        self.seen = seen


class StaleDefault(RoutesError):
    """Somebody changed what happens to the rest since the caller looked at it."""

    code = "stale_default"

    def __init__(self, default: dict[str, Any] | None) -> None:
        super().__init__("What happens to requests that no route takes was changed after you looked. Look again.")
        self.default = default


@repeated
def create_route(
    org: Organization, new: engine.NewRoute, *, by: Any, expected: int | None = None
) -> tuple[Route, Change]:
    """Add a route, asked after those of equal priority. Raises `NameTaken` and what `publish` raises."""
    uid = new_id()
    with publish(org.pk, by=by, expected=expected, action="route.created", target=("route", uid)) as change:
        check_name(org, new.name, except_uid=None)
        row = insert_route(org, new.with_id(uid).to_dict(), revision=change.version)
        change.payload |= {"name": row.name}
    return row, change


@repeated
def update_route(
    org: Organization,
    uid: UUID | str,
    route: engine.Route,
    *,
    by: Any,
    expected: int | None = None,
    expected_revision: int | None = None,
) -> tuple[Route, Change]:
    """Replace a route by this one, which has the same id.

    `expected_revision` is the revision of the route that the caller saw: a colleague's change of another route does not
    matter. Raises `NotFound`, `NameTaken`, `StaleRoute` and what `publish` raises.
    """
    with publish(org.pk, by=by, expected=expected, action="route.updated", target=("route", uid)) as change:
        row = get_route(org, uid)
        _check_revision(row, expected_revision)
        check_name(org, route.name, except_uid=row.uid)
        if was := write_route(row, route.to_dict(), revision=change.version):
            change.payload |= {"name": row.name, "was": was, "is": route.to_dict()}
    return row, change


@repeated
def delete_route(
    org: Organization, uid: UUID | str, *, by: Any, expected: int | None = None, expected_revision: int | None = None
) -> Change:
    """Remove a route. Raises `NotFound`, `StaleRoute` and what `publish` raises."""
    with publish(org.pk, by=by, expected=expected, action="route.deleted", target=("route", uid)) as change:
        row = get_route(org, uid)
        _check_revision(row, expected_revision)
        change.payload |= {"name": row.name, "was": row.as_document()}
        row.delete()
    return change


def pause_route(row: Route, *, by: Any, expected_revision: int | None = None) -> tuple[Route, Change]:
    """Let the requests that a route takes pass unchanged until it is resumed. Direct also where every other change is a
    plan: it is how a fault is stopped. Raises what `update_route` raises but `DirectWrite`."""
    return _set_paused(row, True, by=by, expected_revision=expected_revision)


def resume_route(row: Route, *, by: Any, expected_revision: int | None = None) -> tuple[Route, Change]:
    """Let a paused route act again. Raises what `update_route` raises."""
    return _set_paused(row, False, by=by, expected_revision=expected_revision)


@repeated
def _set_paused(row: Route, paused: bool, *, by: Any, expected_revision: int | None) -> tuple[Route, Change]:
    action = "route.paused" if paused else "route.resumed"
    with publish(row.org_id, by=by, action=action, target=("route", row.uid), is_direct=not paused) as change:
        row = get_route(change.org, row.uid)
        _check_revision(row, expected_revision)
        change.payload |= {"name": row.name}
        write_flags([row], revision=change.version, paused=paused)
    return row, change


@repeated
def set_default(
    org: Organization,
    action: engine.Action | None,
    *,
    by: Any,
    expected: int | None = None,
    seen: tuple[dict[str, Any] | None] | None = None,
) -> Change:
    """Choose what happens to requests that no route takes; None lets them pass unchanged.

    `seen` holds the default that the caller saw. Raises `StaleDefault` and what `publish` raises.
    """
    with publish(org.pk, by=by, expected=expected, action="default.updated", target=("organization", org.pk)) as change:
        was = default_of(change.org)
        if seen is not None and canonical_bytes(seen[0]) != canonical_bytes(was):
            raise StaleDefault(was)
        change.org.default_action = None if action is None else action.to_dict()
        change.org.save(update_fields=["default_action"])
        change.payload |= {"was": was, "is": change.org.default_action}
    return change


def get_route(org: Organization, uid: UUID | str) -> Route:
    """The organisation's route with this id. Raises `NotFound`, alike for unknown and for foreign ids."""
    try:
        row = Route.objects.of(org).filter(uid=UUID(str(uid))).first()
    except ValueError:
        row = None
    if row is None:
        raise NotFound("There is no such route in this organisation.")
    return row


def published_route(row: Route, revision: int | None) -> dict[str, Any] | None:
    """The route as this version published it; None where that is not known any more, or the version never had it."""
    content = None if revision is None else content_at(row.org_id, revision)
    return next((route for route in (content or {}).get("routes", ()) if route["id"] == str(row.uid)), None)


def changed_since(row: Route, revision: int | None) -> list[dict[str, Any]] | None:
    """What differs in a route since this version published it, by field; None where `published_route` is."""
    was = published_route(row, revision)
    return None if was is None else fields_between(was, canonical_route(row.as_document()))


# --- For services that change several routes inside one `publish` -----------------------------------------------------


def insert_route(org: Organization, document: dict[str, Any], *, revision: int) -> Route:
    """A new row for a route in the document's keys, asked after those of equal priority."""
    last: int | None = Route.objects.of(org).aggregate(last=Max("position"))["last"]
    row = new_row(org, document, revision=revision, position=0 if last is None else last + 1)
    row.save(force_insert=True)
    return row


def new_row(org: Organization, document: dict[str, Any], *, revision: int, position: int) -> Route:
    """A row, not saved yet, for a route in the document's keys."""
    return Route(org=org, uid=document["id"], position=position, revision=revision, **_columns(document))


def write_route(row: Route, document: dict[str, Any], *, revision: int) -> dict[str, Any] | None:
    """Write the document's values to the row where they differ; answers what the row was, or None where nothing did."""
    was = fill_route(row, document, revision=revision)
    if was is not None:
        row.save()
    return was


def fill_route(row: Route, document: dict[str, Any], *, revision: int) -> dict[str, Any] | None:
    """The same, but that the row is not saved yet: several at once are by `save_filled`."""
    was = row.as_document()
    # The bytes too: to Python 1 and True are equal, to whoever reads the document they are not.
    if was == document and canonical_bytes(was) == canonical_bytes(document):
        return None
    for column, value in _columns(document).items():
        setattr(row, column, value)
    row.revision = revision
    row.updated_at = timezone.now()
    return was


def save_filled(rows: Sequence[Route]) -> None:
    """Save what `fill_route` gave to these rows."""
    save_columns(rows, [*_COLUMNS, "revision", "updated_at"])


def save_columns(rows: Sequence[Route], columns: Sequence[str]) -> None:
    """Save these columns of rows that are there, in one statement: everybody else who writes waits."""
    # `bulk_update` writes a CASE for each column with a WHEN for each row: of a thousand rows that takes longer than to
    # save them one by one, and this a tenth of it.
    Route.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=columns)


def write_flags(rows: Iterable[Route], *, revision: int, **flags: bool) -> list[Route]:
    """Set `enabled` or `paused` of those rows that have it otherwise; answers these."""
    changed = [row for row in rows if any(getattr(row, name) != value for name, value in flags.items())]
    now = timezone.now()
    for row in changed:
        row.revision, row.updated_at = revision, now
        for name, value in flags.items():
            setattr(row, name, value)
    save_columns(changed, [*flags, "revision", "updated_at"])
    return changed


#: What `_columns` answers.
_COLUMNS: Final = (
    "name", "priority", "enabled", "paused", "conditions", "target", "meta", "active_from", "active_until",
)  # fmt: skip


def _columns(document: dict[str, Any]) -> dict[str, Any]:
    """The columns of a route in the document's keys, of which those with their default may be missing."""
    columns = {
        "name": document["name"],
        "priority": document["priority"],
        "enabled": document["enabled"],
        "paused": document.get("paused", False),
        "conditions": document["when"],
        "target": document["then"],
        "meta": document.get("meta", {}),
    }
    for key in ("active_from", "active_until"):
        text = document.get(key)
        columns[key] = None if text is None else read_time(text)
    return columns


def check_name(org: Organization, name: str, *, except_uid: UUID | None) -> None:
    """Raises `NameTaken` where another route has the name. Before a write the organisation's row is locked, so that nobody
    takes it in between."""
    if Route.objects.of(org).filter(name=name).exclude(uid=except_uid or new_id()).exists():
        raise NameTaken(f'Another route of this organisation is called "{name}". Choose another name.')


def _check_revision(row: Route, expected: int | None) -> None:
    if expected is not None and row.revision != expected:
        raise StaleRoute(row, expected)
