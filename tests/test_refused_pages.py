"""What the services refuse, the admin's pages refuse too: in a frozen organisation every form, and plans that may not be
approved or applied."""

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib import admin
from django.db import OperationalError, transaction
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry, AuditHead
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from tests.build import (
    BY,
    a_person,
    a_placement,
    a_plan,
    a_route,
    a_service,
    an_example,
    projected,
    state_of,
    traffic,
    usual_prices,
)

pytestmark = pytest.mark.django_db
WHY = "frozen by test: audit of prices"
ROUTE = {"name": "new", "priority": "100", "enabled": "on", "kind": "send", "target_model": "m"}
PLACE = {"cluster": "us", "resource": "orders", "endpoint": "https://us.example"}
SERVICE = {"slug": "users", "row": "0", "path-0-pattern": "/a", "path-0-target_url": "https://a.example"}
#: Pages that only show, or change nothing of the organisation.
READ = {
    "home", "routes", "services", "service", "routes_export", "try", "history", "history_compare", "examples", "plans",
    "plan", "audit",
    "audit_verify", "logs", "prices", "access", "find", "gateways", "plan_progress", "plan_windows", "plans_seen",
    "route_hits", "route_attention", "logged_request", "logs_week", "placements",
    "route_matching", "route_matching_of", "route_preview", "route_preview_of",
}  # fmt: skip
#: What is shown before it is done, in a second form: tests of their own.
TWICE = {"prices_import", "routes_import"}
#: What goes on in a frozen organisation: logs come in, rights are taken away, and it is unfrozen.
GOES_ON = {"logs_import", "key_revoke", "freeze", "unfreeze"}


@pytest.fixture
def ready(org: Organization) -> dict[str, Any]:
    """An organisation with one of everything, and the ids of what there is."""
    usual_prices()
    traffic(org)
    person = a_person("carl", org)
    # One that does not hold anyway is in nobody's way.
    example = an_example(org, expected={"target_model": "nobody's"})
    found = {"route": a_route(org).uid, "example": example.uid, "member": org.memberships.get(user=person).pk}
    for phase in ("settled", "draining", "cutover"):
        a_placement(org, phase, phase)
    a_service(org)  # version 2, after which no plan is stale
    found["draft"] = a_plan(org).pk
    found["applied"] = plans_applied(org)
    found["projected"] = projected(a_plan(org, routes=[])).pk
    approved = projected(a_plan(org, routes=[]))
    plans.approve(approved, by=a_person("bea", org, "approver"))
    return found | {"approved": approved.pk, "log": AuditHead.objects.get(org_id=org.pk).log}


def plans_applied(org: Organization) -> Any:
    applied = projected(a_plan(org, routes=[]))
    plans.apply(applied, by=BY)
    return applied.pk


@pytest.fixture
def staff(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("ada", org, "admin", is_superuser=True))
    return client


