"""Why a logged request went where it did: decided once more by the version that decided then, and by what is live.

Both times the engine explains, on the facts that a replay has of the row: as they were decided on, where the log kept them.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from typing import Any, Final

from django.utils import timezone

from plans.logs.models import RequestLog
from plans.matching.counting import contexts_of
from plans.matching.sampling import DECIDED_ON, log_row
from routes.catalog.services import price_table
from routes.document import EMPTY_CONTENT
from routes.engine import Document, Engine, Explanation, RequestContext, RouteDecision
from routes.engine.errors import DocumentRejected
from routes.errors import NotFound
from routes.history.services import VersionRetired, content_of
from routes.live import live
from routes.orgs.models import Organization
from routes.rules.explained import Open, left_open
from routes.versions.difference import Content
from routes.versions.models import RouteSetVersion

#: Attempts of one request come close after each other. Of so many rows around it they are looked for.
_AROUND: Final = timedelta(minutes=2)
_LOOKED_AT: Final = 2_000
#: Engines of so many old versions: a thousand routes take a quarter of a second, and who looks at one looks at more.
_KEPT: Final = 8
#: By organisation and version, whose content never changes, the least recently used first.
_compiled: OrderedDict[tuple[str, int], Engine] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Side:
    """What one version makes of the request."""

    version: int
    #: What it published; empty where that is not kept.
    content: Content
    #: None where the version cannot be asked: `problem` says why.
    explanation: Explanation | None
    #: By id the routes that may have come first: what they ask for is unknown.
    left_open: dict[str, Open] = field(default_factory=dict)
    problem: str = ""

    @property
    def decision(self) -> RouteDecision | None:
        return None if self.explanation is None else self.explanation.decision

    def route(self, uid: str) -> dict[str, Any] | None:
        return next((route for route in self.content["routes"] if route["id"] == uid), None)


@dataclass(frozen=True, slots=True)
class Explained:
    """A logged request, then and now."""

    row: RequestLog
    context: RequestContext
    #: The route that was asked for by name, where one was and the log says which.
    force: str | None
    then: Side
    #: Whether the log names the version of `then`; else it is the newest that was published by the time of the request.
    is_version_logged: bool
    now: Side
    #: What the live routes do with the same facts at this moment, where it is not what `now` says.
    at_this_moment: RouteDecision | None
    #: Whether the model that was asked for has another price by now than at the time of the request.
    has_other_price: bool
    #: The name of the route that took it, as the version of then, or else what is live, has it; None where neither does.
    route_name: str | None
    #: Rows that are probably other attempts to serve the same request.
    attempts: tuple[dict[str, Any], ...]


def get_logged(org: Organization, request_id: str) -> RequestLog:
    """The row with this id. Raises `NotFound`."""
    found = None
    if 0 < len(request_id) <= 200 and "\0" not in request_id:
        found = RequestLog.objects.of(org).defer("response_body", "embedding").filter(request_id=request_id).first()
    if found is None:
        raise NotFound("No request with this id is in the log of this organisation.")
    return found


def facts_of_row(row: RequestLog) -> RequestContext:
    """The request as a replay has it, with the text of its body where that is stored."""
    given = log_row({name: getattr(row, name) for name in DECIDED_ON})
    prompt = None if row.body is None else RequestContext.from_chat(row.body).prompt
    (context,) = contexts_of([given], {} if prompt is None else {row.request_id: prompt})
    return context


def explained(org: Organization, row: RequestLog) -> Explained:
    """Why this row of the organisation's log went where it did, and where it would go now."""
    context = facts_of_row(row)
    version = _version_of(org, row)
    content, problem = _published(org, version)
    uid = None if row.matched_route_id is None else str(row.matched_route_id)
    now_content = live(org).document.content
    names = {route["id"]: route["name"] for route in (*now_content["routes"], *content["routes"])}
    name = None if uid is None else names.get(uid)
    force = name if row.reason == "forced" else None
    then = Side(version, content, None, problem=problem)
    if not problem:
        then = _side(version, content, lambda: _engine(org, version, content), context, force)
    now = _side(live(org).document.version, now_content, lambda: live(org).engine, context, force)
    return Explained(
        row=row,
        context=context,
        force=force,
        then=then,
        is_version_logged=row.decided_version is not None,
        now=now,
        at_this_moment=_at_this_moment(org, row, now, force),
        has_other_price=_has_other_price(org, row),
        route_name=name,
        attempts=tuple(_attempts(org, row)),
    )


