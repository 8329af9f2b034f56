"""Generated logs whose bytes, roots and proofs others make too: `rfc8785` the canonical JSON, `pymerkle` the tree."""

from collections.abc import Callable
from random import Random
from typing import Any

import rfc8785
from pymerkle import InmemoryTree

from audit.log.canonical import canonical_bytes
from audit.log.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from audit.log.tree import append, leaf_hash, root
from tests.audit.log.build import chain

LOGS = 2_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    say(f"{agree(LOGS, seed):,} logs on whose bytes, roots and proofs three implementations agree")
    return True


def agree(logs: int, seed: int) -> int:
    """So many logs agreed. Raises `AssertionError` at the first that does not."""
    random = Random(seed)
    for _ in range(logs):
        _agree(random)
    return logs


def _agree(random: Random) -> None:
    theirs, leaves, edge = InmemoryTree(algorithm="sha256"), [], list[bytes]()
    for line in chain(random, random.choice((1, 2, 3, random.randint(4, 60)))):
        assert rfc8785.dumps(line.value) == line.data == canonical_bytes(line.value)
        assert rfc8785.dumps(line.said) == line.payload
        theirs.append_entry(line.data)
        edge = append(len(leaves), edge, leaf_hash(line.data))
        leaves.append(leaf_hash(line.data))
    size = len(leaves)
    assert theirs.get_root(size) == root(edge)
    roots: dict[int, Any] = {size: root(edge)}
    for _ in range(4):
        seq, old = random.randrange(size), random.randint(1, size)
        proof = inclusion_proof(seq, size, iter(leaves))
        assert theirs.prove_inclusion(seq + 1, size).path == [leaves[seq], *proof]
        verify_inclusion(seq, size, leaves[seq], proof, roots[size])
        roots[old] = theirs.get_root(old)
        verify_consistency(old, size, roots[old], roots[size], consistency_proof(old, size, iter(leaves)))
