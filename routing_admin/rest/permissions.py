"""May they: the one check in front of every view of the API. Without a stated role a view is closed."""

from typing import Any

from rest_framework import exceptions, permissions
from rest_framework.request import Request

from routes.orgs.access import find_org, role_of
from routes.orgs.models import ApiKey


class HasRole(permissions.BasePermission):
    """Finds the organisation of the URL and compares the caller's role with the view's `required_role`.

    A view states `required_role` as a role, or as a dict from method to role. Sets `request.org`, `request.actor`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            raise exceptions.NotAuthenticated("Send an API key (Authorization: Bearer …) or sign in.")
        key = request.auth if isinstance(request.auth, ApiKey) else None
        org = find_org(view.kwargs["org"], request.user, key)  # 404 for unknown and foreign alike
        required = getattr(view, "required_role", None)
        if isinstance(required, dict):
            required = required.get(request.method)
            if required is None:
                raise exceptions.MethodNotAllowed(request.method or "")
        own = role_of(request.user, org, key)
        if required is None or own is None or not own.includes(required):
            raise exceptions.PermissionDenied(f"You are {own} here; this needs {required}.")
        # On Django's request too: that is the one which pages and middleware see.
        request.org = request._request.org = org  # type: ignore[attr-defined]
        request.actor = request._request.actor = key or request.user  # type: ignore[attr-defined]
        return True
