"""However often the signer is killed, what it signed is one history."""

import os
import signal
import time
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from audit.log.notes import open_checkpoint
from audit.log.proofs import consistency_proof, verify_consistency
from audit.models import AuditEntry, Checkpoint
from audit.signing.keys import known_keys
from audit.verification import logs, verify
from tests.audit.build import ORG, OTHER, some
from tests.audit.signing.build import signed
from tests.forks import forked, was_killed

#: `make campaign PART=signer` asks for more.
KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", "20261122"))

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


def sign_on() -> None:
    while True:
        signed()


def test_all_that_a_signer_signed_that_is_killed_at_random_moments_is_of_one_history(folder: Any) -> None:
    random, killed = Random(SEED), 0
    signed()
    for _ in range(KILLS):
        child = forked(sign_on)
        try:
            for _ in range(random.randrange(1, 4)):
                some(random.randint(1, 3), random.choice((ORG, OTHER, None)))
            time.sleep(random.expovariate(1 / 0.04))
        finally:
            os.kill(child, signal.SIGKILL)
        killed += was_killed(child)
    assert killed == KILLS
    assert signed().refused == {}
    proofs = 0
    for log in logs():
        leaves = [
            bytes(leaf) for leaf in AuditEntry.objects.filter(log=log).in_order().values_list("leaf_hash", flat=True)
        ]
        notes = Checkpoint.objects.filter(log=log).order_by("size").values_list("note", flat=True)
        said = [open_checkpoint(note, known_keys()) for note in notes]
        for old, new in pairwise(said):
            verify_consistency(
                old.size, new.size, old.root, new.root, consistency_proof(old.size, new.size, iter(leaves))
            )
            proofs += 1
        assert said[-1].size == len(leaves)
        assert verify(log).ok
    assert proofs >= KILLS // 2
    print(
        f"the signer killed {killed:,} times, {Checkpoint.objects.count():,} checkpoints, {proofs:,} consistent pairs"
    )
