"""Proposing plans: what a plan may say, the same on newer routes, and drafts of what was refused as a direct change."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from audit.actors import as_actor, shortened
from audit.services import record
from plans.logs.models import RequestLog
from plans.runs.errors import InvalidPlan, PlanChanged
from plans.runs.models import IntervalMethod, Mode, PlanRun, State
from plans.runs.states import TRANSITIONS, InvalidState, move
from routes import engine
from routes.document import content_with, document_of
from routes.engine.canonical import canonical_bytes
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.publish import DirectWrite
from routes.rules.compared import summed_up
from routes.rules.content import read_routes, same, would_be_live, wrong_together
from routes.times import rfc3339
from routes.transactions import repeated
from routes.versions.difference import changes_between

#: A month: what a cache of answers is kept for at the very most.
MAX_TTL_SECONDS = 31 * 24 * 3600
MAX_THRESHOLDS = 10
MIN_ITERATIONS, MAX_ITERATIONS = 100, 100_000
#: What a JSON number holds.
MAX_SEED = 2**53 - 1
#: What is replayed where nobody says.
USUAL_WINDOW: Final = timedelta(days=7)
#: What a plan asks beside its routes: the traffic, and how it is replayed.
QUESTION: Final = (
    "window_start",
    "window_end",
    "seed",
    "iterations",
    "interval_method",
    "l1_ttl_seconds",
    "l2_ttl_seconds",
    "l2_threshold_sweep",
    "l2_priced_threshold",
)
#: What a plan is called, and why it is there: nothing that it asks.
NAMES: Final = ("name", "note")
#: States of a plan that is over: nothing of it changes any more, but that what is live can be reverted.
FINAL: Final = frozenset(state for state, others in TRANSITIONS.items() if not others) | {State.APPLIED}
#: All that a draft asks.
_ASKED: Final = ("mode", "proposed", "proposed_default", *QUESTION)
Default = tuple[dict[str, Any] | None]
#: Not part of what a caller sees of a plan, or of what comes only with another part of it.
_UNSEEN: Final = (
    "checkpoint",
    "result",
    "summary",
    "inverse",
    "lease_owner",
    "lease_until",
    "fence",
    "starts",
    "queued_at",
    "started_at",
)
#: What the worker says of how far it is: nobody decides by that.
_PROGRESS: Final = ("rows_total", "rows_done", "phase", "rows_per_second")


@repeated
def propose(
    org: Organization,
    *,
    name: str,
    routes: Sequence[dict[str, Any]],
    by: Any,
    mode: str = Mode.MERGE,
    default: Default | None = None,
    note: str = "",
    base: engine.Document | None = None,
    **question: Any,
) -> PlanRun:
    """A draft on today's routes, or those of `base`. Routes without an id are new ones and get theirs here.

    `default` holds the action for requests that no route takes, None leaves today's. The rest are the fields of `QUESTION`,
    of which `window_start` and `window_end` have no default. Raises `InvalidPlan` for the plan's own fields and for routes
    that the engine would not load, `TooManyRoutes` and `DocumentTooLarge` for what could not be published, and
    `OrganizationFrozen`.
    """
    with transaction.atomic():
        org = locked(org.pk)
        plan = PlanRun(org=org, name=name, note=note, mode=mode)
        _ask(plan, routes, default, question, base or document_of(org))
        _make(plan, by=by)
        _record_proposal(plan, by=by)
    return plan


def _make(plan: PlanRun, *, by: Any) -> None:
    actor = as_actor(by)
    plan.created_by, plan.created_by_name = actor.person or "", actor.name
    plan.edited_by = {person: name for person, name in plan.edited_by.items() if person and person != plan.created_by}
    plan.save(force_insert=True)


def _record_proposal(plan: PlanRun, *, by: Any, **more: Any) -> None:
    said = {"name": plan.name, "mode": plan.mode, "base_version": plan.base_version, **more}
    _record(plan, by=by, action="plan.proposed", **said)


@repeated
def edit(plan: PlanRun, *, by: Any, seen: str | None = None, **fields: Any) -> bool:
    """Change a plan, and answer whether that changed anything: all that `propose` takes while it is a draft, which stands
    on today's routes once it asks something else; name and note until it is applied or given up. It voids an approval.

    `seen` is what the caller saw of the plan (`tag`), here as in all that is done with one. Raises `InvalidState`,
    `PlanChanged`, `InvalidPlan` and what `propose` raises.
    """
    with transaction.atomic():
        org = locked(plan.org_id)
        plan.refresh_from_db()
        check_seen(plan, seen)
        asks = fields.keys() - set(NAMES)
        if plan.state in FINAL or (plan.state != State.DRAFT and asks):
            raise InvalidState(plan, "changed")
        before = _written(plan)
        for field in ("name", "note", "mode"):
            setattr(plan, field, fields.get(field, getattr(plan, field)))
        if asks:
            plan.org = org
            default = fields["default"] if "default" in fields else _default_of(plan)
            question = {field: fields.get(field, getattr(plan, field)) for field in QUESTION}
            _ask(plan, fields.get("routes", plan.proposed_routes), default, question, document_of(org))
        elif issues := _wrong_names(plan):
            raise InvalidPlan(issues)
        if all(getattr(plan, field) == before[field] for field in _ASKED):
            # Who changes nothing of what it asks did not look at what it would take back of today's routes.
            plan.base_version, plan.base_digest = before["base_version"], before["base_digest"]
        now = _written(plan)
        if now == before:
            return False
        plan.save(update_fields=list(now))
        if plan.state in (State.APPROVED, State.SCHEDULED):
            void_approval(plan, by=by, why="the plan was edited")
        changed = [field for field in now if now[field] != before[field]]
        actor = as_actor(by)
        if actor.person and set(changed) - set(NAMES) and actor.person != plan.created_by:
            plan.edited_by = {**plan.edited_by, actor.person: actor.name}
            plan.save(update_fields=["edited_by"])
        _record(plan, by=by, action="plan.edited", fields=changed)
    return True


def void_approval(plan: PlanRun, *, by: Any, why: str) -> None:
    """Take the approval away, and with it the time at which the plan was to be applied; inside a transaction."""
    was = {"approved_by": plan.approved_by, **lost_time(plan)}
    if plan.state == State.SCHEDULED:
        move(plan, State.APPROVED)
    move(plan, State.PROJECTED, approved_by="", approved_by_name="", approved_at=None, approved_digest="")
    _record(plan, by=by, action="plan.approval_voided", why=why, **was)


def lost_time(plan: PlanRun) -> dict[str, Any]:
    """When the plan was to be applied, and for whom, for the entry that says that it is not; nothing without a time."""
    return {"apply_at": plan.apply_at, "scheduled_by": plan.scheduled_by} if plan.apply_at else {}


@repeated
def rebase(plan: PlanRun, *, by: Any, seen: str | None = None) -> PlanRun:
    """The same plan on what is live now, queued for the worker. One that waited to be applied is superseded by it, a draft
    is cancelled; what has ended stays as it is. Raises `InvalidState` for one that is at work or live, `PlanChanged`, and
    what `propose` raises."""
    with transaction.atomic():
        org = locked(plan.org_id)
        plan.refresh_from_db()
        check_seen(plan, seen)
        if plan.state in (State.QUEUED, State.RUNNING, State.APPLIED):
            raise InvalidState(plan, "made again")
        new = _asked_again(plan, org, name=plan.name)
        # The rows of both before the log, in the order in which everybody locks.
        ended, lost = "", lost_time(plan)
        if plan.state == State.DRAFT:
            ended = "plan.cancelled"
            move(plan, State.CANCELLED, superseded_by=str(new.pk))
        elif plan.state not in FINAL:
            ended = "plan.superseded"
            move(plan, State.SUPERSEDED, superseded_by=str(new.pk))
        _make(new, by=by)
        move(new, State.QUEUED, queued_at=timezone.now())
        _record_proposal(new, by=by)
        _record(new, by=by, action="plan.queued", rebased_from=str(plan.pk))
        if ended:
            _record(plan, by=by, action=ended, superseded_by=str(new.pk), **lost)
    return new


@repeated
def copy(plan: PlanRun, *, by: Any, seen: str | None = None) -> PlanRun:
    """A draft that asks the same on what is live now, to be changed; the plan stays as it is, in whichever state. Raises
    `PlanChanged` and what `propose` raises."""
    with transaction.atomic():
        org = locked(plan.org_id)
        plan.refresh_from_db()
        check_seen(plan, seen)
        new = _asked_again(plan, org, name=shortened(f"Copy of {plan.name}"))
        _make(new, by=by)
        _record_proposal(new, by=by, copied_from=str(plan.pk))
    return new


def _asked_again(plan: PlanRun, org: Organization, *, name: str) -> PlanRun:
    """What the plan asks, as another one on what is live; not saved."""
    new = PlanRun(org=org, name=name, note=plan.note, mode=plan.mode)
    question = {field: getattr(plan, field) for field in QUESTION}
    _ask(new, plan.proposed_routes, _default_of(plan), question, document_of(org))
    # Else its author could approve it, once somebody else made it again.
    new.edited_by = {**plan.edited_by, plan.created_by: plan.created_by_name}
    return new


@repeated
def draft_of(refused: DirectWrite) -> PlanRun:
    """A draft of the change that was refused because it needs approval; the same one for the same change of the same
    person, so that to try again does not make many."""
    was, content = refused.base.content, refused.content
    known = {route["id"] for route in was["routes"]}
    mode, routes = proposal_of(was["routes"], content["routes"])
    actor = as_actor(refused.by)
    newest = RequestLog.objects.filter(org=refused.org).aggregate(newest=Max("ts"))["newest"] or timezone.now()
    end = newest.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    name = shortened(f"{summed_up(changes_between(was, content))}, by {actor.name}")
    default = None if same(was["default"], content["default"]) else (content["default"],)

    def without_new_ids(routes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**route, "id": route["id"] if route["id"] in known else None} for route in routes]

    with transaction.atomic():
        org = locked(refused.org.pk)  # before it looks: of several who try at once one makes it
        drafts = PlanRun.objects.of(org).filter(
            state=State.DRAFT, created_by=actor.person or "", mode=mode, name=name, note=refused.note
        )
        for draft in drafts.filter(base_digest=refused.base.digest):
            if same(without_new_ids(draft.proposed_routes), without_new_ids(routes)) and _default_of(draft) == default:
                return draft
        return propose(
            org,
            name=name,
            note=refused.note,
            mode=mode,
            routes=routes,
            default=default,
            by=actor,
            # Where somebody else published meanwhile it is stale, and says so, instead of taking that back.
            base=refused.base,
            window_start=end - USUAL_WINDOW,
            window_end=end,
        )


def proposal_of(today: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> tuple[Mode, list[dict[str, Any]]]:
    """How a plan says that of today's routes these are to be live: by what differs alone, so that what others change
    meanwhile stays, where that says it; else by all of them."""
    known = {route["id"]: route for route in today}
    changed = [route for route in wanted if not same(known.get(route["id"]), route)]
    if same(would_be_live(today, changed, Mode.MERGE), wanted):
        return Mode.MERGE, changed
    return Mode.REPLACE, list(wanted)


# --- Reading what somebody asks ---------------------------------------------------------------------------------------


def content_of(plan: PlanRun, today: dict[str, Any]) -> dict[str, Any]:
    """The content that would be live were the plan applied to this one."""
    return _content_on(today, plan.proposed_routes, plan.mode, _default_of(plan))


def tag(plan: PlanRun) -> str:
    """Of all of the plan that people see and decide by, not of how far the worker is: that would be in their way each
    second. Its result comes with another state."""
    seen = _seen(plan, [field for field in _FIELDS if field not in _PROGRESS])
    return _hashed("p", {**seen, "state": State.QUEUED if plan.state == State.RUNNING else plan.state})


def etag(plan: PlanRun) -> str:
    """Two parts: the `tag`, and one of all that is shown."""
    return f'"{tag(plan)}-{_hashed("v", _seen(plan, _FIELDS))}"'


def check_seen(plan: PlanRun, seen: str | None) -> None:
    """Raises `PlanChanged` where the plan, as it is under the lock, is not the one with this `tag`."""
    if seen is not None and seen != tag(plan):
        raise PlanChanged(plan)


_FIELDS: Final = [field.attname for field in PlanRun._meta.concrete_fields if field.attname not in _UNSEEN]


def _seen(plan: PlanRun, names: Sequence[str]) -> dict[str, Any]:
    # As the database gives it back, also of a plan that was just written.
    return {name: PlanRun._meta.get_field(name).to_python(getattr(plan, name)) for name in names}


def _hashed(kind: str, seen: dict[str, Any]) -> str:
    text = json.dumps(seen, default=lambda value: rfc3339(value) if isinstance(value, datetime) else str(value))
    return kind + sha256(text.encode()).hexdigest()[:16]


def _default_of(plan: PlanRun) -> Default | None:
    return (json.loads(plan.proposed_default),) if plan.proposed_default else None


def _content_on(
    today: dict[str, Any], routes: Sequence[dict[str, Any]], mode: str, default: Default | None
) -> dict[str, Any]:
    live = would_be_live(today["routes"], routes, mode)
    default_then = today["default"] if default is None else default[0]
    return content_with(live, default=default_then, services=today["services"])


def _written(plan: PlanRun) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in (*NAMES, *_ASKED, "base_version", "base_digest")}


def _ask(
    plan: PlanRun,
    routes: Sequence[dict[str, Any]],
    default: Default | None,
    question: dict[str, Any],
    document: engine.Document,
) -> None:
    """Fill the plan in with what somebody asks, on this document. Raises `InvalidPlan`, `TooManyRoutes` and
    `DocumentTooLarge`."""
    for name, value in question.items():
        setattr(plan, name, value)
    if default is not None:
        default = (_read_default(default[0]),)
    proposed = _read(plan.org, routes, document.content, plan.mode, default)
    if issues := [*_wrong_names(plan), *_wrong(plan)]:
        raise InvalidPlan(issues)
    plan.proposed = canonical_bytes(proposed).decode()
    plan.proposed_default = "" if default is None else canonical_bytes(default[0]).decode()
    plan.base_version, plan.base_digest = document.version, document.digest
    plan.l2_threshold_sweep = sorted(map(float, plan.l2_threshold_sweep))  # one spelling of the same question


def _wrong_names(plan: PlanRun) -> list[dict[str, str]]:
    return _told(
        (not plan.name.strip(), "name", "blank_value", "Give the plan a name."),
        (len(plan.name) > 200, "name", "out_of_range", "A plan's name has at most 200 characters."),
    )


def _wrong(plan: PlanRun) -> list[dict[str, str]]:
    return _told(
        (plan.window_end <= plan.window_start, "window_end", "out_of_range", "The window ends before it begins."),
        (plan.mode not in Mode.values, "mode", "unsupported_value", "The mode is merge or replace."),
        (not 0 <= plan.seed <= MAX_SEED, "seed", "out_of_range", "The seed is a whole number from 0 to 2^53 - 1."),
        (
            not MIN_ITERATIONS <= plan.iterations <= MAX_ITERATIONS,
            "iterations",
            "out_of_range",
            f"The iterations are a whole number from {MIN_ITERATIONS:,} to {MAX_ITERATIONS:,}.",
        ),
        (
            plan.interval_method not in IntervalMethod.values,
            "interval_method",
            "unsupported_value",
            f"The method is {' or '.join(IntervalMethod.values)}.",
        ),
        *_wrong_caches(plan.l1_ttl_seconds, plan.l2_ttl_seconds, plan.l2_threshold_sweep, plan.l2_priced_threshold),
    )


def _told(*checks: tuple[bool, str, str, str]) -> list[dict[str, str]]:
    """The issues among (whether it is wrong, path, code, message)."""
    return [{"path": path, "code": code, "message": message} for wrong, path, code, message in checks if wrong]


def _read_default(raw: Any) -> dict[str, Any] | None:
    """Raises `InvalidPlan`."""
    try:
        return None if raw is None else engine.Action.from_dict(raw).to_dict()
    except engine.errors.InvalidRoute as error:
        raise InvalidPlan(
            [{**issue, "path": f"default.{issue['path']}".rstrip(".")} for issue in error.issues]
        ) from error


def _wrong_caches(
    l1_ttl_seconds: float | None,
    l2_ttl_seconds: float | None,
    sweep: Sequence[float],
    priced: float | None,
) -> list[tuple[bool, str, str, str]]:
    """(whether it is wrong, path, code, message) of what a plan says of caches."""
    checks = [
        (
            ttl is not None and not 0 < ttl <= MAX_TTL_SECONDS,
            path,
            "out_of_range",
            f"Answers are kept for more than 0 and at most {MAX_TTL_SECONDS:,} seconds; leave it out for no such cache.",
        )
        for path, ttl in (("l1_ttl_seconds", l1_ttl_seconds), ("l2_ttl_seconds", l2_ttl_seconds))
    ]
    return [
        *checks,
        (
            not 1 <= len(sweep) <= MAX_THRESHOLDS or len(set(sweep)) < len(sweep),
            "l2_threshold_sweep",
            "out_of_range",
            f"Give 1 to {MAX_THRESHOLDS} different similarities.",
        ),
        (
            not all(0 < threshold <= 1 for threshold in sweep),
            "l2_threshold_sweep",
            "out_of_range",
            "A similarity is above 0 and at most 1.",
        ),
        (
            priced is not None and priced not in sweep,
            "l2_priced_threshold",
            "unsupported_value",
            "The threshold that is priced is one of l2_threshold_sweep.",
        ),
        (
            priced is not None and l2_ttl_seconds is None,
            "l2_priced_threshold",
            "conflict",
            "Without l2_ttl_seconds there is no semantic cache to price.",
        ),
    ]


def _read(
    org: Organization, routes: Sequence[dict[str, Any]], today: dict[str, Any], mode: str, default: Default | None
) -> list[dict[str, Any]]:
    """The proposed routes in canonical form, each with an id, checked alone and as the content they make of today's."""
    read, issues = read_routes(routes)
    if not issues:
        issues = wrong_together(org, _content_on(today, read, mode, default), today, read)
    if issues:
        raise InvalidPlan(issues)
    return read


def _record(plan: PlanRun, *, by: Any, action: str, **payload: Any) -> None:
    record(plan.org_id, by=by, action=action, target=("plan", plan.pk), payload=payload)