def forms(ids: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """By the name of its page: where a form is sent, and what it says; each would be accepted."""
    soon = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    plan = {
        "name": "p",
        "mode": "merge",
        "routes": json.dumps([]),
        "window_start": "2026-05-01T00:00",
        "window_end": "2026-05-02T00:00",
    }
    return {
        "route_new": ("routes/new/", {**ROUTE, "target_model": "gpt-4o"}),
        "route_edit": (
            f"routes/{ids['route']}/",
            {**ROUTE, "name": "other", "target_model": "gpt-4o", "revision": "1"},
        ),
        "route_delete": (f"routes/{ids['route']}/delete/", {"revision": "1"}),
        "route_pause": (f"routes/{ids['route']}/pause/", {"revision": "1"}),
        "route_resume": (f"routes/{ids['route']}/resume/", {"revision": "1"}),
        "route_bulk": ("routes/bulk/", {"version": "2", "do": "disable", "ids": ids["route"], "sure": "1"}),
        "route_reorder": ("routes/reorder/", {"version": "2", "order": ids["route"]}),
        "history_restore": ("history/1/restore/", {"seen": "1", "note": ""}),
        "service_new": ("new-service/", {**SERVICE, "slug": "new"}),
        "service_edit": ("services/users/edit/", {**SERVICE, "revision": "2"}),
        "service_delete": ("services/users/delete/", {"revision": "2"}),
        "service_hosts": ("services/users/hosts/", {"lines": "a.example", "seen": ""}),
        "private_upstreams": ("private-upstreams/", {"lines": "10.1.0.0/16 8080", "seen": ""}),
        "example_new": ("examples/new/", {"name": "e", "tag": "x", "expected_model": "m"}),
        "example_edit": (
            f"examples/{ids['example']}/",
            {"name": "e", "tag": "x", "expected_model": "m", "revision": "1"},
        ),
        "example_delete": (f"examples/{ids['example']}/delete/", {"revision": "1"}),
        "route_default": ("routes/default/", {"kind": "send", "target_model": "gpt-4o"}),
        "plan_new": ("plans/new/", {"name": "p"}),
        "plan_new_json": ("plans/new/json/", plan),
        "plan_traffic": (f"plans/{ids['draft']}/traffic/", {"window": "day"}),
        "plan_route_new": (f"plans/{ids['draft']}/routes/new/", ROUTE),
        "plan_route": (f"plans/{ids['draft']}/routes/{ids['route']}/", {**ROUTE, "name": "other"}),
        **{
            f"plan_route_{act}": (f"plans/{ids['draft']}/routes/{ids['route']}/{act}/", {})
            for act in ("pause", "resume", "remove", "put_back")
        },
        "plan_edit": (f"plans/{ids['draft']}/edit/", plan),
        "plan_project": (f"plans/{ids['draft']}/project/", {}),
        "plan_rebase": (f"plans/{ids['projected']}/rebase/", {}),
        "plan_copy": (f"plans/{ids['projected']}/copy/", {}),
        "plan_approve": (f"plans/{ids['projected']}/approve/", {}),
        "plan_reject": (f"plans/{ids['projected']}/reject/", {"reject-reason": "no"}),
        "plan_cancel": (f"plans/{ids['projected']}/cancel/", {}),
        "plan_schedule": (f"plans/{ids['approved']}/schedule/", {"schedule-apply_at": soon}),
        "plan_apply": (f"plans/{ids['projected']}/apply/", {}),
        "plan_revert": (f"plans/{ids['applied']}/revert/", {}),
        "placement_new": ("placements/new/", {"partition": "other", **PLACE}),
        "placement_begin": ("placements/settled/begin/", {"epoch": "1", "drain_seconds": "30", **PLACE}),
        "placement_cutover": ("placements/draining/cutover/", {"epoch": "3"}),
        "placement_complete": ("placements/cutover/complete/", {"epoch": "6"}),
        "placement_abort": ("placements/draining/abort/", {"epoch": "3"}),
        "placement_remove": ("placements/settled/remove/", {"epoch": "1"}),
        "audit_redact": (f"audit/0/redact/?log={ids['log']}", {"reason": "A name."}),
        "member_add": ("access/members/", {"member-username": "dora", "member-role": "viewer"}),
        "member_change": (f"access/members/{ids['member']}/", {"role": "editor"}),
        "key_create": ("access/keys/", {"key-name": "k", "key-kind": "gateway"}),
        "organization_change": ("access/organization/", {"names-name": "Other"}),
        "policy_change": ("access/policy/", {"policy-approval": "all"}),
        "approval_decide": ("access/policy/proposed/", {"do": "withdraw", "approval": "none"}),
    }


def test_every_form_of_a_frozen_organisation_is_refused_and_says_why(
    org: Organization, ready: dict[str, Any], staff: Client
) -> None:
    a_person("dora")
    freeze(org, reason="audit of prices", by=BY)
    pages = next(pattern for pattern in admin.site.get_urls() if str(pattern.pattern).startswith("o/"))
    known = forms(ready)
    assert {pattern.name for pattern in pages.url_patterns} - READ - GOES_ON - TWICE == known.keys()
    before = state_of(org)
    for name, (path, form) in known.items():
        page = staff.post(f"/admin/o/acme/{path}", form, follow=True).content.decode()
        assert WHY in page, name
        assert state_of(org) == before, name


def test_each_of_these_forms_is_accepted_once_it_is_unfrozen(
    org: Organization, ready: dict[str, Any], staff: Client
) -> None:
    """Else the test above would show nothing."""
    a_person("dora")
    before = AuditEntry.objects.count()
    for name, (path, form) in forms(ready).items():
        if name in ("approval_decide", "route_resume", "route_reorder", "history_restore"):
            continue  # there is nothing to decide, to resume, to reorder or to bring back
        if name in ("plan_route_resume", "plan_route_put_back"):
            continue  # nor in the plan
        with transaction.atomic():
            answer = staff.post(f"/admin/o/acme/{path}", form)
            assert answer.status_code in (200, 302), (name, answer.content.decode())
            assert AuditEntry.objects.count() > before, name
            transaction.set_rollback(True)


def test_a_page_for_which_the_database_is_busy_is_a_503_and_no_error_of_ours(
    org: Organization, ready: dict[str, Any], staff: Client
) -> None:
    with patch("plans.runs.applying.publish", side_effect=OperationalError("lock timeout")):
        answer = staff.post(f"/admin/o/acme/plans/{ready['projected']}/apply/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert "what you wrote is still there" in answer.content.decode()


def test_nobody_approves_their_own_plan_on_its_page(org: Organization) -> None:
    usual_prices()
    traffic(org)
    ada = a_person("ada", org, "approver")
    client = Client()
    client.force_login(ada)
    plan = projected(a_plan(org, by=ada))
    page = client.post(f"/admin/o/acme/plans/{plan.pk}/approve/", follow=True).content.decode()
    assert "You made this plan; ask somebody else to approve it." in page
    assert create_key(org, name="k", role="approver", by=ada).key.made_by == ada
    assert PlanRun.objects.get(pk=plan.pk).state == "projected"


def test_a_voided_approval_is_not_applied_on_the_page_either(org: Organization, staff: Client) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    plans.approve(plan, by=a_person("bea", org, "approver"))
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")
    page = staff.post(f"/admin/o/acme/plans/{plan.pk}/apply/", follow=True).content.decode()
    assert "This plan is not what was approved. Ask for a new approval." in page
    assert PlanRun.objects.get(pk=plan.pk).state == "approved"
