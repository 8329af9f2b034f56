"""May they: the one check in front of every view of the API. Without a stated need a view is closed."""

from typing import Any

from rest_framework import exceptions, permissions
from rest_framework.request import Request

from routes.orgs.access import grant_in, grant_outside
from routes.orgs.models import ApiKey


class IsGranted(permissions.BasePermission):
    """Finds the organisation of the URL, if it names one, and compares what the caller may do with what the view needs.

    A view states `required_role`: by method what it needs, see `Grant.may`; whoever may read also learns that an object
    is not there, for which the view may have `find(request)`, which raises then. The checks come in the order 401, 404,
    405, 403, 406. Sets `request.org`, `request.actor`, `request.grant`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            raise exceptions.NotAuthenticated("Send an API key (Authorization: Bearer …) or sign in.")
        key = request.auth if isinstance(request.auth, ApiKey) else None
        ref = view.kwargs.get("org")
        grant = grant_outside(request.user, key) if ref is None else grant_in(ref, request.user, key)
        # On Django's request too: that is the one which pages and middleware see.
        for seen in (request, request._request):
            seen.org, seen.actor, seen.grant = grant.org, key or request.user, grant
        needed: dict[str, str | tuple[str, ...]] = getattr(view, "required_role", {})
        method = "GET" if request.method == "HEAD" else request.method or ""
        if method not in needed:
            raise exceptions.MethodNotAllowed(method)
        if (find := getattr(view, "find", None)) is not None and grant.may(needed.get("GET", "viewer")):
            find(request)
        if not grant.may(needed[method]):
            raise exceptions.PermissionDenied(f"You are {grant} here; this needs {_in_words(needed[method])}.")
        if (error := getattr(request, "not_acceptable", None)) is not None:
            raise error
        return True


def _in_words(needs: str | tuple[str, ...]) -> str:
    names = {
        "gateway": "a gateway's key",
        "installation": "installation staff",
        "anybody": "a person or a person's key",
    }
    return " or ".join(names.get(need, need) for need in ([needs] if isinstance(needs, str) else needs))
