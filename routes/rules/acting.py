"""What the list of routes does: switching, deleting and reordering, each bound to what was shown."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from routes import engine
from routes.errors import RoutesError, StaleVersion
from routes.examples.forms import Nevertheless
from routes.pages import Why, kept_as_draft, seen
from routes.publish import Change, ExampleBroken
from routes.rules.admin import route_or_404, routes
from routes.rules.bulk import ACTS, change_routes, reorder_routes
from routes.rules.listing import Asked
from routes.rules.models import Route
from routes.rules.sentences import sentence
from routes.rules.services import pause_route, resume_route
from routes.versions.words import somebody_was_faster

#: By what is done the button, what has been done, and what that does to requests.
_WORDS = {
    "enable": ("Enable", "enabled", "Gateways ask them again within seconds, in their place."),
    "disable": ("Disable", "disabled", "Gateways stop asking them within seconds. Their requests go to the next match."),
    "pause": ("Pause", "paused", "They go on taking their requests, and let them pass unchanged until they are resumed."),
    "resume": ("Resume", "resumed", "Within seconds their requests go again where they say."),
    "delete": ("Delete", "deleted", "Gateways stop using them within seconds. Their requests go to the next match."),
}  # fmt: skip
Refusals = (engine.errors.RoutingError, RoutesError)


@require_POST
def route_bulk(request: HttpRequest) -> HttpResponse:
    """Does something to the chosen routes. Deleting asks once more; where somebody wrote in between, everything does."""
    act = request.POST.get("do", "")
    # A page may have more checkboxes than a form may have fields, so that its script sends them as one.
    ids = [uid for given in request.POST.getlist("ids") for uid in given.split(",") if uid]
    if one := request.POST.get("one", ""):
        # The button of one route, whichever others are chosen.
        act, _, uid = one.partition(" ")
        ids = [uid]
    if act not in ACTS or not ids:
        messages.error(request, "Choose at least one route, and what to do.")
        return _to_the_list(request)
    nevertheless, noted = Nevertheless(request), Why(request)
    is_acceptable = nevertheless.is_acceptable() and noted.is_acceptable()
    if (act == "delete" and "confirmed" not in request.POST) or not is_acceptable:
        return _confirm(request, act, ids, nevertheless)
    try:
        with nevertheless.bound(), noted.bound():
            change = change_routes(request.org, act, ids, by=request.actor, expected=seen(request, "version"))
    except StaleVersion:
        why = f"{somebody_was_faster(request.org)} Nothing was done yet."
        return _confirm(request, act, ids, nevertheless, why=why)
    except ExampleBroken:
        return _confirm(request, act, ids, nevertheless)
    except Refusals as error:
        if draft := kept_as_draft(request, error):
            return draft
        messages.error(request, str(error))
    else:
        count = len(change.payload["routes"])
        what = f"{count} route{'s are' if count > 1 else ' is'} {_WORDS[act][1]}: version {change.version} is live."
        others = f" {len(ids) - count} of those that you chose did not change." if count < len(ids) else ""
        messages.success(request, _told(change, what + others))
    return _to_the_list(request)


def _confirm(
    request: HttpRequest, act: str, ids: list[str], nevertheless: Nevertheless, *, why: str = "", url: str = ""
) -> HttpResponse:
    """Names the routes and says what will happen to them, before it does."""
    request.org.refresh_from_db(fields=["version"])
    chosen = set(ids)
    rows = [row for row in Route.objects.of(request.org).in_order() if str(row.uid) in chosen]
    button, _, effect = _WORDS[act]
    what = f"{len(rows)} route{'s' if len(rows) != 1 else ''}"
    context: dict[str, Any] = {
        "title": f"{button} {what}?",
        "button": f"{button} {what}",
        "act": act,
        "url": url,
        "rows": [{"row": row, "sentence": sentence(row.as_document())} for row in rows],
        "ids": ",".join(str(row.uid) for row in rows),
        "gone": len(chosen) - len(rows),
        "effect": effect,
        # Without when it holds, where it makes the draft of a plan.
        "after": "Their requests go to the next match then." if act in ("disable", "delete") else "",
        "version": request.org.version,
        "from": request.POST.get("from", ""),
        "shown": Asked.of(request).address(),
        "why": why,
        "nevertheless": nevertheless,
        "noted": (noted := Why(request)),
    }
    is_refused = why or nevertheless.is_shown() or noted.errors
    return render(request, "routes/bulk.html", context, status=422 if is_refused else 200)


@require_POST
def route_switch(request: HttpRequest, id: str, act: str) -> HttpResponse:
    """Pauses or resumes one route, as it was shown; back to where that was."""
    row = route_or_404(request, id)
    nevertheless, noted = Nevertheless(request), Why(request)
    if not (nevertheless.is_acceptable() and noted.is_acceptable()):
        return _confirm(request, act, [str(row.uid)], nevertheless, url=request.path)
    try:
        with nevertheless.bound(), noted.bound():
            row, change = {"pause": pause_route, "resume": resume_route}[act](
                row, by=request.actor, expected_revision=seen(request, "revision")
            )
    except ExampleBroken:
        return _confirm(request, act, [str(row.uid)], nevertheless, url=request.path)
    except Refusals as error:
        if draft := kept_as_draft(request, error):
            return draft
        messages.error(request, str(error))
    else:
        messages.success(request, _told(change, f"“{row.name}” is {_WORDS[act][1]}: version {change.version} is live."))
    if request.POST.get("from") == "editor":
        return redirect("admin:route_edit", request.org.slug, row.uid)
    return _to_the_list(request)


@require_POST
def route_reorder(request: HttpRequest) -> HttpResponse:
    """Has the routes asked in the order that was sent, or in it after one step of one route."""
    order = list(filter(None, request.POST.get("order", "").split(",")))
    uid, _, way = request.POST.get("move", "").partition(" ")
    if uid in order:
        _step(order, order.index(uid), -1 if way == "up" else 1)
    nevertheless = Nevertheless(request)
    try:
        if not nevertheless.is_acceptable():
            return routes(request, _on_what_is_there(request, order), nevertheless)
        with nevertheless.bound():
            change = reorder_routes(request.org, order, by=request.actor, expected=seen(request, "version"))
    except StaleVersion:
        request.org.refresh_from_db(fields=["version"])
        why = somebody_was_faster(request.org)
        return routes(request, _on_what_is_there(request, order), nevertheless, why)
    except ExampleBroken:
        return routes(request, _on_what_is_there(request, order), nevertheless)
    except Refusals as error:
        if draft := kept_as_draft(request, error):
            return draft
        messages.error(request, str(error))
    else:
        messages.success(request, _told(change, f"The new order is live as version {change.version}."))
    return _to_the_list(request)


def _step(order: list[str], index: int, step: int) -> None:
    if 0 <= index + step < len(order):
        order[index], order[index + step] = order[index + step], order[index]


def _on_what_is_there(request: HttpRequest, order: list[str]) -> list[str]:
    """The order that somebody wants, of the routes that there are now: what came since stands behind what it follows."""
    present = [str(row.uid) for row in Route.objects.of(request.org).in_order()]
    there = set(present)
    found = [uid for uid in dict.fromkeys(order) if uid in there]
    for index, uid in enumerate(present):
        if uid not in found:
            found.insert(found.index(present[index - 1]) + 1 if index else 0, uid)
    return found


def _to_the_list(request: HttpRequest) -> HttpResponse:
    """As it was looked at."""
    address = Asked.of(request).address()
    url = reverse("admin:routes", args=[request.org.slug])
    return redirect(f"{url}?{address}" if address else url)


def _told(change: Change, text: str) -> str:
    return text if change.changed else "Nothing was different."


for _page in (route_bulk, route_switch, route_reorder):
    _page.required_role = "editor"

PAGES = [
    path("routes/bulk/", route_bulk, name="route_bulk"),
    path("routes/reorder/", route_reorder, name="route_reorder"),
    *(path(f"routes/<uuid:id>/{act}/", route_switch, {"act": act}, name=f"route_{act}") for act in ("pause", "resume")),
]
