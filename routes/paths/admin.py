"""The admin's pages about services: the list, one with its table and a path to try, the editor; hosts and upstreams."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from routes import engine
from routes.errors import NotFound, RoutesError
from routes.live import live
from routes.orgs.lookup import Lookup
from routes.orgs.models import Organization
from routes.orgs.upstreams import (
    private_upstreams_of,
    read_private_upstreams,
    set_private_upstreams,
)
from routes.pages import Why, seen
from routes.paths.forms import LinesForm, ServiceForm
from routes.paths.hosts import HostTaken, StaleHosts, hosts_by_slug, hosts_of, read_hosts, set_hosts
from routes.paths.models import Service
from routes.paths.placed import placement_found
from routes.paths.services import (
    SlugTaken,
    StaleService,
    create_service,
    delete_service,
    get_service,
    published_service,
    update_service,
)
from routes.paths.shown import in_order, tried
from routes.paths.upstreams import findings, names_in
from routes.paths.words import (
    asked_in_words,
    differences_of_services,
    line_of_service,
    paths_counted,
    timeouts_in_words,
    upstreams_in_short,
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: So many warnings are told after one change.
_TOLD: Final = 5
_OUTCOMES: Final = {
    "taken": ("takes it", "badge-ok"),
    "later": ("asked later", ""),
    "method": ("other method", ""),
    "headers": ("header missing", ""),
    "path": ("does not fit", ""),
    "disabled": ("disabled", "badge-warn"),
}
Refusals = (engine.errors.RoutingError, RoutesError)


# --- Looking ------------------------------------------------------------------------------------------------------------


def services(request: HttpRequest) -> HttpResponse:
    """All services of the organisation, by slug."""
    hosts = hosts_by_slug(request.org)
    served = _served(request.org)
    rows = []
    for row in Service.objects.of(request.org).in_order():
        document = row.as_document()
        rows.append(
            {
                "row": row,
                "hosts": hosts.pop(row.slug, []),
                "paths": paths_counted(document),
                "upstreams": upstreams_in_short(document),
                "problem": "" if served.get(row.slug) == document else _value_of(row)[1],
            }
        )
    context = {
        "title": "Services",
        "rows": rows,
        "left": sorted(hosts.items()),
        "private_upstreams": request.org.private_upstreams,
        "is_installation": request.grant.is_installation,
    }
    return render(request, "services/list.html", context)


def _served(org: Organization) -> dict[str, dict[str, Any]]:
    """The services that are live, by slug, in the document's keys: read once for each version, and not with each page."""
    try:
        return {slug: value.to_dict() for slug, value in live(org).engine.services.items()}
    except engine.errors.DocumentRejected:
        return {}


def service(request: HttpRequest, id: str) -> HttpResponse:
    """One service: its hosts, its paths in the order in which they are asked, and which of them takes a request."""
    row = service_or_404(request, id)
    value, problem = _value_of(row)
    context: dict[str, Any] = {
        "title": row.slug,
        "row": row,
        "problem": problem,
        "hosts": hosts_of(request.org, row.slug),
        "prefix": f"/s/{request.org.slug}/{row.slug}/",
        "timeouts": timeouts_in_words(row.timeouts) if value else "",
        "methods": METHODS,
        "is_installation": request.grant.is_installation,
    }
    if value is not None:
        ranks = Counter(each.parts.rank for each in value.paths if each.enabled)
        context["table"] = [
            # Where another path is as specific, its place in the list decides.
            {"path": each, "number": number, "is_equal": each.enabled and ranks[each.parts.rank] > 1}
            for number, (_, each) in enumerate(in_order(value.paths), 1)
        ]
        context |= _tried(request, value)
    return render(request, "services/detail.html", context)


def _tried(request: HttpRequest, value: engine.Service) -> dict[str, Any]:
    """What became of the path that the address asks about, as somebody may have pasted it: with its host, its query, and
    the prefix of a gateway."""
    given = request.GET.get("path", "").strip()
    method = request.GET.get("method", "GET").strip().upper() or "GET"
    header = request.GET.get("header", "").strip()
    asked: dict[str, Any] = {"method": method, "path": given, "header": header}
    if not given:
        return {"asked": asked}
    path, _, query = given.partition("#")[0].partition("?")
    if path.startswith(("http://", "https://")):
        with suppress(ValueError):  # the engine says that it is no path
            path = urlsplit(path).path or "/"
    prefix = f"/s/{request.org.slug}/{value.slug}"
    if path == prefix or path.startswith(f"{prefix}/"):
        path = path.removeprefix(prefix) or "/"
    name, _, text = header.partition(":")
    sent = {name.strip(): text.strip()} if text.strip() else {}
    found = tried(value, method, path, sent)
    try:
        url = found.match.url(query) if found.match else ""
    except engine.errors.UnsafePath as error:
        found, url = replace(found, reason="unsafe_path", detail=str(error), match=None, steps=[]), ""
    placed = placement_found(request.org, method, found.match, sent) if found.match else None
    if placed is not None:
        url = placed.url(url) or ""
    steps = [
        {"step": step, "asked": asked_in_words(step.path.to_dict()), "said": _OUTCOMES[step.outcome]}
        for step in found.steps
    ]
    return {
        "asked": asked,
        "told": found,
        "tried_path": path,
        "url": url,
        "placed": placed,
        "params": list(found.match.params.items()) if found.match else [],
        "steps": steps,
    }


