"""What Django itself refuses, told to programs as the API tells everything else: problems, where people get pages."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from routing_admin.errors import problem_body
from routing_admin.signin.reasons import to_login
from routing_admin.signin.views import checked_next

_AT = "/api/"
log = logging.getLogger(__name__)


@csrf_exempt
def nothing_here(request: HttpRequest, **_: Any) -> HttpResponse:
    """Below the API what no URL is; also with DEBUG, where Django would show its own page."""
    known = "" if request.path.endswith("/") else " The URLs of the API end with a slash."
    return _told(request, 404, "not_found", f"There is nothing here.{known}")


def read_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A view below the API that answers GET and HEAD, and others with 405, whatever token they lack."""

    @csrf_exempt
    @wraps(view)
    def reading(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        response = _told(request, 405, "method_not_allowed", "This is to be read: send GET.")
        response["Allow"] = "GET, HEAD"
        return response

    return reading


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 400, "bad_request", "The request cannot be read.", defaults.bad_request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "not_found", "There is nothing here.", _page, "404.html", 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "forbidden", "You may not do this.", _page, "403.html", 403)


def wrong_token(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Where a form lacks the CSRF token of the moment: whoever signs in gets another one."""
    if request.path == reverse("admin:login"):
        return to_login("outdated", then=checked_next(request))
    return _answer(request, 403, "forbidden", "The CSRF token is missing or wrong.", _page, "403_csrf.html", 403)


def _page(request: HttpRequest, template: str, status: int) -> HttpResponse:
    """With the header that all pages have: who is signed in, and the way out."""
    match = request.resolver_match
    is_of_org = match is not None and "org" in match.kwargs
    return render(request, template, {**admin.site.each_context(request), "is_of_org": is_of_org}, status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    detail = "Something went wrong here. It was noted; tell us the request_id."
    return _answer(request, 500, "internal_error", detail, defaults.server_error)


class Busy:
    """Middleware: a page for which the database was busy, or away, is refused with 503 and not an error of ours; the API
    says so itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError):
            return None
        log.warning("the database is busy or away: %s", type(error.__cause__ or error).__name__)
        return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": "2"})


def _answer(
    request: HttpRequest, status: int, code: str, detail: str, page: Callable[..., HttpResponse], *args: Any
) -> HttpResponse:
    return _told(request, status, code, detail) if request.path.startswith(_AT) else page(request, *args)


def _told(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    body = problem_body(request, status, code, detail)
    return JsonResponse(body, status=status, content_type="application/problem+json")
