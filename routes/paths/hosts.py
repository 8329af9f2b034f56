"""Which hosts are a service's. Staff of the installation decide: a host of somebody else's would take their requests.

Hosts are no part of what a version publishes; gateways learn of them with the directory. Only writer of `ServiceHost`, but
that a service takes its hosts along when it is renamed, and frees them when it is deleted.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from django.db import IntegrityError, transaction

from audit.services import Receipt, record
from routes.engine.egress import literal_address
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.reading import shown, unsupported_in
from routes.errors import NotFound, RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.paths.models import Service, ServiceHost
from routes.transactions import repeated

MAX_HOSTS: Final = 100
#: What the older standard of such names, which Python knows, takes for other letters or for nothing, and browsers do not.
_DEVIATING: Final = frozenset("ß\u03c2\u200c\u200d")
_is_host = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
).fullmatch


class HostTaken(RoutesError):
    """Another service of the installation answers at this host."""

    code = "host_taken"


class StaleHosts(RoutesError):
    """Somebody changed the hosts of this service since the caller looked."""

    code = "stale_hosts"

    def __init__(self, hosts: list[str]) -> None:
        super().__init__("The hosts were changed after you looked. Look again.")
        self.hosts = hosts


def hosts_of(org: Organization, slug: str) -> list[str]:
    """The hosts of a service, sorted, also of one that is not there at the moment. Raises `NotFound` where there is neither
    service nor host."""
    known = slug.isprintable()
    found = sorted(ServiceHost.objects.of(org).filter(slug=slug).values_list("host", flat=True)) if known else []
    if not found and not (known and Service.objects.of(org).filter(slug=slug).exists()):
        raise NotFound("There is no such service in this organisation.")
    return found


def hosts_by_slug(org: Organization) -> dict[str, list[str]]:
    """The hosts of all services of an organisation, sorted. One query."""
    found: dict[str, list[str]] = {}
    for host, slug in sorted(ServiceHost.objects.of(org).values_list("host", "slug")):
        found.setdefault(slug, []).append(host)
    return found


def read_hosts(raw: object) -> list[str]:
    """The hosts of a list as they are kept: lower case, other scripts in A-labels, no full stop at the end, sorted. Raises
    `InvalidRoute` with all issues, at `[0]`."""
    if not isinstance(raw, list):
        raise InvalidRoute([_issue("", "wrong_type", f"This is a list of hosts, not {shown(raw)}.")])
    if len(raw) > MAX_HOSTS:
        raise InvalidRoute([_issue("", "too_many", f"At most {MAX_HOSTS} hosts; these are {len(raw):,}.")])
    issues: list[Issue] = []
    seen: dict[str, int] = {}
    for index, given in enumerate(raw):
        where = f"[{index}]"
        if not isinstance(given, str):
            issues.append(_issue(where, "wrong_type", f"A host is text, not {shown(given)}."))
            continue
        try:
            host = _read_host(given)
        except ValueError as error:
            issues.append(_issue(where, "unsupported_value", str(error)))
            continue
        if host in seen:
            issues.append(_issue(where, "duplicate_value", f"This host is also at [{seen[host]}]."))
        seen.setdefault(host, index)
    if issues:
        raise InvalidRoute(issues)
    return sorted(seen)


def _read_host(given: str) -> str:
    if unsupported_in(given) or not given.strip() or len(given) > 1_000:
        raise ValueError("A host is a name like api.example.com.")
    host = given.strip().lower()
    if literal_address(host) is not None:
        raise ValueError("A host is a name, not an address: by an address anybody could be asked.")
    if not host.isascii():
        if _DEVIATING.intersection(host):
            raise ValueError(f"Write {shown(given)} in its xn-- form: programs disagree on what it is.")
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise ValueError(f"{shown(given)} is no name of a host.") from None
    host = host.removesuffix(".")
    if not _is_host(host):
        raise ValueError(
            "A host is a name like api.example.com: letters, digits, hyphens and dots; no scheme, port, path or star."
        )
    return host


@repeated
def set_hosts(
    org: Organization, slug: str, hosts: Sequence[str], *, by: Any, seen: Sequence[str] | None = None
) -> Receipt | None:
    """Have a service answer at exactly these hosts, as `read_hosts` gives them; None where it does so already.

    A host that belongs to a service of the same organisation that is not there any more is taken from it. `seen` are the
    hosts that the caller saw. Raises `NotFound`, `HostTaken`, `StaleHosts` and `OrganizationFrozen`.
    """
    wanted = set(hosts)
    with transaction.atomic():
        org = locked(org.pk)
        was = hosts_of(org, slug)
        if seen is not None and sorted(seen) != was:
            raise StaleHosts(was)
        if wanted == set(was):
            return None
        if wanted and not Service.objects.of(org).filter(slug=slug).exists():
            raise NotFound("There is no such service in this organisation.")
        new = wanted - set(was)
        taken = list(ServiceHost.objects.filter(host__in=new).select_related("org").order_by("host"))
        there = set(Service.objects.of(org).values_list("slug", flat=True))
        left = [row for row in taken if row.org_id == org.pk and row.slug not in there]
        if others := [row for row in taken if row not in left]:
            told = ", ".join(f"{row.host} of {row.slug} ({row.org.slug})" for row in others[:5])
            raise HostTaken(f"Taken already: {told}. Take them away there first.")
        ServiceHost.objects.filter(pk__in=[row.pk for row in left]).delete()
        ServiceHost.objects.of(org).filter(slug=slug).exclude(host__in=wanted).delete()
        try:
            with transaction.atomic():
                ServiceHost.objects.bulk_create(ServiceHost(host=host, org=org, slug=slug) for host in sorted(new))
        except (
            IntegrityError
        ) as error:  # another organisation was faster by less than the time between looking and writing
            raise HostTaken("One of these hosts was just given to another service. Look again.") from error
        return record(
            org.pk,
            by=by,
            action="service.hosts_changed",
            target=("service", slug),
            payload={"name": slug, "was": was, "is": sorted(wanted)},
        )


def _issue(path: str, code: str, message: str) -> Issue:
    return {"path": path, "code": code, "message": message}
