"""Freezing an organisation, and how loose its approval may be: decided by two, kept at every door."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import transaction
from django.test import Client

from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs.errors import InvalidPlan
from plans.runs.models import PlanRun
from routes import engine
from routes.catalog.services import import_prices
from routes.document import document_of
from routes.errors import OrganizationFrozen
from routes.orgs import policy
from routes.orgs.keys import create_key, revoke_key
from routes.orgs.members import add_member, change_role, get_member, remove_member
from routes.orgs.models import Organization
from routes.orgs.services import StaleOrganization, update_organization
from routes.publish import DirectWrite
from routes.rules.models import Route
from routes.rules.services import create_route, delete_route, set_default, update_route
from tests.build import BY, START, a_person, a_plan, a_route, an_org, projected, state_of, traffic, usual_prices
from tests.routes.catalog.build import own, own_list

pytestmark = pytest.mark.django_db
NEW = engine.NewRoute.from_dict({"name": "new", "then": {"target_model": "gpt-4o-mini"}})


@pytest.fixture
def admins(org: Organization) -> tuple[Any, Any]:
    return a_person("ada", org, "admin"), a_person("bea", org, "admin")


def policy_of(org: Organization) -> tuple[str, str]:
    row = Organization.objects.get(pk=org.pk)
    return row.approval, row.approval_proposed


def last_entry(org: Organization) -> tuple[str, dict[str, Any]]:
    row = AuditEntry.objects.of(org.pk).order_by("-seq")[0]
    return row.action, payload_of(row) or {}


# --- Frozen -----------------------------------------------------------------------------------------------------------


def test_nothing_of_a_frozen_organisation_is_changed_and_the_refusal_says_who_froze_it_and_why(
    org: Organization, admins: Any
) -> None:
    row, person = a_route(org), a_person("carl", org)
    member = get_member(org, person.pk)
    set_default(org, engine.Action(target_model="m"), by=BY)
    assert policy.freeze(org, reason="prices are being checked", by=admins[0]) is not None
    before = state_of(org)
    changes: list[Callable[[], Any]] = [
        lambda: create_route(org, NEW, by=BY),
        lambda: update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 3}), by=BY),
        lambda: delete_route(org, row.uid, by=BY),
        lambda: set_default(org, None, by=BY),
        lambda: add_member(org, a_person("dora"), role="viewer", by=BY),
        lambda: change_role(member, role="admin", by=BY),
        lambda: create_key(org, name="k", kind="gateway", by=admins[0]),
        lambda: update_organization(org, name="Other", by=BY),
        lambda: update_organization(org, approval="all", by=BY),
        lambda: policy.confirm_approval(org, "none", by=admins[1]),
        lambda: policy.withdraw_approval(org, "none", by=admins[1]),
        lambda: import_prices(own_list(own("m")), org=org, source="test", by=BY),
    ]
    for change in changes:
        with pytest.raises(OrganizationFrozen, match="frozen by ada: prices are being checked") as caught:
            change()
        assert caught.value.code == "organization_frozen"
    assert state_of(org) == before


def test_what_happens_and_what_takes_rights_away_goes_on_while_frozen(org: Organization, admins: Any) -> None:
    key = create_key(org, name="k", kind="gateway", by=admins[0]).key
    person = a_person("carl", org)
    policy.freeze(org, reason="r", by=admins[0])
    traffic(org, 3)
    assert revoke_key(key, by=admins[0])
    remove_member(get_member(org, person.pk), by=admins[0])
    assert document_of(Organization.objects.get(pk=org.pk)).status == "frozen"


def test_unfreezing_allows_all_again_and_both_are_told_once(org: Organization, admins: Any) -> None:
    policy.freeze(org, reason="r", by=admins[0])
    assert policy.freeze(org, reason="again", by=admins[1]) is None
    assert last_entry(org) == ("organization.frozen", {"reason": "r", "actor_name": "ada"})
    assert policy.unfreeze(org, by=admins[1]) is not None
    assert policy.unfreeze(org, by=admins[1]) is None
    assert last_entry(org) == ("organization.unfrozen", {"reason": "r", "actor_name": "bea"})
    create_route(org, NEW, by=BY)


def test_freezing_takes_a_reason(org: Organization) -> None:
    with pytest.raises(policy.ReasonRequired):
        policy.freeze(org, reason=" \n", by=BY)


# --- A looser policy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("was", "to"), [("plans", "none"), ("all", "plans"), ("all", "none")])
def test_a_looser_policy_holds_once_another_admin_confirms_it(
    org: Organization, admins: Any, was: str, to: str
) -> None:
    ada, bea = admins
    update_organization(org, approval=was, by=ada)
    assert policy_of(org) == (was, ""), "a stricter one holds at once"
    update_organization(org, approval=to, by=ada)
    assert policy_of(org) == (was, to)
    with pytest.raises(policy.OwnProposal):
        policy.confirm_approval(org, to, by=ada)
    with pytest.raises(policy.OwnProposal):
        policy.confirm_approval(org, to, by=create_key(org, name="k", role="admin", by=ada).key)
    with pytest.raises(policy.OwnProposal):
        policy.confirm_approval(org, to, by=BY)
    policy.confirm_approval(org, to, by=bea)
    assert policy_of(org) == (to, "")
    action, payload = last_entry(org)
    assert (action, payload["was"], payload["is"], payload["proposed_by"]) == (
        "approval.confirmed",
        was,
        to,
        str(ada.pk),
    )


def test_what_is_confirmed_is_what_was_seen(org: Organization, admins: Any) -> None:
    ada, bea = admins
    update_organization(org, approval="all", by=ada)
    update_organization(org, approval="plans", by=ada)
    update_organization(org, approval="none", by=ada)
    with pytest.raises(policy.NoProposal, match="Nobody has to approve"):
        policy.confirm_approval(org, "plans", by=bea)
    assert policy_of(org) == ("all", "none")


def test_a_proposal_is_withdrawn_or_falls_with_a_stricter_policy(org: Organization, admins: Any) -> None:
    ada, bea = admins
    update_organization(org, approval="plans", by=ada)
    update_organization(org, approval="none", by=ada)
    policy.withdraw_approval(org, "none", by=ada)
    with pytest.raises(policy.NoProposal):
        policy.confirm_approval(org, "none", by=bea)
    update_organization(org, approval="none", by=ada)
    update_organization(org, approval="all", by=ada)
    assert policy_of(org) == ("all", "")


def test_who_proposes_again_is_who_proposed(org: Organization, admins: Any) -> None:
    """Else two could pass one proposal to and fro until its author confirms it."""
    ada, bea = admins
    update_organization(org, approval="plans", by=ada)
    update_organization(org, approval="none", by=ada)
    assert update_organization(org, approval="none", by=bea) is None
    with pytest.raises(policy.OwnProposal):
        policy.confirm_approval(org, "none", by=ada)


def test_the_name_can_be_changed_beside_a_proposal_and_a_stale_form_changes_neither(
    org: Organization, admins: Any
) -> None:
    seen = Organization.objects.get(pk=org.pk)
    update_organization(org, approval="plans", by=admins[0])
    update_organization(org, approval="none", name="New", by=admins[0])
    row = Organization.objects.get(pk=org.pk)
    assert (row.name, row.approval, row.approval_proposed) == ("New", "plans", "none")
    with pytest.raises(StaleOrganization):
        update_organization(org, seen=seen, approval="all", by=admins[1])


# --- Every change is a plan -------------------------------------------------------------------------------------------


@pytest.fixture
def strict(org: Organization) -> Organization:
    usual_prices()
    traffic(org)
    a_route(org, "short")
    a_route(org, "long")
    update_organization(org, approval="all", by=BY)
    return Organization.objects.get(pk=org.pk)


def _edited(org: Organization) -> None:
    row = Route.objects.of(org).get(name="short")
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 900}), by=BY)


def _deleted(org: Organization) -> None:
    delete_route(org, Route.objects.of(org).get(name="short").uid, by=BY)


@pytest.mark.parametrize(
    ("change", "mode", "name"),
    [
        (lambda org: create_route(org, NEW, by=BY), "merge", "“new” was added, by test"),
        (_edited, "merge", "“short” was changed, by test"),
        (_deleted, "replace", "“short” was removed, by test"),
        (
            lambda org: set_default(org, engine.Action(target_model="gpt-4o-mini"), by=BY),
            "merge",
            "what happens to the rest was changed, by test",
        ),
    ],
    ids=["created", "edited", "deleted", "default"],
)
def test_a_direct_change_is_refused_and_kept_as_a_draft_that_does_just_that(
    org: Organization, change: Callable[[Organization], Any], mode: str, name: str
) -> None:
    usual_prices()
    traffic(org)
    a_route(org, "short")
    a_route(org, "long")
    with transaction.atomic():
        change(org)
        wanted = document_of(org).content
        transaction.set_rollback(True)
    update_organization(org, approval="all", by=BY)
    with pytest.raises(DirectWrite) as caught:
        # Tests run in a transaction; a door that has none of its own makes the draft itself.
        change(org)
    caught.value.make_draft()
    draft = PlanRun.objects.get(org=org)
    assert caught.value.plan == draft
    assert (draft.state, draft.mode, draft.name) == ("draft", mode, name)
    assert f"kept as a draft: {name}." in str(caught.value)
    assert draft.window_end - draft.window_start == timedelta(days=7)
    assert draft.window_start < START < draft.window_end, "the newest logs are in it"
    from plans.runs import services as plans

    projected(draft)
    plans.approve(draft, by=a_person("bea", org, "approver"))
    plans.apply(draft, by=BY)
    found = document_of(Organization.objects.get(pk=org.pk)).content
    for routes in (found["routes"], wanted["routes"]):
        for route in routes:
            if route["name"] == "new":
                route["id"] = "x"
    assert found == wanted


def test_the_same_change_tried_again_makes_one_draft(strict: Organization) -> None:
    for name in ("new", "new", "other"):
        with pytest.raises(DirectWrite) as caught:
            create_route(strict, engine.NewRoute.from_dict({"name": name, "then": {"target_model": "m"}}), by=BY)
        caught.value.make_draft()
    assert PlanRun.objects.filter(org=strict).count() == 2


def test_a_draft_stands_on_what_its_author_saw_and_takes_nothing_back_that_came_since(strict: Organization) -> None:
    with pytest.raises(DirectWrite) as caught:
        delete_route(strict, Route.objects.of(strict).get(name="short").uid, by=BY)
    Organization.objects.filter(pk=strict.pk).update(approval="none")
    a_route(strict, "theirs")
    caught.value.make_draft()
    from plans.runs import services as plans
    from plans.runs.errors import StalePlan

    draft = projected(PlanRun.objects.get(org=strict))
    assert draft.base_version == 2
    with pytest.raises(StalePlan, match=r"“theirs” was added\. This plan changes theirs too"):
        plans.apply(draft, by=BY)


def test_a_change_of_which_no_draft_can_be_made_is_refused_all_the_same(
    strict: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Mock(side_effect=InvalidPlan([{"path": "routes", "code": "c", "message": "Somebody took the name."}]))
    monkeypatch.setattr("plans.runs.proposals._read", refused)
    with pytest.raises(DirectWrite) as caught:
        create_route(strict, NEW, by=BY)
    caught.value.make_draft()
    assert caught.value.plan is None
    assert "No draft of your change could be made: Somebody took the name." in str(caught.value)


def test_a_direct_change_that_changes_nothing_needs_nobody(strict: Organization) -> None:
    row = Route.objects.of(strict).get(name="short")
    _, change = update_route(strict, row.uid, engine.Route.from_dict(row.as_document()), by=BY)
    assert not change.changed


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_the_draft_is_there_with_the_refusal() -> None:
    org = an_org()
    update_organization(org, approval="all", by=BY)
    with pytest.raises(DirectWrite) as caught:
        create_route(org, NEW, by=BY)
    assert PlanRun.objects.get(org=org) == caught.value.plan
    assert not Route.objects.of(org).exists()


# --- What pages say of it before anybody saves ------------------------------------------------------------------------


def page_of(org: Organization, role: str, path: str) -> str:
    client = Client()
    client.force_login(a_person(f"{role}-{path}", org, role))
    answer = client.get(f"/admin/o/{org.slug}/{path}")
    assert answer.status_code == 200
    return " ".join(unescape(answer.text).split())


SOMEBODY_ELSE = (
    "Before a plan can be applied here, an approver or an admin has to approve it who neither made nor edited it."
)
OF_ROLE = {
    "editor": "",
    "approver": "You may approve plans, but not your own.",
    "admin": "Admins approve no plan of their own either.",
}


@pytest.mark.parametrize("role", OF_ROLE)
def test_where_every_change_is_a_plan_each_form_says_so_above_its_button(strict: Organization, role: str) -> None:
    row = Route.objects.of(strict).get(name="short")
    for path, act, button in (
        ("routes/new/", "Saving", "Save as a plan</button>"),
        (f"routes/{row.uid}/", "Saving", "Save as a plan</button>"),
        ("routes/default/", "Saving", "Save as a plan</button>"),
        (f"routes/{row.uid}/delete/", "Deleting", "Delete “short”</button>"),
        ("history/1/restore/", "Restoring", "Restore version 1"),
    ):
        shown = page_of(strict, role, path)
        said = f"{act} publishes nothing yet: it makes the draft of a plan, to be replayed."
        assert shown.index(said) < shown.index(SOMEBODY_ELSE) < shown.rindex(button), path
        assert [words for words in OF_ROLE.values() if words and words in shown] == [OF_ROLE[role]][
            : bool(OF_ROLE[role])
        ]
        assert "Save and publish" not in shown
        assert "within seconds" not in shown
    client = Client()
    client.force_login(a_person(f"{role}-bulk", strict, role))
    for act in ("delete", "disable", "resume"):
        shown = client.post(
            f"/admin/o/{strict.slug}/routes/bulk/", {"do": act, "ids": str(row.uid), "version": "0"}
        ).content.decode()
        assert "makes the draft of a plan" in shown
        assert "within seconds" not in shown
    Organization.objects.filter(pk=strict.pk).update(approval="plans")
    shown = page_of(strict, role, "routes/new/?plans")
    assert "Save and publish" in shown
    assert "publishes nothing yet" not in shown
    assert SOMEBODY_ELSE not in shown


@pytest.mark.parametrize("role", OF_ROLE)
@pytest.mark.parametrize("approval", Organization.Approval.values)
def test_who_has_to_approve_a_plan_is_said_before_its_replay(strict: Organization, role: str, approval: str) -> None:
    Organization.objects.filter(pk=strict.pk).update(approval=approval)
    plan = a_plan(strict)
    for path in ("plans/new/", "plans/new/json/", f"plans/{plan.pk}/"):
        shown = page_of(strict, role, path)
        assert (SOMEBODY_ELSE in shown) is (approval != "none"), path
        assert (OF_ROLE[role] in shown) is (approval != "none" or not OF_ROLE[role])
    plan = projected(plan)
    told = "An approver or an admin has to approve this plan before it can be applied."
    assert (told in page_of(strict, role, f"plans/{plan.pk}/?done")) is (approval != "none" and role == "editor")


def test_the_page_of_the_policy_says_what_each_means_and_that_no_role_goes_past_it(strict: Organization) -> None:
    shown = page_of(strict, "admin", "access/")
    policies = shown.split("<ul><li><strong>Nobody has to approve")[1].split("</ul>")[0].split("<li>")
    assert [("holds now" in one) for one in policies] == [False, False, True]
    assert "makes a draft of a plan instead" in policies[2]
    assert "No role goes past it: admins approve no plan of their own either." in shown
