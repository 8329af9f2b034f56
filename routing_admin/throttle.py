"""How often the API may be called: by one credential, by one address, and with credentials that are none. And how often
signing in may be tried from one address.

In front of everything that asks the database, so that a flood costs little.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from routes.rates import count, counted
from routing_admin.addresses import client_address
from routing_admin.errors import problem_body
from routing_admin.rest.authentication import given_key

WINDOW_SECONDS: Final = 60
#: So long a key is remembered that was one.
_KNOWN_SECONDS: Final = 600
_AT: Final = "/api/"
#: How keys of gateways begin.
_GATEWAY: Final = "rk_gateway_"
#: Who begins a sign-in at the OpenID provider, or comes back, needs no account, and each time a session is stored.
_SIGN_IN: Final = "/admin/login/provider/"
#: Where passwords and codes are sent.
_DOORS: Final = frozenset({"/admin/login/", "/admin/login/code/"})
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Count:
    """Calls within the present window."""

    policy: str
    most: int
    calls: int
    seconds_left: int

    @property
    def is_over(self) -> bool:
        return self.calls > self.most

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has them."""
        left = max(0, self.most - self.calls)
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.most};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={left};t={self.seconds_left}',
        }


def throttle(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuses calls of the API beyond the rates with 429, and tells all others how many are left."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(_AT):
            return get_response(request)
        address = client_address(request) or ""
        given = given_key(request)
        if given is not None:
            guesses = _seen("guesses", address, settings.API_RATE_GUESSES)
            if guesses.calls >= guesses.most and not (given and cache.get(_known(given))):
                return _refused(request, guesses, "Too many calls with keys that are none came from here.")
        session = request.COOKIES.get(settings.SESSION_COOKIE_NAME) if given is None else None
        # One that nobody signed in with is counted by its address alone: anybody makes up as many as the cache holds.
        credential = given or (session if session and cache.get(_known(session)) else None)
        if given and given.startswith(_GATEWAY) and cache.get(_known(given)):
            # It asks about placements for each request that it serves, which is no flood.
            counts = [_counted("gateway", given, settings.API_RATE_GATEWAY)]
        else:
            counts = [_counted("address", address, settings.API_RATE_ADDRESS)]
            if credential:
                counts.append(_counted("credential", credential, settings.API_RATE_CREDENTIAL))
        tightest = min(counts, key=lambda count: count.most - count.calls)
        if tightest.is_over:
            return _refused(request, tightest, "Too many calls.")
        response = get_response(request)
        if given is not None and response.status_code == 401:
            _counted("guesses", address, settings.API_RATE_GUESSES)
        elif given and getattr(request, "auth", None) is not None:
            cache.set(_known(given), True, timeout=_KNOWN_SECONDS)
        elif session and getattr(request, "actor", None) is not None:
            cache.set(_known(session), True, timeout=_KNOWN_SECONDS)
        for name, value in tightest.headers().items():
            response[name] = value
        return response

    return middleware


def throttle_sign_ins(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuses too many sign-ins from one address: those that begin or end at the provider, and passwords and codes after
    too many that were wrong, whosever. Inside what gives pages their policy, because it answers with one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        address = client_address(request) or ""
        if request.path_info.startswith(_SIGN_IN):
            begun = _counted("sign-ins", address, settings.SIGN_IN_RATE)
            return _refused_in_words(request, begun) if begun.is_over else get_response(request)
        if request.method != "POST" or request.path_info not in _DOORS:
            return get_response(request)
        failed = _seen("failures", address, settings.SIGN_IN_FAILURE_RATE)
        if failed.calls >= failed.most:
            return _refused_in_words(request, failed)
        response = get_response(request)
        # Who gets in is led on, and so is who came too late.
        if response.status_code != 302 and _counted("failures", address, failed.most).calls == failed.most:
            log.warning("too many sign-ins failed from one address", extra={"address": address})
        return response

    return middleware


def _known(credential: str) -> str:
    """Where it is noted that this was a key or a session, so that who shares an address with a guesser goes on. Whether
    it still is one, is asked at every call."""
    return f"throttle:known:{_digest(credential)}"


def _seen(policy: str, who: str, most: int) -> _Count:
    return _Count(policy, most, *counted(_of(policy, who), WINDOW_SECONDS))


def _counted(policy: str, who: str, most: int) -> _Count:
    return _Count(policy, most, *count(_of(policy, who), WINDOW_SECONDS))


def _of(policy: str, who: str) -> str:
    """The cache need not know anybody's key."""
    return f"{policy}:{_digest(who)}"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _refused(request: HttpRequest, count: _Count, why: str) -> HttpResponse:
    detail = f"{why} Ask again in {count.seconds_left} s."
    body = problem_body(request, 429, "throttled", detail)
    headers = {"Retry-After": str(count.seconds_left), **count.headers()}
    return JsonResponse(body, status=429, headers=headers, content_type="application/problem+json")


def _refused_in_words(request: HttpRequest, count: _Count) -> HttpResponse:
    page = render(request, "signin/throttled.html", {"seconds": count.seconds_left}, status=429)
    page["Retry-After"] = str(count.seconds_left)
    return page
