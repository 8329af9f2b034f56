"""What concurrent writers and readers were answered is what comes of their acts one after the other, in the order of the
versions."""

import os
import pickle
from pathlib import Path
from random import Random

import pytest

from tests.torn.history import check
from tests.torn.planted import PLANTED, Plot
from tests.torn.recording import record

#: `make campaign PART=histories` asks for more.
COMMITS, WRITERS = int(os.environ.get("COMMITS", "100")), int(os.environ.get("WRITERS", "4"))
ORGS, SEED = int(os.environ.get("ORGS", "2")), int(os.environ.get("SEED", "20261122"))
#: How often each anomaly is planted, somewhere else each time.
PLANTINGS = 2

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


def test_a_history_of_concurrent_writers_has_no_anomaly_and_each_that_is_planted_is_found(tmp_path: Path) -> None:
    recorded = record(COMMITS, writers=WRITERS, orgs=ORGS, seed=SEED, folder=tmp_path)
    findings = check(recorded.calls, recorded.facts)
    print(f"{WRITERS} writers, {recorded}; {len(findings) + len(recorded.faults)} anomalies")
    assert recorded.faults == []
    assert findings == []

    found, one = 0, recorded if COMMITS < 1_000 else recorded.of_one()
    kept = pickle.dumps(one)  # of which a copy is made in a fifth of the time
    for plant, kind in PLANTED.items():
        for planting in range(PLANTINGS):
            plot = Plot(pickle.loads(kept), Random(planting))
            plant(plot)
            told = {finding.kind for finding in check(plot.recorded.calls, plot.recorded.facts)}
            assert kind in told, f"{plant.__name__} is not found: {told}"
        found += 1
    print(f"{found} of {len(PLANTED)} planted anomalies found, each {PLANTINGS} times")
