"""A person's name and a key's, both as long as they may be: whatever the key does is kept under a name that fits."""

from typing import Any

import pytest
from django.db import models

from audit.actors import NAME_LENGTH, Actor
from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from routes.publish import DirectWrite
from routes.rules.services import delete_route
from routes.versions.models import RouteSetVersion
from tests.build import a_person, a_plan, a_route, an_org, projected, traffic, usual_prices
from tests.plans.runs.test_life import due

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org(approval="plans")
    usual_prices()
    traffic(org)
    return org


def a_key(org: Organization, letter: str) -> Any:
    person = a_person(letter * 150, org, "admin")
    return create_key(org, name="k" * 100, role="admin", by=person).key


def test_who_has_the_longest_names_does_all_that_keeps_a_name(org: Organization) -> None:
    ada, bea = a_key(org, "a"), a_key(org, "b")
    row = a_route(org, "first")
    plan = projected(a_plan(org, by=ada))
    plans.edit(plan, by=bea, note="n")
    plans.approve(plan, by=bea)
    plans.apply(plan, by=ada)
    plans.revert(plan, by=ada)
    later = due(org, bea)
    assert [done.state for done in plans.apply_due()] == ["applied"]
    update_organization(org, approval="none", by=ada)
    update_organization(org, approval="all", by=ada)
    with pytest.raises(DirectWrite) as refused:
        delete_route(org, row.uid, by=ada)
    refused.value.make_draft()
    draft = PlanRun.objects.get(org=org, state="draft")
    assert (len(draft.name), draft.name[:32], draft.name[-1]) == (NAME_LENGTH, "“first” was removed, by aaaaaaaa", "…")
    freeze(org, reason="r", by=bea)
    kept = {
        (model.__name__, field.name): set(model._default_manager.values_list(field.name, flat=True))
        for model in (Organization, PlanRun, RouteSetVersion)
        for field in model._meta.concrete_fields
        if field.name.endswith("_name") and isinstance(field, models.CharField)
    }
    long = [name for names in kept.values() for name in names if len(name) > 150]
    assert len(long) > 3
    assert all(len(name) == NAME_LENGTH and name.endswith("k…") for name in long), kept
    told = {(payload_of(entry) or {}).get("actor_name", "") for entry in AuditEntry.objects.of(org.pk)}
    assert {name for name in told if len(name) > 150} == set(long)
    assert PlanRun.objects.get(pk=later.pk).applied_version


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a" * 200, "a" * 200), ("a" * 201, "a" * 199 + "…"), ("two\nlines\tand", "two lines and"), ("", "")],
)
def test_a_name_is_one_line_that_fits(given: str, kept: str) -> None:
    assert Actor("user", "1", None, given).name == kept
