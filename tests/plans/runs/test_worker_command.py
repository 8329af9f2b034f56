"""`manage.py worker`: what it says, and what ends it."""

import os
import signal
import threading
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError, connection

from plans.runs import services as plans
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import BY, traffic, usual_prices
from tests.databases import ON_POSTGRES
from tests.plans.runs.crashing import Watched, held, queued

pytestmark = pytest.mark.django_db(transaction=True)

WAITS = "The database does not serve, and plans wait: "


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records]


def test_the_command_runs_what_waits_and_tells_of_which_plan_and_whose(
    org: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    plan = queued(org, name="forged\n{}")
    call_command("worker", "--once")
    assert said(caplog) == [f"plan {plan.pk} is taken up", f"plan {plan.pk} is projected"]
    assert {(line.plan, line.org) for line in caplog.records} == {(str(plan.pk), str(org.pk))}


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError, InternalError, DatabaseError])
def test_the_command_that_runs_once_fails_where_the_database_is_away(db: None, error: type[Exception]) -> None:
    with (
        patch("plans.runs.worker._claim", side_effect=error("connection refused\n\tIs the server running?\n")),
        pytest.raises(CommandError) as caught,
    ):
        call_command("worker", "--once")
    assert str(caught.value) == WAITS + "connection refused Is the server running?"
    assert caught.value.returncode == 1


def test_the_command_that_waited_for_somebody_else_in_vain_does_not_say_that_the_database_is_away(
    org: Organization,
) -> None:
    plan = queued(org)
    with held(lambda: PlanRun.objects.filter(pk=plan.pk).update(note="slow")), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 100" if ON_POSTGRES else "PRAGMA busy_timeout = 100")
        # On PostgreSQL nobody is waited for there, but with an organisation's lock.
        with patch("plans.runs.worker._free", lambda rows: rows.values("pk")), pytest.raises(CommandError) as caught:
            call_command("worker", "--once")
    connection.close()  # with its short patience
    assert str(caught.value).startswith("Somebody holds what the worker needs, and plans wait: ")


def test_the_command_outlives_every_error_of_the_database_and_says_each_once(
    org: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    plan = queued(org)
    run_next, errors = worker.run_next, [
        *[OperationalError("connection refused\n\tIs the server running?\n")] * 3,
        ProgrammingError("no such table"), InterfaceError(), InternalError("read-only"), DatabaseError("?"),
    ]  # fmt: skip
    handlers: dict[int, Any] = {}

    def at_last(stop: threading.Event) -> PlanRun | None:
        if errors:
            raise errors.pop(0)
        ran = run_next(stop)
        if ran is None:
            handlers[signal.SIGTERM]()
        return ran

    with (
        patch("plans.management.commands.worker.run_next", at_last),
        patch("signal.signal", lambda name, handler: handlers.update({name: handler})),
    ):
        call_command("worker", "--poll", "0.001")
    assert said(caplog) == [
        WAITS + "connection refused Is the server running?",
        WAITS + "no such table",
        WAITS + "InterfaceError",
        WAITS + "read-only",
        WAITS + "?",
        f"plan {plan.pk} is taken up",
        "The database serves again.",
        f"plan {plan.pk} is projected",
    ]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_command_that_runs_once_puts_its_plan_back_when_it_is_stopped(
    org: Organization, caplog: pytest.LogCaptureFixture, name: signal.Signals
) -> None:
    def not_asked(*_: Any) -> None:
        raise AssertionError("the worker does not listen")

    usual_prices()
    traffic(org)
    plan = queued(org)
    before = signal.signal(name, not_asked)
    try:
        with patch("plans.runs.worker._report", Watched(1, lambda: os.kill(os.getpid(), name))):
            call_command("worker", "--once")
        assert signal.getsignal(name) is not_asked
    finally:
        signal.signal(name, before)
    assert said(caplog)[-1] == f"plan {plan.pk} is queued"
    asked = plan.queued_at
    plan.refresh_from_db()
    assert (plan.state, plan.lease_until, plan.lease_owner) == ("queued", None, "")
    assert plan.queued_at > asked, "it waits anew"


@pytest.mark.parametrize("pause", ["0", "-1", "nan", "inf", "1e300"])
def test_a_pause_that_is_none_is_refused(pause: str) -> None:
    with pytest.raises(CommandError, match="--poll: write a number above 0, not"):
        call_command("worker", "--once", f"--poll={pause}")


def test_the_command_says_what_became_of_a_plan_that_was_cancelled(
    org: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    plan = queued(org)
    watched = Watched(1, lambda: plans.cancel(PlanRun.objects.get(pk=plan.pk), by=BY))
    with patch("plans.runs.worker._report", watched):
        call_command("worker", "--once")
    assert said(caplog)[-1] == f"plan {plan.pk} is cancelled"
