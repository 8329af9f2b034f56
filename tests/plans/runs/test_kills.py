"""A worker that is killed costs a block of rows, and nothing else."""

import os

import pytest

from routes.orgs.models import Organization
from tests.build import an_org, traffic, usual_prices
from tests.plans.runs.crashing import campaign

#: `make campaign PART=kills` asks for more.
KILLS, SEED = int(os.environ.get("KILLS", "20")), int(os.environ.get("SEED", "20261121"))

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