def service_or_404(request: HttpRequest, id: str) -> Service:
    try:
        return get_service(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


def _value_of(row: Service) -> tuple[engine.Service | None, str]:
    """The service as the engine reads it, or else what is wrong with its row."""
    try:
        return engine.Service.from_dict(row.as_document()), ""
    except engine.errors.InvalidRoute as error:
        return None, str(error)


# --- Writing ------------------------------------------------------------------------------------------------------------


def service_new(request: HttpRequest) -> HttpResponse:
    form, why = ServiceForm(request.POST if request.method == "POST" else None), Why(request)
    if request.method == "POST" and _is_complete(form, why):
        value = form.value()
        lookup = Lookup(names_in(value.to_dict()["paths"]))
        try:
            with why.bound():
                row, change = create_service(request.org, value, by=request.actor)
        except Refusals as error:
            _show(form, error)
        else:
            messages.success(request, f"The service “{row.slug}” is live as version {change.version}.")
            _warn(request, row, lookup)
            return redirect("admin:service", request.org.slug, row.slug)
    return _editor(request, form, why, title="New service")


def service_edit(request: HttpRequest, id: str) -> HttpResponse:
    row = service_or_404(request, id)
    why, more = Why(request), {}
    if request.method == "POST":
        form = ServiceForm(request.POST)
        if _is_complete(form, why):
            value = form.value()
            lookup = Lookup(names_in(value.to_dict()["paths"]))
            try:
                with why.bound():
                    row, change = update_service(
                        request.org, row.slug, value, by=request.actor, expected_revision=form.seen
                    )
            except StaleService as error:
                more = _what_they_did(error.row, form)
                form = ServiceForm(_with_revision(request, error.row.revision))
                form.is_valid()
                form.add_problem("Somebody changed this service after you opened it. Nothing of yours was saved yet.")
            except Refusals as error:
                _show(form, error)
            else:
                text = (
                    f"“{row.slug}” is live as version {change.version}." if change.changed else "Nothing was different."
                )
                messages.success(request, text)
                _warn(request, row, lookup)
                return redirect("admin:service", request.org.slug, row.slug)
    else:
        form = ServiceForm(service=_readable(row), revision=row.revision)
        more = {"problem": _value_of(row)[1]}
    return _editor(request, form, why, title=f"Edit {row.slug}", row=row, **more)


def service_delete(request: HttpRequest, id: str) -> HttpResponse:
    row = service_or_404(request, id)
    why = Why(request)
    if request.method == "POST" and why.is_acceptable():
        try:
            with why.bound():
                change = delete_service(
                    request.org, row.slug, by=request.actor, expected_revision=seen(request, "revision")
                )
        except Refusals as error:
            messages.error(request, str(error))
            return redirect("admin:service", request.org.slug, row.slug)
        messages.success(request, f"The service “{row.slug}” was deleted in version {change.version}.")
        return redirect("admin:services", request.org.slug)
    context = {
        "title": f"Delete the service “{row.slug}”?",
        "row": row,
        "line": line_of_service(row.as_document()),
        "paths": paths_counted(row.as_document()),
        "hosts": hosts_of(request.org, row.slug),
        "prefix": f"/s/{request.org.slug}/{row.slug}/",
        "why": why,
    }
    return render(request, "services/delete.html", context, status=422 if request.method == "POST" else 200)


def _is_complete(form: ServiceForm, why: Why) -> bool:
    is_valid = form.is_valid()
    return why.is_acceptable() and is_valid


def _editor(request: HttpRequest, form: ServiceForm, why: Why, **more: Any) -> HttpResponse:
    context = {"form": form, "why": why, **more}
    refused = form.errors or (request.method == "POST" and not why.is_acceptable())
    return render(request, "services/form.html", context, status=422 if refused else 200)


def _show(form: ServiceForm, error: Exception) -> None:
    """A refusal, at the fields that it is about."""
    if isinstance(error, engine.errors.InvalidRoute):
        for issue in error.issues:
            form.add_issue(issue)
    elif isinstance(error, SlugTaken):
        form.add_issue({"path": "slug", "code": error.code, "message": str(error)})
    else:
        form.add_problem(str(error))


def _with_revision(request: HttpRequest, revision: int) -> Any:
    data = request.POST.copy()
    data["revision"] = str(revision)
    return data


def _what_they_did(row: Service, form: ServiceForm) -> dict[str, Any]:
    was, now = published_service(row, form.seen), row.as_document()
    return {"now": line_of_service(now), "differences": differences_of_services(was, now) if was else []}


def _readable(row: Service) -> dict[str, Any]:
    """What a form can show of a row that somebody may have written by hand."""
    document = row.as_document()
    paths = document["paths"] if isinstance(document["paths"], list) else []
    timeouts = document["timeouts"] if isinstance(document["timeouts"], dict) else {}
    return {**document, "paths": [each for each in paths if isinstance(each, dict)], "timeouts": timeouts}


def _warn(request: HttpRequest, row: Service, lookup: Lookup) -> None:
    found = findings(lookup, row.as_document(), private_upstreams_of(request.org))
    told = list(dict.fromkeys(finding["message"] for finding in found))
    for text in told[:_TOLD]:
        messages.warning(request, text)
    if len(told) > _TOLD:
        messages.warning(request, f"{len(told) - _TOLD:,} more names of upstreams are as odd.")


# --- What installation staff gives ----------------------------------------------------------------------------------------


def service_hosts(request: HttpRequest, id: str) -> HttpResponse:
    """The hosts of a service, also of one that is not there at the moment."""
    try:
        was = hosts_of(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error
    form = LinesForm(
        request.POST if request.method == "POST" else None,
        initial={"lines": "\n".join(was), "seen": " ".join(was)},
        label="Hosts",
        help_text="One to a line, like api.example.com, without scheme and port. Point their DNS at your gateways.",
    )
    if request.method == "POST" and form.is_valid():
        given = form.given()
        try:
            hosts = read_hosts([line for _, line in given])
            seen_hosts = form.cleaned_data["seen"].split()
            receipt = set_hosts(request.org, id, hosts, by=request.actor, seen=seen_hosts)
        except engine.errors.InvalidRoute as error:
            form.add_invalid(error, given)
        except StaleHosts as error:
            now = ", ".join(error.hosts) or "none"
            form.add_error(None, f"Somebody changed the hosts after you opened this, to: {now}. Open it again.")
        except HostTaken as error:
            form.add_error("lines", str(error))
        except Refusals as error:
            form.add_error(None, str(error))
        else:
            text = f"Gateways learn of the hosts of “{id}” within seconds." if receipt else "Nothing was different."
            messages.success(request, text)
            return redirect("admin:services", request.org.slug)
    context = {
        "title": f"Hosts of {id}",
        "form": form,
        "about": "A gateway sends the requests for these hosts to this service. A host is of one service of the whole"
        " installation. This is no part of a version: to restore one changes no hosts.",
    }
    return render(request, "services/lines.html", context, status=422 if form.errors else 200)


def private_upstreams(request: HttpRequest) -> HttpResponse:
    was = request.org.private_upstreams
    form = LinesForm(
        request.POST if request.method == "POST" else None,
        initial={"lines": "\n".join(_line(each) for each in was), "seen": ",".join(_line(each) for each in was)},
        label="Networks and ports",
        help_text="One to a line, like 10.1.0.0/16 8080. Loopback, link-local, multicast and metadata addresses are never"
        " opened.",
    )
    if request.method == "POST" and form.is_valid():
        given = form.given()
        try:
            wanted = read_private_upstreams([_read_line(line) for _, line in given])
            seen_lines = [line for line in form.cleaned_data["seen"].split(",") if line]
            receipt = set_private_upstreams(
                request.org, wanted, by=request.actor, seen=[_read_line(line) for line in seen_lines]
            )
        except engine.errors.InvalidRoute as error:
            form.add_invalid(error, given)
        except Refusals as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Gateways learn of it within seconds." if receipt else "Nothing was different.")
            return redirect("admin:services", request.org.slug)
    context = {
        "title": "Private upstreams",
        "form": form,
        "about": f"Services of {request.org} may lead to public addresses, and to these. Gateways look at every address"
        " when they connect, so to take a network away stops what leads there.",
    }
    return render(request, "services/lines.html", context, status=422 if form.errors else 200)


def _line(each: dict[str, Any]) -> str:
    return f"{each['network']} {each['port']}"


def _read_line(line: str) -> dict[str, Any]:
    """A network and a port, as far as the line has them: what is wrong with it is told by whoever reads it."""
    network, _, port = line.replace(":", " ").rpartition(" ") if line.count(":") == 1 else line.rpartition(" ")
    is_port = port.isascii() and port.isdigit() and len(port) < 6
    return {"network": network.strip() or line, "port": int(port) if is_port else port}


services.required_role = "viewer"
service.required_role = "viewer"
service_new.required_role = "editor"
service_edit.required_role = "editor"
service_delete.required_role = "editor"
service_hosts.required_role = "installation"
private_upstreams.required_role = "installation"

PAGES = [
    path("services/", services, name="services"),
    # Not below `services/`: any word there is the slug of a service.
    path("new-service/", service_new, name="service_new"),
    path("private-upstreams/", private_upstreams, name="private_upstreams"),
    path("services/<slug:id>/", service, name="service"),
    path("services/<slug:id>/edit/", service_edit, name="service_edit"),
    path("services/<slug:id>/delete/", service_delete, name="service_delete"),
    path("services/<slug:id>/hosts/", service_hosts, name="service_hosts"),
]
