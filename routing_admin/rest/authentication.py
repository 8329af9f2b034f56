"""Who calls: a key in the Authorization header, or the admin's session with its CSRF token."""

from copy import copy
from typing import Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from routes.orgs.keys import authenticate, note_use
from routes.orgs.models import ApiKey
from routing_admin.signin.errors import SessionOver
from routing_admin.signin.sessions import drop_dead, prolong, require_whole


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rk_<kind>_<id>_<secret>`; `request.user` is the person who made the key."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        key = authenticate(text.strip()) if scheme.lower() == "bearer" else None
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
