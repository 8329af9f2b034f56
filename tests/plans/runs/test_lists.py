"""What lists of plans read: one sentence of each, and not the whole results, which are large."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client

from plans.runs.answer import answer, headline, headline_of, summary_of
from plans.runs.models import PlanRun
from routes.orgs.models import Organization, new_id
from tests.build import START, a_person, a_plan, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db
LATER = START.replace(year=2027)


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


def of_all_kinds(org: Organization) -> list[PlanRun]:
    """Plans that save, that change nothing, whose window is empty, and a draft."""
    window = {"window_start": LATER, "window_end": LATER.replace(month=6)}
    kinds: list[dict[str, Any]] = [{}, {"routes": []}, window]
    return [*[projected(a_plan(org, **keys)) for keys in kinds], a_plan(org)]


def headlines(plans: list[PlanRun]) -> list[str]:
    return [found.headline if (found := answer(plan)) else "" for plan in plans]


def copies(plan: PlanRun, count: int) -> None:
    """As many plans more with the same result, of before there were summaries."""
    rows = [PlanRun.objects.get(pk=plan.pk) for _ in range(count)]
    for row in rows:
        row.pk, row.summary = new_id(), {}
    PlanRun.objects.bulk_create(rows)


def fill() -> None:
    import_module("plans.migrations.0012_fill_summary").fill(apps, connection.schema_editor())


def test_what_a_list_reads_of_a_plan_says_what_its_page_says(org: Organization) -> None:
    plans = of_all_kinds(org)
    said = headlines(plans)
    assert [text[:5] for text in said] == ["Saves", "Chang", "No re", ""]
    assert [headline(PlanRun.objects.brief().get(pk=plan.pk)) for plan in plans] == said
    for plan in plans[:3]:
        assert headline_of(summary_of(plan.outcome or {})) == headline(plan)


@pytest.mark.parametrize("page", ["/admin/", "/admin/o/acme/", "/admin/o/acme/plans/", "/api/v1/orgs/acme/plans/"])
def test_no_list_reads_a_result(org: Organization, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = projected(a_plan(org))
    said = headlines([plan])[0]
    client = Client()
    client.force_login(a_person("ada", org, "admin"))

    def read(_: PlanRun) -> None:
        raise AssertionError("the whole result")

    def asked(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        assert '"plans_planrun"."result"' not in sql.partition(" FROM ")[0], "the whole result"
        return execute(sql, *more)

    monkeypatch.setattr(PlanRun, "outcome", property(read))
    with connection.execute_wrapper(asked):
        text = client.get(page).content.decode()
    assert plan.name in text
    if page != "/api/v1/orgs/acme/plans/":
        assert said in text


def test_a_result_that_a_worker_of_before_wrote_is_read_itself(org: Organization) -> None:
    plan = projected(a_plan(org))
    said = headlines([plan])[0]
    PlanRun.objects.filter(pk=plan.pk).update(summary={})
    assert headline(PlanRun.objects.brief().get(pk=plan.pk)) == said


def test_the_migration_fills_what_is_there_already_batch_by_batch(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = of_all_kinds(org)
    before = {plan.pk: plan.summary for plan in plans}
    old = PlanRun.objects.get(pk=plans[0].pk)
    old.result = old.result.replace('"requests_kept"', '"unheard_of"')
    old.save()
    copies(plans[1], 6)
    PlanRun.objects.update(summary={})
    monkeypatch.setattr("plans.migrations.0012_fill_summary.BATCH", 3)
    fill()
    of_old = {**before[old.pk], "aggregates": {**before[old.pk]["aggregates"]}}
    del of_old["aggregates"]["requests_kept"]
    expected = {**before, old.pk: of_old}
    for plan in PlanRun.objects.all():
        assert plan.summary == expected.get(plan.pk, before[plans[1].pk])
    assert headline(PlanRun.objects.get(pk=old.pk)) == headlines(plans[:1])[0]
