"""The editor: a new route, one that is there, what happens to the rest, and what is said of them before they are saved."""

import json
from collections import OrderedDict
from datetime import datetime
from functools import cache
from itertools import count
from threading import Lock
from typing import Any, Final
from uuid import UUID
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from routes import engine
from routes.catalog.served import ServedPrices
from routes.catalog.services import price_table, prices_for
from routes.document import canonical_route, default_of
from routes.engine.prices import PriceTable
from routes.engine.reading import MAX_NAME
from routes.errors import NotFound, RoutesError
from routes.examples.forms import Nevertheless
from routes.money import usd_text
from routes.orgs.models import Organization, new_id
from routes.pages import Why, kept_as_draft, whole_number
from routes.rules.doubts import Doubtful, Doubts
from routes.rules.findings import loaded
from routes.rules.forms import DefaultForm, RouteForm
from routes.rules.merging import merged
from routes.rules.models import Route
from routes.rules.preview import IN_PLAN, NotARoute, as_json, drafted, is_complete, mark_of, preview, read_route
from routes.rules.sentences import default_effect, sentence
from routes.rules.services import StaleRoute, create_route, get_route, published_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from routes.versions.words import told

_NANO: Final = 1_000_000_000


def route_new(request: HttpRequest) -> HttpResponse:
    """A new route, empty or like the one that the address names."""
    nevertheless = Nevertheless(request)
    if request.method != "POST" and (like := request.GET.get("like")):
        row = route_or_404(request, like)
        copy = {**canonical_route(row.as_document()), "name": _name_of_copy(request.org, row.name)}
        form = RouteForm(route=copy)
        return _editor(
            request, form, title="New route", document=copy, nevertheless=nevertheless, why=Why(request), copied=row
        )
    form = RouteForm(request.POST if request.method == "POST" else None)
    doubts, why = Doubts(request), Why(request)
    if "use_json" in request.POST:
        return _filled(request, form, title="New route", nevertheless=nevertheless, doubts=doubts, why=why)
    if request.method == "POST" and _is_complete(request, form, why) and nevertheless.is_acceptable():
        new = engine.NewRoute.from_dict(form.document())
        doubts.look(request.org, new.with_id(new_id()), None)
        try:
            with nevertheless.bound(), why.bound(), doubts.first():
                row, change = create_route(request.org, new, by=request.actor)
        except Doubtful:
            pass
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            messages.success(request, f"“{row.name}” is live as version {change.version}.")
            return redirect("admin:routes", request.org.slug)
    return _editor(request, form, title="New route", nevertheless=nevertheless, doubts=doubts, why=why)


def _name_of_copy(org: Organization, name: str) -> str:
    """One that no route has."""
    taken = set(Route.objects.of(org).values_list("name", flat=True))
    for number in count(1):
        end = " (copy)" if number == 1 else f" (copy {number})"
        if (found := name[: MAX_NAME - len(end)].rstrip() + end) not in taken:
            break
    return found


def route_edit(request: HttpRequest, id: str) -> HttpResponse:
    row = route_or_404(request, id)
    document = canonical_route(row.as_document())
    form = RouteForm(request.POST) if request.method == "POST" else RouteForm(route=document, revision=row.revision)
    nevertheless, doubts, why = Nevertheless(request), Doubts(request), Why(request)
    more: dict[str, Any] = {
        "row": row,
        "problem": loaded(document)[1],
        "nevertheless": nevertheless,
        "doubts": doubts,
        "why": why,
        **({} if request.method == "POST" else {"document": document}),
    }
    if "use_json" in request.POST:
        return _filled(request, form, title=row.name, **more)
    if request.method == "POST" and _is_complete(request, form, why, row) and nevertheless.is_acceptable():
        mine = engine.Route.from_dict({"id": str(row.uid), **form.document()})
        seen = form.identity.cleaned_data["revision"]
        if seen == row.revision:  # else what is said first is what somebody else changed
            doubts.look(request.org, mine, row)
        try:
            with nevertheless.bound(), why.bound(), doubts.first():
                row, change = update_route(request.org, id, mine, by=request.actor, expected_revision=seen)
        except Doubtful:
            pass
        except StaleRoute as error:
            theirs = canonical_route(error.row.as_document())
            together, differences = merged(published_route(error.row, seen), theirs, mine.to_dict())
            form = RouteForm(route=together, revision=error.row.revision)
            published = RouteSetVersion.objects.of(request.org).brief().filter(version=error.row.revision).first()
            more |= {
                "row": error.row, "document": together, "differences": differences, "now": sentence(theirs),
                "their_version": told(published) if published else None,
            }  # fmt: skip
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            text = f"“{row.name}” is live as version {change.version}." if change.changed else "Nothing was different."
            messages.success(request, text)
            return redirect(_origin(request))
    return _editor(request, form, title=row.name, **more)


