"""The page of one plan: the answer first, what can be done with it, then what would change, charts, and what was done."""

from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from audit.actors import as_actor
from audit.reading import Act, acts_on
from plans.runs import services
from plans.runs.answer import SURE, answer, lead
from plans.runs.effects import in_numbers
from plans.runs.forms import TrafficForm
from plans.runs.models import Phase, PlanRun, State
from plans.runs.pages.drafts import draft_context
from plans.runs.pages.figures import figures
from plans.runs.pages.found import plan_or_404
from plans.runs.proposals import FINAL, content_of
from plans.runs.states import TRANSITIONS
from routes.document import EMPTY_CONTENT, content_at
from routes.fleet.models import GatewayInstance
from routes.live import live
from routes.orgs.models import Organization
from routes.rules.compared import compared
from routes.versions.difference import changes_between

#: Acts and changes that are shown where nobody asks for all.
_ACTS: Final = 30
_CHANGES: Final = 25
#: What has a receipt beside what came of it.
RECEIPTS: Final = ("plan.applied", "plan.reverted")
#: In the words of the timeline, what was done.
ACTS: Final = {
    "plan.proposed": "Made",
    "plan.edited": "Changed",
    "plan.queued": "Sent to the worker",
    "plan.projected": "Replayed",
    "plan.failed": "The replay failed",
    "plan.approved": "Approved",
    "plan.approval_voided": "Lost its approval",
    "plan.rejected": "Rejected",
    "plan.scheduled": "Scheduled",
    "plan.schedule_cancelled": "Called off",
    "plan.schedule_refused": "Not applied at its time",
    "plan.applied": "Applied",
    "plan.reverted": "Reverted",
    "plan.cancelled": "Cancelled",
    "plan.superseded": "Made again on newer routes",
}


def plan(request: HttpRequest, id: str, traffic: TrafficForm | None = None) -> HttpResponse:
    """One plan. A draft shows its routes, to be edited; one that waits or runs how far it is; else the answer first.
    `traffic` is what was sent of a draft's requests, with what is wrong with it."""
    run = plan_or_404(request, id)
    shows_all = request.GET.get("all", "")
    result = run.outcome
    now = live(request.org).document
    base = content_at(run.org_id, run.base_version) or EMPTY_CONTENT
    may = possible(request, run, now.digest)
    content = content_of(run, base)
    changes = changes_between(base, content)
    context = {
        "title": run.name,
        "plan": run,
        "answer": answer(run),
        "lead": lead(result, (run.window_start, run.window_end)) if result else "",
        "sure": SURE.get(result["verdict"], "") if result else "",
        "result": result,
        # Then another window is what is wanted first, not a decision.
        "is_empty": result is not None and not result["sample_size"],
        **(figures(result, all_rows=shows_all == "routes") if result else {}),
        "shows_all": shows_all,
        "changes": compared(base, content, changes=changes, most=None if shows_all == "changes" else _CHANGES),
        "changes_total": len(changes),
        "in_numbers": in_numbers(changes),
        "since": compared(base, now.content, most=_CHANGES) if may["is_stale"] else [],
        "live_version": now.version,
        "seen": services.tag(run),
        **may,
        "acts": (acts := timeline(request, run)),
        "receipt": next((one for one in acts[::-1] if one["act"].action in RECEIPTS), None),
        "gateways": gateways_of(run),
        "is_waiting": run.state in (State.QUEUED, State.RUNNING),
        "successor": PlanRun.objects.of(request.org).brief().filter(pk=run.superseded_by).first()
        if run.superseded_by
        else None,
        **progress_of(run),
    }
    if run.state == State.DRAFT:
        context |= draft_context(request, run, now, traffic=traffic)
    template = "plans/draft.html" if run.state == State.DRAFT else "plans/detail.html"
    return render(request, template, context, status=422 if traffic else 200)


def possible(request: HttpRequest, run: PlanRun, live_digest: str) -> dict[str, bool]:
    """What can be done with the plan as it is, by whom it may be done aside; and how it stands."""
    org: Organization = request.org
    person = as_actor(request.actor).person
    is_own = person == run.created_by or person in run.edited_by
    is_ready = run.state in (State.PROJECTED, State.APPROVED, State.SCHEDULED)
    is_stale = live_digest != run.base_digest and (is_ready or run.state == State.DRAFT)
    needs_approval = org.approval != Organization.Approval.NONE and run.state == State.PROJECTED
    is_void = services.is_void(run)
    steps = {
        "may_approve": (run.state == State.PROJECTED or is_void) and not is_own and not is_stale,
        "may_apply": not is_stale and not needs_approval and not is_void and is_ready,
        "may_reject": run.state == State.PROJECTED,
        "may_schedule": run.state in (State.APPROVED, State.SCHEDULED) and not is_stale and not is_void,
        "may_cancel": State.CANCELLED in TRANSITIONS[State(run.state)],
        "may_edit": run.state not in FINAL,
        "may_project": run.state == State.DRAFT,
        "may_rebase": is_stale or (run.state in FINAL and run.state != State.APPLIED),
        "may_copy": run.state != State.DRAFT,
        "may_revert": run.state == State.APPLIED,
    }
    return {
        "is_own": is_own,
        "is_stale": is_stale,
        "is_void": is_void,
        "needs_approval": needs_approval or is_void,
        **{name: may and not org.frozen_at for name, may in steps.items()},
    }


def timeline(request: HttpRequest, run: PlanRun) -> list[dict[str, Any]]:
    """What was done with the plan, oldest first, with a way to each entry of the log."""
    acts = acts_on(run.org_id, "plan", [str(run.pk)], most=_ACTS)
    return [
        {"act": act, "words": ACTS.get(act.action, act.action), "url": entry_url(request, act)} for act in acts[::-1]
    ]


def entry_url(request: HttpRequest, act: Act) -> str:
    """The audit's page with this entry first."""
    asked = {"target_type": "plan", "target_id": act.target_id, "before": act.place}
    return f"{reverse('admin:audit', args=[request.org.slug])}?{urlencode(asked)}"


def gateways_of(run: PlanRun) -> dict[str, int] | None:
    """How many gateways there are, and how many run the version that the plan made live, or took back; None before."""
    version = run.reverted_version or run.applied_version
    if version is None:
        return None
    running = list(GatewayInstance.objects.filter(org=run.org_id).values_list("running", flat=True))
    return {"version": version, "all": len(running), "running": sum(one >= version for one in running)}


def plan_progress(request: HttpRequest, id: str) -> HttpResponse:
    """How far the worker is, as a part of a page; its state says when to look at the whole again."""
    # Asked each second: without what is large.
    run = PlanRun.objects.of(request.org).brief().filter(pk=id).first()
    if run is None:
        raise Http404("There is no such plan in this organisation.")
    context = {"plan": run, "is_waiting": run.state in (State.QUEUED, State.RUNNING), **progress_of(run)}
    return render(request, "plans/progress.html", context)


def progress_of(run: PlanRun) -> dict[str, Any]:
    """The step of the replay, and how far it is in words that do not change each second."""
    phases = [None, Phase.SURVEY, Phase.PROJECTION, Phase.RESULT]
    step = phases.index(Phase(run.phase)) if run.phase else 0
    percent = 100 * run.rows_done // run.rows_total if run.rows_total else 0
    told = run.get_state_display() if not step else f"Step {step} of 3: {Phase(run.phase).label}"
    if run.phase in (Phase.SURVEY, Phase.PROJECTION) and percent >= 10:
        told += f", {percent // 10 * 10}% done"
    return {"step": step, "told": told}


plan.required_role = "viewer"
plan_progress.required_role = "viewer"
