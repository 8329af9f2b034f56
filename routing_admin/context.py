"""What every page shell shows: the navigation of the organisation one is in."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

#: The navigation: label, first page, names of its pages, and the role that it is for.
SECTIONS = (
    ("Overview", "home", ("home",), "viewer"),
    (
        "Routes",
        "routes",
        ("routes", "route_new", "route_edit", "route_delete", "route_bulk", "route_reorder", "routes_import"),
        "viewer",
    ),
    ("Try a request", "try", ("try",), "viewer"),
    ("History", "history", ("history", "history_compare", "history_restore"), "viewer"),
    ("Examples", "examples", ("examples", "example_new", "example_edit", "example_delete"), "viewer"),
    (
        "Plans",
        "plans",
        ("plans", "plan_new", "plan", "plan_edit", "plan_reject", "plan_schedule", "plan_revert"),
        "viewer",
    ),
    ("Audit", "audit", ("audit", "audit_verify"), "viewer"),
    ("Logs", "logs", ("logs", "logs_import"), "viewer"),
    ("Prices", "prices", ("prices", "prices_import"), "viewer"),
    ("Access", "access", ("access", "member_add", "key_create", "policy_change", "freeze"), "admin"),
)


def shell(request: HttpRequest) -> dict[str, Any]:
    """What the admin gives its own pages, and `org`, `role`, `sections`; nothing outside an organisation."""
    org = getattr(request, "org", None)
    role = getattr(request, "role", None)
    if org is None or role is None:
        return {}
    here = request.resolver_match.url_name if request.resolver_match else ""
    return {
        **admin.site.each_context(request),
        "org": org,
        "role": role,
        "sections": [
            {"label": label, "url_name": f"admin:{first}", "current": here in pages}
            for label, first, pages, needs in SECTIONS
            if role.includes(needs)
        ],
        "can_edit": role.includes("editor"),
        "can_approve": role.includes("approver"),
        "can_admin": role.includes("admin"),
    }
