"""Revert after apply restores the digest, whatever else is done before, after and in between."""

import os
from collections import Counter

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.torn.walks import machine
from tests.torn.writers import a_result

#: On each database; `make campaign PART=walks` asks for more.
WALKS, STEPS = int(os.environ.get("WALKS", "100")), int(os.environ.get("STEPS", "4"))
SEED = int(os.environ.get("SEED", "20261122"))

pytestmark = pytest.mark.django_db


def test_revert_after_apply_restores_the_digest_on_random_walks() -> None:
    counted = Counter[str]()
    result = a_result()
    walk = machine(lambda: result, lambda what: counted.update([what]))
    # What Hypothesis cuts short, or has drawn before, it does not count; it is walked and checked nevertheless.
    while (left := WALKS - counted["walk"]) > 0:
        run_state_machine_as_test(
            seed(f"{SEED} {connection.vendor} {counted['walk']}")(walk),
            settings=settings(
                max_examples=max(left * 3 // 4, 1),
                stateful_step_count=STEPS,
                database=None,
                # To make a fault small takes hundreds of walks more; the steps of one that fails are printed as they are.
                phases=[Phase.generate, Phase.shrink] if STEPS <= 10 else [Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    told = ", ".join(f"{count:,} {what}" for what, count in counted.most_common())
    print(f"{told}; every digest as the model says")
    assert counted["revert"] > WALKS / 10
