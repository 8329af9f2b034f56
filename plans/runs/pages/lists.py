"""The list of plans: by state and name, who waits for whom, and what became of one's own while one was away."""

from typing import Any, Final
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from audit.actors import as_actor
from plans.runs.answer import headline
from plans.runs.models import PlanRun, State
from plans.runs.news import news_of, saw
from routes.orgs.models import Organization

PAGE: Final = 50
#: By name, what it is called and the states that it holds.
GROUPS: Final = {
    "open": (
        "Not over yet",
        (State.DRAFT, State.QUEUED, State.RUNNING, State.PROJECTED, State.APPROVED, State.SCHEDULED),
    ),
    "waiting": ("Waiting for a person", (State.PROJECTED, State.APPROVED)),
    "live": ("Applied", (State.APPLIED,)),
    "over": ("Over", (State.REVERTED, State.REJECTED, State.SUPERSEDED, State.FAILED, State.CANCELLED)),
}


def plans(request: HttpRequest) -> HttpResponse:
    state, words = request.GET.get("state", ""), request.GET.get("q", "").strip()[:200]
    rows = PlanRun.objects.of(request.org).brief()
    if state in GROUPS:
        rows = rows.filter(state__in=GROUPS[state][1])
    elif state in State.values:
        rows = rows.filter(state=state)
    if words and "\0" not in words:
        rows = rows.filter(name__icontains=words)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    person = as_actor(request.actor).person
    asked = urlencode({name: value for name, value in (("state", state), ("q", words)) if value})
    return render(
        request,
        "plans/list.html",
        {
            "title": "Plans",
            "rows": [
                {"plan": plan, "headline": headline(plan), **waits_for(plan, request.org, request.role, person)}
                for plan in page
            ],
            "page": page,
            "asked": f"{asked}&" if asked else "",
            "is_narrowed": bool(asked),
            "state": state,
            "q": words,
            "groups": [(name, label) for name, (label, _) in GROUPS.items()],
            "states": State.choices,
            "news": news_of(request.org, request.actor),
        },
    )


def waits_for(plan: PlanRun, org: Organization, role: Any, person: str | None) -> dict[str, Any]:
    """Who has to do what before the plan goes on: `whom` in words, "" for nobody, and whether `is_mine`."""
    author = plan.created_by_name or "its author"
    is_own = person is not None and (person == plan.created_by or person in plan.edited_by)
    may_approve = role.includes("approver")
    match plan.state:
        case State.DRAFT:
            return {"whom": f"{author}, to have it replayed", "is_mine": person == plan.created_by}
        case State.QUEUED | State.RUNNING:
            return {"whom": "the worker", "is_mine": False}
        case State.PROJECTED if org.approval != Organization.Approval.NONE:
            return {"whom": f"an approver other than {author}", "is_mine": may_approve and not is_own}
        case State.PROJECTED | State.APPROVED:
            return {"whom": "an approver, to apply it", "is_mine": may_approve}
        case State.SCHEDULED:
            return {"whom": f"its time, {plan.apply_at:%Y-%m-%d %H:%M} UTC", "is_mine": False}
    return {"whom": "", "is_mine": False}


@require_POST
def plans_seen(request: HttpRequest) -> HttpResponse:
    """What there is of news by now is seen; back to the page that showed it."""
    saw(request.org, request.actor)
    return redirect("admin:home" if request.POST.get("from") == "home" else "admin:plans", request.org.slug)


plans.required_role = "viewer"
plans_seen.required_role = "viewer"
