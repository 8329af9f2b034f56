"""Who calls: a key in the Authorization header, or the admin's session with its CSRF token."""

import re
from copy import copy
from typing import Any, Final

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from routes.orgs.keys import authenticate, note_use
from routes.orgs.models import ApiKey
from routing_admin.signin.errors import SessionOver
from routing_admin.signin.sessions import drop_dead, prolong, require_whole

_BEARER: Final = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE | re.ASCII)


def given_key(request: HttpRequest | Request) -> str | None:
    """The key in the Authorization header: "" where there is something else, None where there is nothing.

    Who counts calls and who lets them in both ask here, so that what is one key to this one is one to the other.
    """
    header = request.headers.get("Authorization", "").strip(" \t")
    found = _BEARER.fullmatch(header)
    return found[1] if found else "" if header else None


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rk_<kind>_<id>_<secret>`; `request.user` is the person who made the key."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        text = given_key(request)
        if text is None:
            return None
        key = authenticate(text) if text else None
        if key is None:
            raise exceptions.AuthenticationFailed("This key is unknown, expired or revoked.")
        note_use(key)
        return key.made_by, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The admin's session; unsafe methods need the CSRF token, and all of them the second factor where one is asked for."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        found: tuple[Any, None] | None = super().authenticate(request)
        if found is None:
            drop_dead(request._request)
            return None
        try:
            require_whole(request._request)
        except SessionOver as error:
            # As where the database has thrown it away: nobody is signed in.
            raise exceptions.AuthenticationFailed(str(error), error.code) from error
        prolong(request._request)
        return found

    def enforce_csrf(self, request: Request) -> None:
        """The token comes in the header. The stock check looks into the body first, which would be read before anybody
        asked who may, and be gone for whoever wants its bytes."""
        seen = copy(request._request)
        seen._post, seen._files = QueryDict(), MultiValueDict()
        super().enforce_csrf(seen)
