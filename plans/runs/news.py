"""What became of one's plans while one was away: from the audit log, since one last said that one had seen it. Only writer
of `PlansSeen`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils import timezone

from audit.actors import as_actor
from audit.reading import acts_on
from plans.runs.models import PlanRun, PlansSeen
from routes.orgs.models import Organization

#: What is news, and in which words.
TOLD: Final = {
    "plan.projected": "was replayed",
    "plan.failed": "could not be replayed",
    "plan.approved": "was approved",
    "plan.approval_voided": "lost its approval",
    "plan.rejected": "was rejected",
    "plan.scheduled": "is to be applied at a time",
    "plan.schedule_cancelled": "was called off",
    "plan.schedule_refused": "could not be applied at its time",
    "plan.applied": "was applied",
    "plan.reverted": "was reverted",
    "plan.cancelled": "was cancelled",
    "plan.superseded": "was made again on newer routes",
}
#: Who never looked is told of so long.
_AT_FIRST: Final = timedelta(days=7)
#: So many plans of one person are looked after, the newest.
_PLANS: Final = 100


@dataclass(frozen=True, slots=True)
class News:
    plan: PlanRun
    #: As in `TOLD`.
    words: str
    action: str
    #: "" where it was the worker.
    who: str
    at: datetime


def news_of(org: Organization, by: Any, *, most: int = 20) -> list[News]:
    """What others, or the worker, did to the newest plans that this person made or changed, since they last looked; newest
    first, of each plan the last. Three queries; nothing for who is no person."""
    person = as_actor(by).person
    if person is None:
        return []
    seen = PlansSeen.objects.filter(org=org, person=person).values_list("seen_at", flat=True).first()
    mine = PlanRun.objects.of(org).brief().filter(Q(created_by=person) | Q(edited_by__has_key=person))
    plans = {str(plan.pk): plan for plan in mine[:_PLANS]}
    since = timezone.now() - _AT_FIRST if seen is None else seen
    acts = acts_on(org.pk, "plan", plans, since=since, actions=TOLD, most=10 * most)
    found: dict[str, News] = {}
    for act in acts:
        if act.target_id not in found and (act.person != person or _is_worker(act.action)):
            who = "" if _is_worker(act.action) else act.who
            found[act.target_id] = News(plans[act.target_id], TOLD[act.action], act.action, who, act.at)
    return list(found.values())[:most]


def _is_worker(action: str) -> bool:
    return action in ("plan.projected", "plan.failed", "plan.schedule_refused")


def saw(org: Organization, by: Any) -> None:
    """This person has seen all that there is by now. Not in the audit log: nothing was decided."""
    person = as_actor(by).person
    if person is not None:
        PlansSeen.objects.update_or_create(org=org, person=person, defaults={"seen_at": timezone.now()})
