"""Second thoughts in a real browser: stale plans, times, reverts by force, frozen organisations, looser policies."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from plans.runs import services as plans
from plans.runs.models import PlanRun
from plans.runs.worker import run_next
from routes import engine
from routes.orgs.models import Organization
from routes.orgs.services import update_organization
from routes.rules.models import Route
from routes.rules.services import update_route
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import accessible, shot
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    a_route(org, "short ones")
    return org


def test_a_stale_plan_says_what_changed_and_is_made_again_in_one_step(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = projected(a_plan(org, name="Cheaper summaries"))
    row = Route.objects.of(org).get()
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    ada = visitor(a_person("ada", org, "approver"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    says(page, "The routes changed since this plan was made (version 1, now 2)")
    says(page, "priority 100")
    assert not page.get_by_role("link", name="Apply").count()
    accessible(page)
    shot(page, "plan-stale")
    ada.check()
    page.get_by_role("button", name="Make it again on today's routes").click()
    says(page, "The same plan on today's routes.")
    run_next()
    page.get_by_role("link", name="Apply …").click()  # the answer comes in place
    page.get_by_role("button", name="Apply: 1 route added").click()
    says(page, "Live as version 3")
    ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    says(page, "The same plan on newer routes: Cheaper summaries")
    ada.check()


def test_a_plan_is_approved_scheduled_moved_and_called_off(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = projected(a_plan(org))
    ada = visitor(a_person("ada", org, "approver"))
    plans.approve(plan, by=a_person("bea", org, "approver"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    page.get_by_role("link", name="Apply at a time …").click()
    page.get_by_label("Apply at (UTC)").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Schedule").click()
    says(page, "Choose a time to come, within a year.")
    at = timezone.now() + timedelta(days=1)
    page.get_by_label("Apply at (UTC)").fill(at.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Schedule").click()
    says(page, f"It is applied at {at:%Y-%m-%d %H:%M} UTC, for ada.")
    accessible(page)
    shot(page, "plan-scheduled")
    page.get_by_role("button", name="Call off").click()
    says(page, "Called off")
    ada.check()
    plans.schedule(PlanRun.objects.get(pk=plan.pk), at, by=a_person("carl", org, "approver"))
    PlanRun.objects.filter(pk=plan.pk).update(apply_at=timezone.now() - timedelta(seconds=1))
    a_route(org, "meanwhile")
    plans.apply_due()
    page.reload()
    says(page, "It was not applied at its time. stale_plan: The routes changed since")
    ada.check()


def test_a_draft_is_edited_and_the_second_of_two_people_loses_nothing(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = a_plan(org, name="Draft")
    ada = visitor(a_person("ada", org, "editor"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    page.get_by_role("link", name="Edit as JSON, or rename").click()
    page.get_by_label("Name").fill("Mine")
    plans.edit(plan, by=BY, name="Theirs")
    page.get_by_role("button", name="Save").click()
    says(page, "it is called “Theirs” and draft now. Your input is still below")
    assert page.get_by_label("Name").input_value() == "Mine"
    shot(page, "plan-edit")
    accessible(page)
    page.get_by_role("button", name="Save").click()
    says(page, "Start the replay")
    assert PlanRun.objects.get(pk=plan.pk).name == "Mine"
    page.get_by_role("button", name="Start the replay").click()
    says(page, "Waiting for the worker")
    ada.check()


def test_what_was_written_into_a_draft_that_was_queued_meanwhile_is_still_there(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = a_plan(org, name="Draft")
    ada = visitor(a_person("ada", org, "editor"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/edit/")
    page.get_by_label("Proposed routes").fill('[{"name": "typed for an hour", "then": {"target_model": "m"}}]')
    page.get_by_label("What the routes below do").select_option("replace")
    plans.project(plan, by=BY)
    page.get_by_role("button", name="Save").click()
    says(page, "Only its name and note can be changed any more")
    says(page, "typed for an hour")
    accessible(page)
    shot(page, "plan-edit-queued")
    page.get_by_label("Name").fill("Mine")
    page.get_by_role("button", name="Save").click()
    says(page, "Waiting for the worker")
    assert PlanRun.objects.get(pk=plan.pk).name == "Mine"
    ada.check()


def test_a_plan_that_is_not_what_was_approved_asks_for_a_new_approval(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = projected(a_plan(org))
    plans.approve(plan, by=a_person("bea", org, "approver"))
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")
    ada = visitor(a_person("ada", org, "approver"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    says(page, "This plan is not what bea approved. It needs a new approval.")
    assert not page.get_by_role("link", name="Apply").count()
    accessible(page)
    shot(page, "plan-void")
    page.get_by_role("link", name="Approve …").click()
    page.get_by_role("button", name="Approve").click()
    says(page, "Approved by ada")
    page.get_by_role("link", name="Apply …").click()
    page.get_by_role("button", name="Apply").click()
    says(page, "Live as version 2")
    ada.check()


def test_a_revert_that_would_overwrite_asks_for_a_reason(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    row = Route.objects.of(org).get(name="short to mini")
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    ada = visitor(a_person("ada", org, "approver"))
    page = ada.visit(f"/admin/o/acme/plans/{plan.pk}/")
    page.get_by_role("link", name="Revert …").click()
    says(page, "Changed again since: short to mini. That is overwritten.")
    accessible(page)
    shot(page, "plan-revert-conflict")
    page.get_by_label("Why").fill("The small model fails on invoices.")
    page.get_by_role("button", name="Revert nevertheless").click()
    says(page, "Reverted: version 4 is live.")
    ada.check()


def test_where_every_change_is_a_plan_a_direct_one_leads_to_its_draft(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    update_organization(org, approval="all", by=BY)
    ada = visitor(a_person("ada", org, "editor"))
    page = ada.visit("/admin/o/acme/routes/new/")
    page.get_by_label("Name").first.fill("eu")
    page.get_by_label("Send to model").fill("gpt-4o-mini")
    says(page, "Saving publishes nothing yet: it makes the draft of a plan, to be replayed.")
    accessible(page)
    shot(page, "route-as-a-plan")
    page.get_by_role("button", name="Save as a plan").click()
    says(page, "Your change is kept as a draft: “eu” was added, by ada.")
    says(page, "Start the replay")
    shot(page, "draft-of-a-direct-change")
    ada.check()


def test_freezing_is_told_on_every_page_and_refuses_a_save_without_losing_it(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    ada, bea = visitor(a_person("ada", org, "admin")), visitor(a_person("bea", org, "editor"))
    writing = bea.visit("/admin/o/acme/routes/new/")
    writing.get_by_label("Name").first.fill("eu")
    writing.get_by_label("Send to model").fill("gpt-4o-mini")
    page = ada.visit("/admin/o/acme/access/")
    page.get_by_label("Why").fill("The supplier's prices are being checked.")
    accessible(page)
    page.get_by_role("button", name="Freeze Acme").click()
    says(page, "Acme is frozen.")
    shot(page, "access-frozen")
    ada.check()
    writing.get_by_role("button", name="Save and publish").click()
    says(writing, "Nothing can be changed here: Acme is frozen by ada: The supplier's prices are being checked.")
    assert writing.get_by_label("Name").first.input_value() == "eu"
    assert "Frozen by ada" in writing.locator("body").inner_text()
    shot(writing, "route-refused-frozen")
    accessible(writing)
    page.get_by_role("button", name="Unfreeze").click()
    says(page, "Acme can be changed again.")
    writing.get_by_role("button", name="Save and publish").click()
    says(writing, "“eu” is live as version 2.")
    bea.check()


def test_a_looser_policy_takes_two_admins(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    update_organization(org, approval="plans", by=BY)
    ada, bea = visitor(a_person("ada", org, "admin")), visitor(a_person("bea", org, "admin"))
    page = ada.visit("/admin/o/acme/access/")
    page.get_by_label("Approval").select_option("none")
    page.get_by_role("button", name="Save policy").click()
    says(page, "That is a looser policy: it holds when another admin confirms it.")
    assert not page.get_by_role("button", name="Confirm").count()
    other = bea.visit("/admin/o/acme/access/")
    says(other, "ada proposed")
    accessible(other)
    shot(other, "access-looser-policy")
    other.get_by_role("button", name="Confirm").click()
    says(other, "Nobody has to approve.")
    assert Organization.objects.get(pk=org.pk).approval == "none"
    bea.check()
