"""What every page shell shows: the navigation of the organisation one is in."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from routes.orgs.models import Organization

#: So many other organisations can be gone to from any page; the rest from the first page.
OTHER_ORGS = 8
#: The navigation, in groups: label, icon, first page, the names of its pages, and the role that it is for.
SECTIONS = (
    (("Overview", "home", "home", ("home",), "viewer"),),
    (
        (
            "Routes",
            "routes",
            "routes",
            ("routes", "route_new", "route_edit", "route_delete", "route_bulk", "route_reorder", "routes_import"),
            "viewer",
        ),
        (
            "Services",
            "services",
            "services",
            (
                "services",
                "service",
                "service_new",
                "service_edit",
                "service_delete",
                "service_hosts",
                "private_upstreams",
            ),
            "viewer",
        ),
        ("Try a request", "try", "try", ("try",), "viewer"),
        ("Examples", "examples", "examples", ("examples", "example_new", "example_edit", "example_delete"), "viewer"),
        ("History", "history", "history", ("history", "history_compare", "history_restore"), "viewer"),
    ),
    (
        (
            "Plans",
            "plans",
            "plans",
            (
                "plans",
                "plan_new",
                "plan_new_json",
                "plan",
                "plan_edit",
                "plan_route_new",
                "plan_route",
                "plan_traffic",
                "plan_project",
                "plan_rebase",
                "plan_copy",
                "plan_approve",
                "plan_reject",
                "plan_cancel",
                "plan_schedule",
                "plan_apply",
                "plan_revert",
            ),
            "viewer",
        ),
        ("Logs", "logs", "logs", ("logs", "logs_import", "logged_request"), "viewer"),
        ("Prices", "prices", "prices", ("prices", "prices_import"), "viewer"),
    ),
    (
        ("Gateways", "gateways", "gateways", ("gateways",), "viewer"),
        (
            "Placements",
            "placements",
            "placements",
            (
                "placements",
                "placement_new",
                "placement_begin",
                "placement_cutover",
                "placement_complete",
                "placement_abort",
                "placement_remove",
            ),
            "viewer",
        ),
        ("Audit", "audit", "audit", ("audit", "audit_verify", "audit_redact"), "viewer"),
        ("Access", "access", "access", ("access", "member_add", "key_create", "policy_change", "freeze"), "admin"),
    ),
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
            [
                {"label": label, "icon": icon, "url_name": f"admin:{first}", "current": here in pages}
                for label, icon, first, pages, needs in group
                if role.includes(needs)
            ]
            for group in SECTIONS
        ],
        "other_orgs": Organization.objects.of_person(request.user).exclude(pk=org.pk)[:OTHER_ORGS],
        "can_edit": role.includes("editor"),
        "can_approve": role.includes("approver"),
        "can_admin": role.includes("admin"),
    }
