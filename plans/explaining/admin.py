"""The page of one logged request: what was asked and served, and why it went there, then and now."""

import json
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from plans.explaining import words
from plans.explaining.services import Explained, Side, explained, get_logged, turned
from plans.logs.models import RequestLog
from routes.errors import NotFound
from routes.money import usd_text
from routes.requests import facts_of
from routes.rules.compared import compared
from routes.rules.explained import MOST, told
from routes.rules.forms import ExampleForm, RequestForm
from routes.rules.models import Route
from routes.rules.sentences import visible
from routes.versions.difference import Content, changes_between
from routes.versions.models import RouteSetVersion
from routes.versions.words import told as told_version

#: A body that is larger is not sent along to be tried: forms repeat it, with marks around it.
_MOST_BODY: Final = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 4
_KINDS: Final = {
    "primary": "first attempt",
    "fallback": "a further attempt",
    "shadow": "a copy, which nobody waited for",
}


@require_safe
def logged_request(request: HttpRequest) -> HttpResponse:
    """`?id=` any request id; without one, the form that asks for it. 404 for one that is not in the log."""
    given = request.GET.get("id", "")
    context: dict[str, Any] = {"title": "Why did it go there?", "id": given}
    if not given.strip():
        return render(request, "plans/logged.html", context)
    try:
        row = _found(request, given)
    except NotFound as error:
        return render(request, "plans/logged.html", {**context, "problem": str(error)}, status=404)
    most = None if "all" in request.GET else MOST
    return render(request, "plans/logged.html", {**context, **_page(request, row, most)})


def _found(request: HttpRequest, given: str) -> RequestLog:
    """As it was given; else without the spaces around it, which come with what is pasted."""
    try:
        return get_logged(request.org, given)
    except NotFound:
        if given == given.strip():
            raise
        return get_logged(request.org, given.strip())


def _page(request: HttpRequest, row: RequestLog, most: int | None) -> dict[str, Any]:
    org = request.org
    found = explained(org, row)
    then, now = found.then, found.now
    uids = {decision.route_id for decision in (then.decision, now.decision) if decision is not None}
    uids |= {None if row.matched_route_id is None else str(row.matched_route_id)}
    revisions = {
        str(uid): revision
        for uid, revision in Route.objects.of(org).filter(uid__in=uids - {None}).values_list("uid", "revision")
    }

    def turning(uid: str, present: bool) -> tuple[int, int]:
        def holds(content: Content) -> bool:
            return any(route["id"] == uid for route in content["routes"]) is present

        return turned(org, then.version, now.version, holds)

    same = words.is_same(found)
    changes = []
    if same is False:
        changes = [
            one
            for one in changes_between(then.content, now.content)
            if one["route_id"] in uids and "service" not in one
        ]
        changes = compared(then.content, now.content, changes=changes)
    published = RouteSetVersion.objects.of(org).brief().filter(version=then.version).first()
    everything = reverse("admin:logged_request", args=[org.slug]) + "?" + urlencode({"id": row.request_id, "all": 1})
    left_out = _left_out(request, row)
    return {
        "row": row,
        "is_found": True,
        "asked": _asked(found),
        "served": _served(found),
        "facts": _facts(found),
        "taker": _taker(found, turning),
        "then": _side(found, then, most),
        "now": _side(found, now, most),
        "headline_then": words.headline_then(found),
        "headline_now": words.headline_now(found),
        "is_same": same,
        "is_version_logged": found.is_version_logged,
        "published": None if published is None else told_version(published),
        "reasons": words.reasons(found, turning, revisions),
        "changes": changes,
        "disagreements": words.disagreements(found),
        "doubts": words.doubts(found),
        "not_kept": words.not_kept(found),
        "at_this_moment": words.at_this_moment(found),
        "attempts": found.attempts,
        "all_url": everything if most is not None else "",
        "fields": _hidden(found, with_text=row.body is not None and not left_out),
        "force": found.force,
        "left_out": left_out,
    }


def _side(found: Explained, side: Side, most: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"version": side.version, "problem": side.problem}
    if side.explanation is not None:
        past = side is found.then
        shown["told"] = told(
            side.explanation,
            found.row.requested_model,
            side.content["routes"],
            past=past,
            opened=side.left_open,
            most=most,
        )
    return shown


def _taker(found: Explained, turning: words.Turned) -> dict[str, Any] | None:
    """The route that took it by the log: where it is now, or when it went."""
    if found.row.matched_route_id is None:
        return None
    uid = str(found.row.matched_route_id)
    live = found.now.route(uid)
    shown: dict[str, Any] = {"uid": uid, "name": found.route_name, "is_live": live is not None}
    if live is None and found.then.route(uid) is not None:
        older, newer = turning(uid, False)
        shown["gone"] = words.between(older, newer)
    elif live is not None and (was := found.then.route(uid)) is not None and was["name"] != live["name"]:
        shown |= {"name": was["name"], "renamed": live["name"]}
    return shown


