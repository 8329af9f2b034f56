"""The one write path: every change of an organisation's routing, from any door, runs inside `publish`."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from audit.actors import Actor, as_actor
from audit.services import Receipt, record
from routes import engine, noted
from routes.document import EMPTY_CONTENT, content_with, default_of, live_routes, live_services
from routes.engine.canonical import canonical_bytes
from routes.engine.engine import segments_of
from routes.engine.paths import load_service
from routes.errors import (
    ApprovalRequired,
    DocumentTooLarge,
    NotFound,
    RoutesError,
    StaleVersion,
    TooManyRoutes,
    TooManyServices,
)
from routes.examples import accepted
from routes.examples.deciding import broken_by, in_words
from routes.orgs.locks import refuse_frozen
from routes.orgs.models import Organization
from routes.orgs.upstreams import private_upstreams_of
from routes.paths.upstreams import targets_refused
from routes.versions.models import RouteSetVersion
from routes.versions.words import about_of

MAX_ROUTES = 1_000
MAX_SERVICES = 500
#: Of the patterns of all services together, from which gateways compile their tables.
MAX_SEGMENTS = 25_000
MAX_BYTES = 4 * 1024 * 1024
#: PostgreSQL's channel on which a commit announces itself; a hint for whoever polls.
CHANNEL = "routing_versions"
_NO_PLAN_OF_SERVICES = (
    "Every change of {org} is a plan that a second person approves, and a plan changes routes only: no draft was made of"
    " this change of services. Have an admin propose a looser approval, and another one confirm it, for as long as services"
    " are changed."
)
#: So many examples are named in one sentence.
_NAMED = 3


class DraftRefused(Exception):
    """No plan can be made of a change; the text says why."""


class DirectWrite(ApprovalRequired):
    """Every change of this organisation's routing is a plan. This one would have made `content` of what `base` has, and
    `note` says why; `plan` is its draft, once there is one."""

    #: Makes it. `routing_admin` names the function: this application knows no plans.
    make: ClassVar[Callable[["DirectWrite"], Any] | None] = None

    def __init__(
        self, org: Organization, base: engine.Document, content: dict[str, Any], *, by: Actor, note: str = ""
    ) -> None:
        super().__init__(f"Every change of {org} is a plan that a second person approves.")
        self.org, self.base, self.content, self.by, self.note = org, base, content, by, note
        self.plan: Any = None

    def make_draft(self) -> None:
        """Once the transaction that was refused is over."""
        make = type(self).make
        if self.plan is None and make is not None:
            try:
                self.plan = make(self)
            except DraftRefused as error:
                self.args = (f"{self.args[0]} No draft of your change could be made: {error}",)
            else:
                self.args = (f"{self.args[0]} Your change is kept as a draft: {self.plan.name}.",)


class ExampleBroken(RoutesError):
    """Examples that held would not hold any more; `broken` says which, as `examples.deciding.broken_by` does."""

    code = "example_broken"

    def __init__(self, broken: list[dict[str, Any]]) -> None:
        told = [
            f"“{one['name']}” expects: {in_words(one['expected'])}; now {in_words(one['is'])}"
            for one in broken[:_NAMED]
        ]
        more = [f"and {len(broken) - _NAMED:,} more"] if len(broken) > _NAMED else []
        what = "an example" if len(broken) == 1 else f"{len(broken):,} examples"
        super().__init__(f"This would break {what}. {'. '.join([*told, *more])}. To do it nevertheless, say why.")
        self.broken = broken


@dataclass
class Change:
    """What a publication is about to do (inside the block), and did (after it)."""

    org: Organization
    #: The version that this change makes; inside the block, what its rows get as `revision`.
    version: int
    base_version: int
    base_digest: str
    base_content: dict[str, Any]
    #: What the audit entry says beyond its fixed fields. The block may add to it.
    payload: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    changed: bool = False
    #: The audit entry; None where nothing changed and nothing had to be said.
    receipt: Receipt | None = None


@contextmanager
def publish(
    org_id: UUID | str,
    *,
    by: Any,
    action: str,
    target: tuple[str, str | UUID],
    expected: int | None = None,
    payload: dict[str, Any] | None = None,
    note: str = "",
    always_record: bool = False,
    is_direct: bool = True,
    accept_broken: str = "",
) -> Iterator[Change]:
    """Change the rows of an organisation's routing inside this block, and publish what they lead to.

    One transaction: the version is bumped first (that row is the lock which orders the organisation's writers), then
    the block runs, then the document of the rows is built, loaded with the engine itself, stored, and recorded in the
    audit log. An exception anywhere undoes all of it.

    `expected` is the version the caller looked at. Where the block changes nothing the bump is undone and nothing is
    recorded; `always_record` records nevertheless, for acts that are more than their effect (an applied plan).

    `is_direct` is false for what was approved, or need not be even where every change must: then a direct change is refused
    and becomes the draft of a plan, which is made after the transaction.

    `note`, or that of the door (`noted`), says why: the version and the entry keep it.

    Examples that held before must hold after, unless `accept_broken`, or the door (`examples.accepted`), says why not: the
    entry keeps the reason with what broke.

    Raises `NotFound`, `OrganizationFrozen`, `StaleVersion`, `DirectWrite`, `ExampleBroken`, `engine.errors.InvalidRoute`,
    `TooManyRoutes`, `DocumentTooLarge`, and `engine.errors.DocumentRejected` where no gateway would load what is live even
    without this change.
    """
    actor = as_actor(by)
    note = note or noted.current()
    try:
        with transaction.atomic():
            if not Organization.objects.filter(pk=org_id).update(version=F("version") + 1):
                raise NotFound("There is no such organisation.")
            org = Organization.objects.get(pk=org_id)
            refuse_frozen(org)
            base = org.version - 1
            if expected is not None and expected != base:
                raise StaleVersion(expected, base)
            base_digest, base_content = _published(org, base)
            change = Change(
                org=org,
                version=org.version,
                base_version=base,
                base_digest=base_digest,
                base_content=base_content,
                payload=dict(payload or {}),
            )
            yield change

            content = content_with(live_routes(org), default=default_of(org), services=live_services(org))
            data = canonical_bytes(content)
            routes = _accept(org, content, base_content, size=len(data))
            document = engine.Document.build(content, org_id=str(org.id), org_slug=org.slug, version=org.version)
            change.digest = document.digest
            change.changed = document.digest != base_digest
            if change.changed and is_direct and org.approval == Organization.Approval.ALL:
                if content["services"] != base_content["services"]:
                    raise ApprovalRequired(_NO_PLAN_OF_SERVICES.format(org=org))
                raise DirectWrite(org, _base(org, base, base_content), content, by=actor, note=note)
            if change.changed:
                reason = accepted.Reason(accept_broken) if accept_broken else accepted.current()
                change.payload |= _keep_examples(org, base_content, routes, reason)
                RouteSetVersion.objects.create(
                    org=org,
                    version=org.version,
                    digest=document.digest,
                    cause=action,
                    author_type=actor.type,
                    author_id=actor.id,
                    author_name=actor.name,
                    about=about_of(change.payload),
                    note=note,
                    content=zlib.compress(data),
                    published_at=timezone.now(),
                )
                # A hint: where it fails, the change stands nevertheless.
                transaction.on_commit(lambda: _announce(org), robust=True)
            else:
                Organization.objects.filter(pk=org.pk).update(version=base)
                change.version = org.version = base
            if change.changed or always_record:
                change.receipt = record(
                    org.pk,
                    by=actor,
                    action=action,
                    target=target,
                    payload={**change.payload, "digest": document.digest, **({"note": note} if note else {})},
                    version_before=base,
                    version_after=change.version,
                )
    except DirectWrite as refused:
        if not connection.in_atomic_block:  # else it would be undone with what is around it
            refused.make_draft()
        raise


def _base(org: Organization, version: int, content: dict[str, Any]) -> engine.Document:
    return engine.Document.build(content, org_id=str(org.id), org_slug=org.slug, version=version)


def _published(org: Organization, version: int) -> tuple[str, dict[str, Any]]:
    """Digest and content of what was live before the block; the empty content at version 0."""
    row = RouteSetVersion.objects.filter(org=org, version=version).first()
    if row is None:
        empty = engine.Document.build(EMPTY_CONTENT, org_id=str(org.id), org_slug=org.slug)
        return empty.digest, EMPTY_CONTENT
    return row.digest, row.unpacked() or EMPTY_CONTENT


def check_limits(content: dict[str, Any], *, size: int) -> None:
    """Raises `TooManyRoutes`, `TooManyServices` and `DocumentTooLarge`; `size` is that of the content's canonical bytes."""
    if (count := len(content["routes"])) > MAX_ROUTES:
        raise TooManyRoutes(f"An organisation may have {MAX_ROUTES:,} routes; this would make {count:,}.")
    if (count := len(content["services"])) > MAX_SERVICES:
        raise TooManyServices(f"An organisation may have {MAX_SERVICES:,} services; this would make {count:,}.")
    if (segments := segments_of(content["services"])) > MAX_SEGMENTS:
        raise DocumentTooLarge(
            f"The path patterns of all services may have {MAX_SEGMENTS:,} segments together; these have {segments:,}."
        )
    if size > MAX_BYTES:
        what = "routes and services" if content["services"] else "routes"
        raise DocumentTooLarge(f"The {what} may take {MAX_BYTES:,} bytes together; these take {size:,}.")


def _accept(org: Organization, content: dict[str, Any], base_content: dict[str, Any], *, size: int) -> engine.Engine:
    """Refuse what the engine refuses; answers its routes. A route that was bad before and did not change does not block; a
    service that was does, because no gateway loads a document with it, until somebody mends or deletes it."""
    check_limits(content, size=size)
    _accept_services(org, content["services"], base_content["services"])
    routes = content["routes"]
    # Version, status and time do not matter here: the engine is asked about the content.
    document = engine.Document.build(content, org_id=str(org.id), org_slug=org.slug, version=org.version)
    before = base_content["routes"]
    loaded = engine.Engine.from_document(document)
    for skipped in loaded.skipped:
        if routes[skipped.index] not in before:
            raise engine.errors.InvalidRoute(skipped.issues)
    return loaded


def _accept_services(org: Organization, services: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    """Refuse those that are new or changed and that no gateway would load, or whose new targets it would never ask."""
    was = {service["slug"]: service for service in before}
    for service in services:
        old = was.get(service["slug"])
        if service == old:
            continue
        load_service(service)
        if issues := targets_refused(service, private_upstreams_of(org), before=old):
            raise engine.errors.InvalidRoute(issues)


def _keep_examples(
    org: Organization, base_content: dict[str, Any], routes: engine.Engine, reason: accepted.Reason
) -> dict[str, Any]:
    """Refuse what breaks examples, unless for this reason; answers what the entry says of that."""
    broken = broken_by(org, base_content, routes)
    if not broken:
        return {}
    if not all(reason.covers(one["id"]) for one in broken):
        raise ExampleBroken(broken)
    return {
        "accept_broken": reason.text,
        "broken": [{key: one[key] for key in ("id", "name", "route")} for one in broken],
    }


def _announce(org: Organization) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(org.pk)])
