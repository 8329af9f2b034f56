"""Making, changing, renaming and deleting services. With `routes.paths.content`, only writer of `Service`."""

from typing import Any
from uuid import UUID

from django.utils import timezone

from routes.document import content_at
from routes.engine.canonical import canonical_bytes
from routes.engine.paths import Service as ServiceValue
from routes.errors import NotFound, RoutesError
from routes.orgs.models import Organization
from routes.paths.models import Service, ServiceHost
from routes.publish import Change, publish
from routes.transactions import repeated
from routes.versions.difference import fields_between_services


class StaleService(RoutesError):
    """Somebody changed this service since the caller looked at it."""

    code = "stale_service"

    def __init__(self, row: Service, seen: int | None = None) -> None:
        """`row` as it is now, and the revision that the caller saw, where that is known."""
        super().__init__(f'"{row.slug}" last changed at version {row.revision}, which is not what you saw. Look again.')
        self.row = row
        self.seen = seen


class SlugTaken(RoutesError):
    """Another service of the organisation has this slug."""

    code = "slug_taken"


@repeated
def create_service(
    org: Organization, new: ServiceValue, *, by: Any, expected: int | None = None, note: str = ""
) -> tuple[Service, Change]:
    """Add a service. Raises `SlugTaken` and what `publish` raises."""
    with publish(
        org.pk, by=by, expected=expected, action="service.created", target=("service", new.slug), note=note
    ) as change:
        _check_slug(org, new.slug)
        row = insert_service(org, new.to_dict(), revision=change.version)
        change.payload |= {"name": row.slug, "is": row.as_document()}
    return row, change


@repeated
def update_service(
    org: Organization,
    slug: str,
    service: ServiceValue,
    *,
    by: Any,
    expected: int | None = None,
    expected_revision: int | None = None,
    note: str = "",
) -> tuple[Service, Change]:
    """Replace a service by this one; where that has another slug, its hosts come along.

    `expected_revision` is the revision of the service that the caller saw: a colleague's change of another one does not
    matter. Raises `NotFound`, `SlugTaken`, `StaleService` and what `publish` raises.
    """
    with publish(
        org.pk, by=by, expected=expected, action="service.updated", target=("service", slug), note=note
    ) as change:
        row = get_service(org, slug)
        _check_revision(row, expected_revision)
        if service.slug != row.slug:
            _check_slug(org, service.slug)
            ServiceHost.objects.of(org).filter(slug=row.slug).update(slug=service.slug)
        if was := write_service(row, service.to_dict(), revision=change.version):
            change.payload |= {"name": row.slug, "was": was, "is": row.as_document()}
    return row, change


@repeated
def delete_service(
    org: Organization,
    slug: str,
    *,
    by: Any,
    expected: int | None = None,
    expected_revision: int | None = None,
    note: str = "",
) -> Change:
    """Remove a service and free its hosts. Raises `NotFound`, `StaleService` and what `publish` raises."""
    with publish(
        org.pk, by=by, expected=expected, action="service.deleted", target=("service", slug), note=note
    ) as change:
        row = get_service(org, slug)
        _check_revision(row, expected_revision)
        hosts = ServiceHost.objects.of(org).filter(slug=row.slug)
        change.payload |= {
            "name": row.slug,
            "was": row.as_document(),
            "hosts": list(hosts.values_list("host", flat=True)),
        }
        hosts.delete()
        row.delete()
    return change


def get_service(org: Organization | UUID, slug: str) -> Service:
    """The organisation's service with this slug. Raises `NotFound`, alike for unknown and for foreign ones."""
    # PostgreSQL takes no U+0000 as text, and no slug has one.
    row = Service.objects.of(org).filter(slug=slug).first() if slug.isprintable() else None
    if row is None:
        raise NotFound("There is no such service in this organisation.")
    return row


def published_service(row: Service, revision: int | None) -> dict[str, Any] | None:
    """The service as this version published it; None where that is not known any more, or the version never had it."""
    content = None if revision is None else content_at(row.org_id, revision)
    return next((service for service in (content or {}).get("services", ()) if service["slug"] == row.slug), None)


def changed_since(row: Service, revision: int | None) -> list[dict[str, Any]] | None:
    """What differs in a service since this version published it, by field; None where `published_service` is."""
    was = published_service(row, revision)
    return None if was is None else fields_between_services(was, row.as_document())


# --- For services that change several inside one `publish` -------------------------------------------------------------


def insert_service(org: Organization, document: dict[str, Any], *, revision: int) -> Service:
    """A new row for a service in the document's keys, all of them."""
    row = Service(org=org, revision=revision, **document)
    row.save(force_insert=True)
    return row


def write_service(row: Service, document: dict[str, Any], *, revision: int) -> dict[str, Any] | None:
    """Write the document's values to the row where they differ; answers what the row was, or None where nothing did."""
    was = row.as_document()
    # By the bytes: to Python 1 and True are equal, to whoever reads the document they are not.
    if canonical_bytes(was) == canonical_bytes(document):
        return None
    for column, value in document.items():
        setattr(row, column, value)
    row.revision = revision
    row.updated_at = timezone.now()
    row.save()
    return was


def _check_slug(org: Organization, slug: str) -> None:
    # The organisation's row is locked, so that nobody takes it in between.
    if Service.objects.of(org).filter(slug=slug).exists():
        raise SlugTaken(f"Another service of this organisation is called {slug}. Choose another slug.")


def _check_revision(row: Service, expected: int | None) -> None:
    if expected is not None and row.revision != expected:
        raise StaleService(row, expected)
