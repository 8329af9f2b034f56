"""The worker: one plan at a time, by a lease that can be lost."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from audit.models import AuditEntry
from plans.logs.models import RequestLog
from plans.runs import services as plans
from plans.runs import worker
from plans.runs.models import PlanRun, State
from routes.orgs.models import Organization
from tests.build import BY, a_plan, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


def queued(org: Organization, **keys: Any) -> PlanRun:
    plan = a_plan(org, **keys)
    plans.project(plan, by=BY)
    return plan


def test_nothing_to_do_is_nothing_done(org: Organization) -> None:
    a_plan(org)  # a draft does not run by itself
    assert worker.run_next() is None


def test_plans_run_in_the_order_of_their_making(org: Organization) -> None:
    first, second = queued(org, name="first"), queued(org, name="second")
    ran = [worker.run_next(), worker.run_next()]
    assert [plan.pk for plan in ran if plan] == [first.pk, second.pk]


def test_a_plan_that_cannot_be_replayed_fails_with_its_reason_and_an_entry(org: Organization) -> None:
    plan = queued(org)
    with patch("plans.runs.worker.replay", side_effect=ValueError("no such thing")):
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.failure) == ("failed", "ValueError: no such thing")
    assert AuditEntry.objects.filter(org_id=org.pk, action="plan.failed").count() == 1
    assert worker.run_next() is None


def test_a_database_that_is_away_fails_no_plan(org: Organization) -> None:
    plan = queued(org)
    with (
        patch("plans.runs.worker.replay", side_effect=OperationalError("server closed the connection")),
        pytest.raises(OperationalError),
    ):
        worker.run_next()
    assert worker.run_next() is None, "its lease stands"
    PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    again = worker.run_next()
    assert again is not None
    assert (again.pk, again.state) == (plan.pk, "projected")


def test_a_plan_cancelled_while_it_runs_stops_and_leaves_no_result(org: Organization) -> None:
    plan = queued(org)
    report = worker._report

    def cancel_first(running: PlanRun, **progress: int) -> None:
        PlanRun.objects.filter(pk=plan.pk).update(state=State.CANCELLED)
        report(running, **progress)

    with patch("plans.runs.worker._report", cancel_first), patch("plans.runs.worker.replay") as replay:
        worker.run_next()
    replay.assert_not_called()
    plan.refresh_from_db()
    assert (plan.state, plan.result) == ("cancelled", "")


def test_a_lost_worker_is_replaced_and_its_late_result_is_refused(org: Organization) -> None:
    plan = queued(org)
    original = worker._replay

    def slow(running: PlanRun) -> str:
        result = original(running)
        # The lease ends while this worker sleeps; another one takes the plan and finishes it.
        PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        with patch("plans.runs.worker._replay", original):
            other = worker.run_next()
        assert other is not None
        assert other.state == "projected"
        return result.replace("projected", "forged")

    with patch("plans.runs.worker._replay", slow):
        worker.run_next()
    plan.refresh_from_db()
    assert plan.fence == 2
    assert plan.state == "projected"
    assert "forged" not in plan.result
    assert AuditEntry.objects.filter(org_id=org.pk, action="plan.projected").count() == 1


def test_a_worker_whose_plan_another_one_is_running_writes_nothing(org: Organization) -> None:
    plan = queued(org)
    original = worker._replay

    def overtaken(running: PlanRun) -> str:
        result = original(running)
        PlanRun.objects.filter(pk=plan.pk).update(fence=F("fence") + 1)
        return result

    with patch("plans.runs.worker._replay", overtaken):
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.result) == ("running", "")
    assert not AuditEntry.objects.filter(org_id=org.pk, action="plan.projected").exists()


def test_a_running_plan_with_a_living_lease_is_left_alone(org: Organization) -> None:
    plan = queued(org)
    PlanRun.objects.filter(pk=plan.pk).update(state="running", lease_until=timezone.now() + timedelta(seconds=30))
    assert worker.run_next() is None


def test_only_the_organisation_s_own_rows_of_the_window_count(org: Organization) -> None:
    other = an_org("other")
    traffic(other, rows=7)
    assert (projected(a_plan(org)).outcome or {})["sample_size"] == 40
    assert (projected(a_plan(other)).outcome or {})["sample_size"] == 7


def test_an_unknown_price_is_counted_and_never_a_saving(org: Organization) -> None:
    to_nowhere = [{"name": "r", "then": {"target_model": "nobody-knows-me"}}]
    outcome = projected(a_plan(org, routes=to_nowhere)).outcome
    assert outcome is not None
    assert outcome["aggregates"]["requests_unprice_able"] == 40
    assert outcome["aggregates"]["projected_savings_usd"] == 0
    assert any("nobody-knows-me" in caveat["message"] for caveat in outcome["caveats"])


def test_money_reaches_the_replay_to_the_nano_dollar(org: Organization) -> None:
    RequestLog.objects.all().delete()
    traffic(org, rows=1, cost_usd="0.000000001", baseline_cost_usd="123456.123456789")
    row = next(worker.log_rows(RequestLog.objects.of(org)))
    assert (row.cost_nano, row.baseline_cost_nano) == (1, 123_456_123_456_789)


def test_the_command_runs_what_waits_and_stops(org: Organization, capsys: Any) -> None:
    from django.core.management import call_command

    queued(org)
    call_command("worker", "--once")
    assert ": projected" in capsys.readouterr().out