def _version_of(org: Organization, row: RequestLog) -> int:
    if row.decided_version is not None:
        return row.decided_version
    rows = RouteSetVersion.objects.of(org).filter(published_at__lte=row.ts)
    newest: int | None = rows.order_by("-version").values_list("version", flat=True).first()
    return newest or 0


def _published(org: Organization, version: int) -> tuple[Content, str]:
    """What a version published, or why it is not known."""
    try:
        return content_of(org, version), ""
    except VersionRetired as error:
        return EMPTY_CONTENT, str(error)
    except NotFound:
        return EMPTY_CONTENT, f"There is no version {version} of this organisation."


def _engine(org: Organization, version: int, content: Content) -> Engine:
    if version == live(org).document.version:
        return live(org).engine
    key = (str(org.pk), version)
    with _lock:
        found = _compiled.get(key)
        if found is not None:
            _compiled.move_to_end(key)
            return found
    document = Document.build(content, org_id=str(org.pk), org_slug=org.slug, version=version)
    found = Engine.from_document(document, is_live=False)
    with _lock:
        _compiled[key] = found
        while len(_compiled) > _KEPT:
            _compiled.popitem(last=False)
    return found


def _side(
    version: int, content: Content, routes: Callable[[], Engine], context: RequestContext, force: str | None
) -> Side:
    try:
        asked = routes()
    except DocumentRejected as error:
        return Side(version, content, None, problem=f"Nothing can be decided by it here. {error}")
    return Side(version, content, asked.explain(context, force=force), left_open(asked, context))


def _at_this_moment(org: Organization, row: RequestLog, now: Side, force: str | None) -> RouteDecision | None:
    if now.decision is None:
        return None
    context = facts_of_row(row)
    context.at = timezone.now()
    decision = live(org).engine.decide(context, force=force)
    return None if outcome(decision) == outcome(now.decision) else decision


def _has_other_price(org: Organization, row: RequestLog) -> bool:
    prices = price_table(org)
    was, now = (prices.price("", row.requested_model, at) for at in (row.ts, timezone.now()))
    return was != now


def outcome(decision: RouteDecision) -> tuple[Any, ...]:
    """What matters of a decision to whoever sent the request."""
    return (
        decision.route_id, decision.reason, decision.target_model, decision.provider, decision.fallbacks, decision.refusal,
        decision.max_cost_usd, decision.disable_cache,
    )  # fmt: skip


def _attempts(org: Organization, row: RequestLog) -> list[dict[str, Any]]:
    """Rows with the digest of this one that were logged around it, in their order: each attempt has an id of its own, and
    the digest is all that the log has in common."""
    if not row.request_digest:
        return []
    around = RequestLog.objects.of(org).between(row.ts - _AROUND, row.ts + _AROUND)
    sides = (around.filter(ts__lte=row.ts).order_by("-ts"), around.filter(ts__gt=row.ts).order_by("ts"))
    names = ("request_id", "ts", "kind", "model", "status", "request_digest", "cluster_key")
    found = {one["request_id"]: one for side in sides for one in side.values(*names)[:_LOOKED_AT]}
    return sorted(
        (
            one
            for one in found.values()
            if one["request_digest"] == row.request_digest
            and one["request_id"] != row.request_id
            and one["cluster_key"] == row.cluster_key
        ),
        key=lambda one: (one["ts"], one["request_id"]),
    )[:50]


# --- When a route came, or went ---------------------------------------------------------------------------------------


def turned(org: Organization, older: int, newer: int, holds: Callable[[Content], bool]) -> tuple[int, int]:
    """Of two versions, of which `holds` is false at the first and true at the second, two neighbours of which that is so
    too: the nearest whose content is kept. A few queries, however many versions are between."""
    kept = RouteSetVersion.objects.of(org).filter(content__isnull=False)
    while newer - older > 1:
        middle = (older + newer) // 2
        found = (
            kept.filter(version__gte=middle, version__lt=newer).order_by("version").first()
            or kept.filter(version__gt=older, version__lt=middle).order_by("-version").first()
        )
        if found is None:
            break
        content = found.unpacked()
        if content is not None and holds(content):
            newer = found.version
        else:
            older = found.version
    return older, newer
