"""What was published: looking at versions, comparing them, bringing one back, and retiring old ones."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from audit.services import Receipt, record, shortened_between, targets_of
from routes.document import EMPTY_CONTENT, content_at
from routes.engine.document import digest_of
from routes.errors import NotFound, RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.publish import Change, publish
from routes.rules.content import make_live
from routes.transactions import repeated
from routes.versions.difference import Content, changes_between
from routes.versions.models import RouteSetVersion

RESTORED: Final = "version.restored"
RETIRED: Final = "versions.retired"
#: So many at most lose their content in one transaction: whoever edits waits for it.
AT_ONCE: Final = 1_000
#: The causes of versions whose entry tells all that was there before and is not any more. What any other one took away only
#: the version before it has.
_TOLD: Final = (
    "route.created",
    "route.updated",
    "route.deleted",
    "route.paused",
    "route.resumed",
    "routes.enabled",
    "routes.disabled",
    "routes.paused",
    "routes.resumed",
    "routes.reordered",
    "default.updated",
    "service.created",
    "service.updated",
    "service.deleted",
)


class VersionRetired(RoutesError):
    """What this version published is not kept any more."""

    code = "version_retired"

    def __init__(self, version: int) -> None:
        super().__init__(
            f"What version {version} published is not kept any more. Who published it, and its digest, is still known."
        )


def get_version(org: Organization, version: int) -> RouteSetVersion:
    """The version with this number. Raises `NotFound`, also for 0, which nobody published."""
    found = RouteSetVersion.objects.of(org).filter(version=version).first()
    if found is None:
        raise NotFound("There is no such version of this organisation.")
    return found


def content_of(org: Organization, version: int) -> Content:
    """What this version published; nothing, for version 0. Raises `NotFound` and `VersionRetired`."""
    if version == 0:
        return EMPTY_CONTENT
    content = get_version(org, version).unpacked()
    if content is None:
        raise VersionRetired(version)
    return content


def kept_before(org: Organization, version: int) -> int:
    """The newest version before this one of which is known what it published; 0, which is empty, where there is none."""
    older = RouteSetVersion.objects.of(org).filter(version__lt=version, content__isnull=False)
    newest: int | None = older.order_by("-version").values_list("version", flat=True).first()
    return newest or 0


def changes_since(org: Organization, version: int | None) -> list[dict[str, Any]] | None:
    """What differs between a version and what is live, route by route; None where that is not known."""
    was = None if version is None else content_at(org.pk, version)
    now = content_at(org.pk, Organization.objects.values_list("version", flat=True).get(pk=org.pk))
    return None if was is None or now is None else changes_between(was, now)


@repeated
def restore_version(
    org: Organization, version: int, *, by: Any, expected: int | None = None, note: str = ""
) -> tuple[Change, list[dict[str, Any]]]:
    """Publish what a version published once more: its routes with their ids, their order, what happens to the rest,
    and its services. Answers the change and what it changed (`changes_between`).

    A version that is live already changes nothing. Raises `NotFound`, `VersionRetired` and what `publish` raises.
    """
    with publish(
        org.pk, by=by, expected=expected, action=RESTORED, target=("version", str(version)), note=note
    ) as change:
        content = content_of(change.org, version)
        make_live(change, content)
        change.payload |= {"restored_version": version, "restored_digest": digest_of(content)}
    return change, changes_between(change.base_content, content)


# --- Retention --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retired:
    """Versions whose content was taken away, or would be, the oldest first."""

    versions: tuple[int, ...]
    #: The audit entry; None where nothing was done.
    receipt: Receipt | None = None

    @property
    def ranges(self) -> list[list[int]]:
        """The same, as first and last of those that follow each other."""
        found: list[list[int]] = []
        for version in self.versions:
            if found and found[-1][1] == version - 1:
                found[-1][1] = version
            else:
                found.append([version, version])
        return found


@repeated
def retire_versions(
    org: Organization,
    *,
    keep: int,
    days: int,
    referred: Callable[[Organization], Collection[int]],
    by: Any,
    dry_run: bool = False,
) -> Retired:
    """Take the content of old versions away, of `AT_ONCE` at most; the rows stay, with who published what, and when.

    Kept are the newest `keep`, those that were published in the last `days`, what is live, what is `referred` to by others
    (asked while the organisation is locked), what the log says was restored, and what was live before a change of which the
    log does not tell what it took away, also because that was too large for its entry. Raises `OrganizationFrozen`: of
    what is frozen nothing is taken away either.
    """
    with transaction.atomic():
        org = locked(org.pk)
        rows = RouteSetVersion.objects.of(org)
        newest = rows.order_by("-version").values_list("version", flat=True)[: max(keep, 1)]
        untold = rows.exclude(cause__in=_TOLD).filter(version=OuterRef("version") + 1)
        old = (
            rows.filter(~Exists(untold), content__isnull=False, published_at__lt=timezone.now() - timedelta(days=days))
            .order_by("version")
            .values_list("version", flat=True)
        )
        # Not the newest one alone: what is live is whatever the organisation's row names.
        kept = {*newest, org.version, *referred(org), *map(int, targets_of(org.pk, action=RESTORED))}
        versions = tuple(version for version in old if version not in kept)
        if versions:
            shortened = shortened_between(org.pk, versions[0] + 1, versions[-1] + 1)
            versions = tuple(version for version in versions if version + 1 not in shortened)
        if dry_run or not versions:
            return Retired(versions)
        retired = Retired(versions[:AT_ONCE])
        rows.filter(version__in=retired.versions).update(content=None)
        receipt = record(
            org.pk,
            by=by,
            action=RETIRED,
            target=("organization", org.pk),
            payload={"count": len(retired.versions), "versions": retired.ranges, "keep": keep, "days": days},
        )
        return replace(retired, receipt=receipt)
