"""The routes of a draft, one by one: a copy of today's that is edited until it is replayed.

Each change is one of `proposals.edit`. What a plan keeps is what differs from today's routes, where that says it all.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import transaction

from plans.runs.models import PlanRun
from plans.runs.proposals import check_seen, content_of, edit, proposal_of
from routes.document import document_of
from routes.errors import NotFound
from routes.orgs.locks import locked
from routes.rules.content import in_order

type Document = dict[str, Any]
type Change = Callable[[Sequence[Document], list[Document]], list[Document]]
#: What can be done to one route beside writing it.
ACTS: Final = ("pause", "resume", "remove", "put_back")


def put_route(plan: PlanRun, route: Document, *, by: Any, seen: str | None = None) -> bool:
    """The draft with this route, in the place of the one with its id, or else as a new one. Answers whether that changed
    anything, here as below. Raises what `edit` raises."""

    def change(today: Sequence[Document], wanted: list[Document]) -> list[Document]:
        if any(one["id"] == route["id"] for one in wanted):
            return [route if one["id"] == route["id"] else one for one in wanted]
        return [*wanted, route]

    return _changed(plan, change, by=by, seen=seen)


def act_on_route(plan: PlanRun, uid: str, act: str, *, by: Any, seen: str | None = None) -> bool:
    """Pause, resume or remove a route of the draft, or have it as it is today, which removes a new one. Raises `NotFound`
    for a route that neither the draft nor today has, and what `edit` raises."""

    def change(today: Sequence[Document], wanted: list[Document]) -> list[Document]:
        live = next((one for one in today if one["id"] == uid), None)
        planned = next((one for one in wanted if one["id"] == uid), None)
        if planned is None and (live is None or act != "put_back"):
            raise NotFound("There is no such route in this plan.")
        if act in ("pause", "resume"):
            return [{**one, "paused": act == "pause"} if one is planned else one for one in wanted]
        others = [one for one in wanted if one is not planned]
        if act == "remove" or live is None:
            return others
        if planned is not None:
            return [live if one is planned else one for one in wanted]
        # Behind the last of those before it today that are still there.
        before = {one["id"] for one in today[: today.index(live)]}
        place = max((number for number, one in enumerate(others, 1) if one["id"] in before), default=0)
        return [*others[:place], live, *others[place:]]

    return _changed(plan, change, by=by, seen=seen)


def _changed(plan: PlanRun, change: Change, *, by: Any, seen: str | None) -> bool:
    with transaction.atomic():
        org = locked(plan.org_id)  # before it looks at today's routes: what comes later must not be taken back
        plan.refresh_from_db()
        check_seen(plan, seen)
        today = document_of(org).content
        wanted = in_order(change(today["routes"], content_of(plan, today)["routes"]))
        mode, routes = proposal_of(today["routes"], wanted)
        return edit(plan, by=by, mode=mode, routes=routes)