def _left_out(request: HttpRequest, row: RequestLog) -> str:
    """Why the text of a request is not handed on to be tried; "" where it is, or there is none."""
    if row.body is None:
        return ""
    if not request.role.includes("editor"):
        return "Without its text, which editors see."
    return "Without its text, which is too long." if len(json.dumps(row.body)) > _MOST_BODY else ""


def _hidden(found: Explained, *, with_text: bool) -> list[Any]:
    """The fields of the form that tries a request, filled with this one's facts."""
    asked: dict[str, Any] = {"context": facts_of(found.context)}
    asked["context"].pop("prompt", None)
    if with_text:
        asked["chat"] = found.row.body
    form = RequestForm(initial=ExampleForm.initial_of(asked, {}), auto_id=False)
    return [form[name] for name in form.fields if form[name].value() not in (None, "", [], {})]


# --- The row in words -------------------------------------------------------------------------------------------------


def _said(found: Explained, *columns: tuple[str, str, Any]) -> list[dict[str, Any]]:
    """What says something of (column, label, words), with whether it was made up."""
    return [
        {"column": column, "label": label, "text": text, "is_invented": column in found.row.synthetic}
        for column, label, text in columns
        if text not in (None, "")
    ]


def _asked(found: Explained) -> list[dict[str, Any]]:
    row = found.row
    return _said(
        found,
        ("ts", "When", f"{row.ts:%Y-%m-%d %H:%M:%S.%f} UTC"),
        ("requested_model", "Model that was asked for", row.requested_model),
        ("tag", "Tag", None if row.tag is None else visible(row.tag)),
        ("input_tokens", "Input", _many(row.input_tokens, "token")),
        ("max_output_tokens", "Output at most", _many(row.max_output_tokens, "token")),
        ("has_images", "Images", _yes(row.has_images)),
        ("has_audio", "Audio", _yes(row.has_audio)),
        ("has_documents", "Documents", _yes(row.has_documents)),
        ("has_tools", "Tools", _yes(row.has_tools)),
        ("is_stream", "Streamed", _yes(row.is_stream)),
        ("cluster_key", "User, session or key", row.cluster_key),
        ("metadata", "Metadata", _pairs(row.metadata)),
    )


def _served(found: Explained) -> list[dict[str, Any]]:
    row = found.row
    cached = "yes" + (f", by the layer {row.cache_layer}" if row.cache_layer else "") if row.cached else "no"
    return _said(
        found,
        ("model", "Model that served", row.model),
        ("provider", "Provider", row.provider),
        ("kind", "Attempt", _KINDS.get(row.kind, row.kind)),
        ("status", "Status", f"{row.status}, {'failed' if row.status >= 400 else 'good'}"),
        ("finish_reason", "Ended because of", row.finish_reason),
        ("output_tokens", "Output", _many(row.output_tokens, "token")),
        ("cached_tokens", "Input read from the provider's cache", _many(row.cached_tokens or None, "token")),
        ("cost_usd", "Paid", None if row.cost_usd is None else usd_text(row.cost_usd)),
        (
            "baseline_cost_usd",
            "Without routing",
            None if row.baseline_cost_usd is None else usd_text(row.baseline_cost_usd),
        ),
        ("latency_ms", "Answered within", _milliseconds(row.latency_ms)),
        ("upstream_latency_ms", "Of this, the provider", _milliseconds(row.upstream_latency_ms)),
        ("cached", "From the gateway's cache", cached),
        ("variant", "Variant of a split", row.variant),
        ("request_digest", "Digest of the request", row.request_digest),
    )


def _facts(found: Explained) -> list[dict[str, Any]]:
    """What the gateway decided on beside that, where it was kept."""
    row = found.row
    cost = row.fact_estimated_cost_usd
    return _said(
        found,
        ("fact_input_tokens", "Input, as counted before", _many(row.fact_input_tokens, "token")),
        ("fact_estimated_cost_usd", "Estimated cost", None if cost is None else f"${cost.normalize():f}"),
        ("fact_upstream_latency_ms_p95", "Upstream p95 latency", _milliseconds(row.fact_upstream_latency_ms_p95)),
        ("fact_sticky_key", "Sticky key (a hash)", row.fact_sticky_key),
    )


def _many(number: int | None, noun: str) -> str | None:
    return None if number is None else f"{number:,} {noun}{'' if number == 1 else 's'}"


def _milliseconds(number: int | None) -> str | None:
    return None if number is None else f"{number:,} ms"


def _yes(flag: bool | None) -> str | None:
    return None if flag is None else "yes" if flag else "no"


def _pairs(metadata: Any) -> str | None:
    if not isinstance(metadata, dict):
        return None if metadata is None else json.dumps(metadata, ensure_ascii=False)
    pairs = (
        f"{name} = {value if isinstance(value, str) else json.dumps(value)}" for name, value in sorted(metadata.items())
    )
    return ", ".join(pairs) or "none"


logged_request.required_role = "viewer"
PAGES = [path("logs/request/", logged_request, name="logged_request")]
