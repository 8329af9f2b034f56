"""Services as part of a whole content: what an import holds, what a version brings back, and the rows of either."""

from collections.abc import Sequence
from typing import Any, Final

from routes.engine.errors import InvalidRoute, Issue
from routes.engine.paths import Service as ServiceValue
from routes.engine.reading import MAX_ISSUES
from routes.orgs.models import Organization
from routes.orgs.upstreams import private_upstreams_of
from routes.paths import upstreams
from routes.paths.models import Service
from routes.paths.services import insert_service, write_service
from routes.publish import Change

Document = dict[str, Any]
_REST: Final[Issue] = {
    "path": "services", "code": "too_many", "message": "No more services were looked at: mend these first.",
}  # fmt: skip


def read_services(services: Sequence[Any]) -> tuple[list[Document], list[Issue]]:
    """The services in canonical form, and what is wrong with them one by one, at `services[0].paths[1].pattern`."""
    issues: list[Issue] = []
    read: list[Document] = []
    seen: dict[str, int] = {}
    for index, raw in enumerate(services):
        try:
            service = ServiceValue.from_dict(raw).to_dict()
        except InvalidRoute as error:
            issues += _placed(error.issues, index)
            if len(issues) >= MAX_ISSUES:
                return read, [*issues, _REST]
            continue
        slug = service["slug"]
        if slug in seen:
            message = f"The service at [{seen[slug]}] has this slug."
            issues.append({"path": f"services[{index}].slug", "code": "duplicate_value", "message": message})
        seen.setdefault(slug, index)
        read.append(service)
    return read, issues


def would_be_served(today: Sequence[Document], sent: Sequence[Document], *, keeps_others: bool) -> list[Document]:
    """The services after an import, by slug: those that were sent, and today's others where they are kept."""
    by_slug = {service["slug"]: service for service in (*(today if keeps_others else ()), *sent)}
    return [by_slug[slug] for slug in sorted(by_slug)]


def targets_refused(org: Organization, sent: Sequence[Document], today: Sequence[Document]) -> list[Issue]:
    """The targets of services that were sent which no gateway would ask, as far as they are not live today."""
    was = {service["slug"]: service for service in today}
    allowed = private_upstreams_of(org)
    issues: list[Issue] = []
    for index, service in enumerate(sent):
        found = upstreams.targets_refused(service, allowed, before=was.get(service["slug"]))
        issues += _placed(({**issue, "message": f"“{service['slug']}”: {issue['message']}"} for issue in found), index)
    return issues[:MAX_ISSUES]


def make_services_live(change: Change, services: Sequence[Document]) -> None:
    """Make exactly these services the organisation's rows, touching only rows that differ; inside `publish`.

    Hosts are left as they are: they are no part of a content, and whoever brings a service back wants them too.
    """
    org = change.org
    rows = {row.slug: row for row in Service.objects.of(org)}
    wanted = {service["slug"]: service for service in services}
    Service.objects.filter(pk__in=[row.pk for slug, row in rows.items() if slug not in wanted]).delete()
    for slug, service in wanted.items():
        if slug in rows:
            write_service(rows[slug], service, revision=change.version)
        else:
            insert_service(org, service, revision=change.version)


def _placed(issues: Any, index: int) -> list[Issue]:
    return [{**issue, "path": f"services[{index}].{issue['path']}".rstrip(".")} for issue in issues]