def _origin(request: HttpRequest) -> str:
    """Where whoever edits came from: a request of the log, whose id the address may hold, or the list."""
    if logged := request.GET.get("logged", ""):
        return reverse("admin:logged_request", args=[request.org.slug], query={"id": logged})
    return reverse("admin:routes", args=[request.org.slug])


@require_POST
def route_preview(request: HttpRequest, id: str | None = None) -> HttpResponse:
    """What the panel beside the form shows while somebody writes, of a new route or of this one."""
    row = None if id is None else route_or_404(request, id)
    return JsonResponse(preview(request.org, RouteForm(request.POST), row, is_planned=IN_PLAN in request.POST))


def default(request: HttpRequest) -> HttpResponse:
    """What happens to requests that no route takes."""
    was = default_of(request.org)
    live = json.dumps(was)
    form = DefaultForm(request.POST if request.method == "POST" else None, default=was)
    nevertheless, doubts, why = Nevertheless(request), Doubts(request), Why(request)
    is_acceptable = nevertheless.is_acceptable() and why.is_acceptable()
    is_valid = request.method == "POST" and form.is_valid() and is_acceptable
    if is_valid and request.POST.get("opened_with", live) != live:
        text = f"Somebody changed this after you opened it. It now reads: {default_effect(was)}."
        form.add_error(None, f"{text} Your input is still below; save again to keep it.")
    elif is_valid:
        document = form.document()
        action = None if document is None else engine.Action.from_dict(document)
        doubts.look_at_default(request.org, action)
        try:
            with nevertheless.bound(), why.bound(), doubts.first():
                change = set_default(request.org, action, by=request.actor, expected=request.org.version)
        except Doubtful:
            pass
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            text = f"Live as version {change.version}." if change.changed else "Nothing was different."
            messages.success(request, text)
            return redirect("admin:routes", request.org.slug)
    context = {
        "title": "Requests that no route takes",
        "form": form,
        "effect": default_effect(was),
        "opened_with": live,
        "nevertheless": nevertheless,
        "doubts": doubts,
        "why": why,
        **editor_context(request),
    }
    refused = form.errors or doubts or not is_acceptable
    return render(request, "routes/default.html", context, status=422 if refused else 200)


# --- What several of them share -------------------------------------------------------------------------------------


