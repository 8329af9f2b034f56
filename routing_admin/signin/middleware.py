"""No page by a session that is over, or without the second factor where one is asked for. The API asks in its
authentication, and answers a problem."""

from collections.abc import Callable

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from routing_admin.signin.sessions import Standing, drop_dead, prolong, standing


def second_factor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Leads whoever must set up a second factor there before any other page; ends sessions that are not whole any more."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if _is_api(request.path_info):
            return get_response(request)
        if not request.user.is_authenticated:
            drop_dead(request)
            return get_response(request)
        found = standing(request)
        if found in (Standing.STALE, Standing.OVER):
            logout(request)
            return redirect_to_login(request.get_full_path() if request.method == "GET" else reverse("admin:index"))
        prolong(request)
        if found is Standing.UNPROTECTED and request.path_info not in _open():
            return redirect("admin:factor_set_up")
        return get_response(request)

    return middleware


def _is_api(path: str) -> bool:
    """Not its documentation: a page, which names whoever is signed in."""
    return path.startswith("/api/") and not path.startswith("/api/docs/")


def _open() -> set[str]:
    """Setting it up, and going away; of going to the provider also, because its factor counts."""
    names = ("factor_set_up", "logout", "jsi18n", "provider_start", "provider_callback")
    return {reverse(f"admin:{name}") for name in names}
