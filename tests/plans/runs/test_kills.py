"""A worker that is killed costs a block of rows, and nothing else."""

import os
import signal
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone

from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import an_org, traffic, usual_prices
from tests.plans.runs.crashing import campaign, queued, run_in_a_child

#: On each database; `make campaign PART=kills` asks for more.
KILLS, SEED = int(os.environ.get("KILLS", "10")), int(os.environ.get("SEED", "20261121"))

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


def test_a_worker_killed_at_random_moments_leaves_the_result_of_an_undisturbed_one() -> None:
    org: Organization = an_org()
    usual_prices()
    traffic(org, rows=1_200, clusters=60)
    found = campaign(org, KILLS, SEED, print)
    print(f"{found.plans} plans, {found.killed} workers killed, {found.wrong} results that differ")
    assert found.killed >= KILLS
    assert found.wrong == 0


def test_a_plan_that_kills_every_worker_is_given_up_and_the_next_one_runs() -> None:
    org: Organization = an_org()
    usual_prices()
    traffic(org)
    deadly, other = queued(org), queued(org)
    with patch("plans.runs.worker.result_of", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)):
        # The first one got as far as the result, the others no further.
        for _ in range(1 + worker.STARTS):
            assert run_in_a_child(None), "it was killed"
            PlanRun.objects.filter(pk=deadly.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        assert not run_in_a_child(None)
    deadly.refresh_from_db()
    assert (deadly.state, deadly.fence) == ("failed", 1 + worker.STARTS + 1)
    assert deadly.failure.startswith("no_progress: This plan was begun 5 times and got no further than row 40 of 40 (")
    assert not run_in_a_child(None)
    other.refresh_from_db()
    assert other.state == "projected"