def route_or_404(request: HttpRequest, id: str) -> Route:
    try:
        return get_route(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


def editor_context(request: HttpRequest) -> dict[str, Any]:
    """What `routes/editor.html` needs beside its `form`: what the browser offers while typing."""
    return {"zones": _zones(), **_priced(request.org)}


#: By organisation the prices that the options are made of, the minute, and the options: thousands, which take longer than
#: the rest of the page.
_options: OrderedDict[UUID, tuple[str, datetime, dict[str, SafeString]]] = OrderedDict()
_MOST_OPTIONS: Final = 64
_lock = Lock()


def _priced(org: Organization) -> dict[str, SafeString]:
    """The models with what they cost now, and their providers, as options of lists."""
    now = timezone.now().replace(second=0, microsecond=0)
    etag = ServedPrices(org).etag
    with _lock:
        known = _options.get(org.pk)
    if known is not None and known[:2] == (etag, now):
        return known[2]
    table = price_table(org)
    models = sorted({price.model for price in table.prices})
    made = {
        "model_options": format_html_join(
            "", '<option value="{}" label="{}"></option>', ((model, _cost(table, model, now)) for model in models)
        ),
        "provider_options": format_html_join(
            "", '<option value="{}"></option>', ((name,) for name in sorted({price.provider for price in table.prices}))
        ),
    }
    if etag is not None:  # else nobody would know when they change
        with _lock:
            _options[org.pk] = etag, now, made
            while len(_options) > _MOST_OPTIONS:
                _options.popitem(last=False)
    return made


def _cost(table: PriceTable, model: str, now: datetime) -> str:
    price = table.price("", model, now)
    if price is None:
        return "no price yet"
    into, out = (usd_text(nano / _NANO) for nano in (price.input_nano_per_million, price.output_nano_per_million))
    return f"{into} in, {out} out per 1M tokens"


def completions(request: HttpRequest) -> dict[str, list[str]]:
    """Names of models and providers, for forms without prices."""
    prices = list(prices_for(request.org))
    return {
        "models": sorted({price.model for price in prices}),
        "providers": sorted({price.provider for price in prices}),
    }


@cache
def _zones() -> list[str]:
    return sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")


def _show(form: RouteForm | DefaultForm, error: Exception) -> None:
    """Show what a service refused at the fields that it is about."""
    if isinstance(error, engine.errors.InvalidRoute):
        form.add_issues(error.issues)
    else:
        form.add_error("name" if getattr(error, "code", "") == "name_taken" else None, str(error))


def _is_complete(request: HttpRequest, form: RouteForm, why: Why, row: Route | None = None) -> bool:
    """Whether the form says all that its page says, and nothing is wrong with it."""
    is_valid = is_complete(request.org, form, row)
    if _unused_json(request):
        text = "You changed the JSON, and what you changed is not in the form yet: press “Use this” there."
        form.add_error(None, text)
    if not why.is_acceptable():
        form.add_error(None, f"Note: {' '.join(why.errors['note'])}")
    return is_valid and not form.errors


def _unused_json(request: HttpRequest) -> str:
    """JSON that somebody wrote and that was not used."""
    text: str = request.POST.get("json", "")
    return text if text.strip() and mark_of(text) != request.POST.get("json_mark", "") else ""


def _filled(request: HttpRequest, form: RouteForm, **more: Any) -> HttpResponse:
    """The form as the JSON of its page has it. Nothing is saved; what is no route leaves all as it was typed."""
    text = request.POST.get("json", "")
    try:
        route = read_route(text, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    except NotARoute as error:
        return _editor(request, form, json_problems=error.problems, **more)
    form = RouteForm(route=route, revision=whole_number(request.POST.get("revision", "")))
    return _editor(request, form, document=route, is_filled=True, **more)


def _editor(
    request: HttpRequest,
    form: RouteForm,
    *,
    title: str,
    document: dict[str, Any] | None = None,
    **more: Any,
) -> HttpResponse:
    """The page. `document` is what the form shows, where it was not sent."""
    row: Route | None = more.get("row")
    problems = more.get("json_problems")
    is_refused = (
        problems
        or form.errors
        or more.get("differences")
        or more.get("doubts")
        or not more["nevertheless"].is_acceptable()
    )
    if document is None:
        document = form.document() if form.was_judged else {}
    text = {"json": "", "json_mark": ""}
    if not more.get("is_filled") and (typed := _unused_json(request)):
        text["json"] = typed  # it does not fit the mark, and so is known to be somebody's
    elif loaded({"id": str(row.uid) if row else new_id(), **document})[0] is not None:
        text = as_json({**({"id": str(row.uid)} if row else {}), **document})
    own = [request.org.slug, *([row.uid] if row else [])]
    context = {
        "title": title,
        "form": form,
        "sentence": drafted(document),
        **text,
        "preview_url": reverse(f"admin:route_preview{'_of' if row else ''}", args=own),
        "origin": _origin(request),
        "is_of_request": "logged" in request.GET,
        "matching_url": reverse(f"admin:route_matching{'_of' if row else ''}", args=own),
        **editor_context(request),
        **more,
    }
    return render(request, "routes/form.html", context, status=422 if is_refused else 200)


route_new.required_role = "editor"
route_edit.required_role = "editor"
route_preview.required_role = "editor"
default.required_role = "editor"

PAGES = [
    path("routes/new/", route_new, name="route_new"),
    path("routes/new/preview/", route_preview, name="route_preview"),
    path("routes/default/", default, name="route_default"),
    path("routes/<uuid:id>/", route_edit, name="route_edit"),
    path("routes/<uuid:id>/preview/", route_preview, name="route_preview_of"),
]
