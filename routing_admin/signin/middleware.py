"""No page by a session that is over, or without the second factor where one is asked for. The API asks in its
authentication, and answers a problem."""

from collections.abc import Callable

from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from routing_admin.signin.reasons import back_to, to_login
from routing_admin.signin.sessions import Standing, drop_dead, prolong, standing


def second_factor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Leads whoever must set up a second factor there before any other page; ends sessions that are not whole any more."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if _is_api(request.path_info):
            return get_response(request)
        if not request.user.is_authenticated:
            had_session = drop_dead(request)
            response = get_response(request)
            return _with_reason(request, response, had_session=had_session)
        found = standing(request)
        if found in (Standing.STALE, Standing.OVER):
            logout(request)
            return to_login("over" if _is_read(request) else "unsaved", then=back_to(request))
        prolong(request)
        if found is Standing.UNPROTECTED and request.path_info not in _open():
            return redirect("admin:factor_set_up")
        return get_response(request)

    return middleware


def _with_reason(request: HttpRequest, response: HttpResponse, *, had_session: bool) -> HttpResponse:
    """The answer; of one that leads to the login page, because the page was for who is signed in, one that says why."""
    to_sign_in = f"{reverse('admin:login')}?{REDIRECT_FIELD_NAME}="
    if response.status_code != 302 or not response["Location"].startswith(to_sign_in):
        return response
    if _is_read(request):
        return to_login("over", then=back_to(request)) if had_session else response
    # The browser has thrown the session away by now, and whoever sends something had a page.
    return to_login("unsaved", then=back_to(request))


def _is_read(request: HttpRequest) -> bool:
    return request.method in ("GET", "HEAD")


def _is_api(path: str) -> bool:
    """Not its documentation: a page, which names whoever is signed in."""
    return path.startswith("/api/") and not path.startswith("/api/docs/")


def _open() -> set[str]:
    """Setting it up, and going away; of going to the provider also, because its factor counts."""
    names = ("factor_set_up", "logout", "jsi18n", "provider_start", "provider_callback")
    return {reverse(f"admin:{name}") for name in names}
