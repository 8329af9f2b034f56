"""What became of one's plans while one was away."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from plans.runs.models import PlanRun, PlansSeen
from plans.runs.news import news_of, saw
from plans.runs.services import apply, approve, cancel, edit, reject
from routes.orgs.models import Organization
from tests.build import BY, a_person, a_plan, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db


@pytest.fixture
def busy(org: Organization) -> Organization:
    usual_prices()
    traffic(org)
    return org


def told(org: Organization, person: object) -> list[tuple[str, str, str]]:
    return [(one.plan.name, one.words, one.who) for one in news_of(org, person)]


def test_one_is_told_the_last_that_others_did_with_each_plan_newest_first(busy: Organization) -> None:
    edda, arno = a_person("edda", busy, "editor"), a_person("arno", busy, "approver")
    first = projected(a_plan(busy, by=edda, name="first"))
    second = projected(a_plan(busy, by=edda, name="second"))
    assert told(busy, edda) == [("second", "was replayed", ""), ("first", "was replayed", "")]
    approve(first, by=arno)
    reject(second, reason="too dear", by=arno)
    assert told(busy, edda) == [("second", "was rejected", "arno"), ("first", "was approved", "arno")]
    assert told(busy, arno) == [], "they are not his"


def test_what_one_has_seen_is_news_no_more_and_what_comes_later_is(busy: Organization) -> None:
    edda, arno = a_person("edda", busy, "editor"), a_person("arno", busy, "approver")
    plan = projected(a_plan(busy, by=edda))
    saw(busy, edda)
    saw(busy, edda)
    assert told(busy, edda) == []
    approve(plan, by=arno)
    apply(plan, by=arno)
    assert told(busy, edda) == [("save", "was applied", "arno")]
    assert PlansSeen.objects.get().person == str(edda.pk)


def test_what_one_did_oneself_is_no_news(busy: Organization) -> None:
    edda = a_person("edda", busy, "editor")
    cancel(a_plan(busy, by=edda), by=edda)
    assert told(busy, edda) == []


def test_who_changed_a_draft_is_told_too(busy: Organization) -> None:
    edda, emil = a_person("edda", busy, "editor"), a_person("emil", busy, "editor")
    plan = a_plan(busy, by=edda)
    edit(plan, by=emil, iterations=500)
    projected(plan)
    assert told(busy, emil) == told(busy, edda) == [("save", "was replayed", "")]


def test_who_never_looked_is_told_of_a_week(busy: Organization) -> None:
    edda = a_person("edda", busy, "editor")
    projected(a_plan(busy, by=edda))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plans.runs.news._AT_FIRST", timedelta(0))
        patch.setattr(timezone, "now", lambda: PlanRun.objects.get().projected_at + timedelta(seconds=1))
        assert told(busy, edda) == []


def test_plans_of_other_organisations_are_nobody_s_news_here(busy: Organization) -> None:
    other = an_org("other")
    edda = a_person("edda", busy, "editor")
    cancel(a_plan(other, by=edda), by=BY)
    assert told(busy, edda) == []
    assert told(other, edda) == [("save", "was cancelled", "test")]


def test_what_acts_for_nobody_has_no_news(busy: Organization) -> None:
    assert news_of(busy, BY) == []
    saw(busy, BY)
    assert not PlansSeen.objects.exists()


def test_news_of_many_plans_take_as_many_queries_as_of_one(busy: Organization) -> None:
    edda = a_person("edda", busy, "editor")
    counts = []
    for number in (1, 12):
        for _ in range(number):
            cancel(a_plan(busy, by=edda), by=BY)
        with CaptureQueriesContext(connection) as found:
            news_of(busy, edda)
        counts.append(len(found))
    assert counts == [3, 3]
