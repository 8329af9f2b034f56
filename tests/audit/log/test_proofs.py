"""RFC 6962 proofs, against the definition, a second implementation and the public probes."""

import json
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from audit.log.proofs import BadProof, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from audit.log.tree import EMPTY_ROOT, leaf_hash, node_hash
from tests.campaign.interoperability import agree
from tests.paths import shared

LEAVES = [leaf_hash(f"entry {n}".encode()) for n in range(70)]


def root_of(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(root_of(leaves[:k]), root_of(leaves[k:]))


# --- What is there is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 70])
def test_every_entry_of_a_tree_is_shown_to_be_in_it(size: int) -> None:
    wanted = root_of(LEAVES[:size])
    for seq in range(size):
        proof = inclusion_proof(seq, size, iter(LEAVES))
        verify_inclusion(seq, size, LEAVES[seq], proof, wanted)


def test_every_tree_is_shown_to_begin_every_larger_one() -> None:
    roots = [root_of(LEAVES[:size]) for size in range(40)]
    for new in range(40):
        for old in range(1, new + 1):
            verify_consistency(old, new, roots[old], roots[new], consistency_proof(old, new, iter(LEAVES)))


def test_the_proofs_are_those_of_rfc_6962() -> None:
    """2.1.3, the tree of seven leaves there: a to j by their places."""
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741  the letters of the RFC
    assert [inclusion_proof(seq, 7, LEAVES) for seq in (0, 3, 4, 6)] == [[b, h, l], [c, g, l], [f, j, k], [i, k]]
    assert [consistency_proof(old, 7, LEAVES) for old in (3, 4, 6)] == [[c, d, g, l], [l], [i, j, k]]


@pytest.mark.parametrize("part", range(10))
def test_another_implementation_makes_the_same_proofs(part: int) -> None:
    assert agree(20, seed=part) == 20


def test_what_is_not_there_has_no_proof() -> None:
    for seq, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no such entry"):
            inclusion_proof(seq, size, LEAVES)
    for old, new in ((4, 3), (0, 3), (-1, 3)):
        with pytest.raises(ValueError, match="larger"):
            consistency_proof(old, new, LEAVES)
    with pytest.raises(ValueError, match="fewer leaves"):
        inclusion_proof(0, 71, LEAVES)
    with pytest.raises(ValueError, match="fewer leaves"):
        consistency_proof(3, 71, LEAVES)


# --- What is not so is not shown --------------------------------------------------------------------------------------


def probes(kind: str) -> list[Any]:
    found = sorted(shared(f"vectors/rfc6962-merkle/{kind}").rglob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def decoded(hashes: list[str] | None) -> list[bytes]:
    return [b64decode(one) for one in hashes or []]


def refused(verify: Callable[..., None], *given: Any) -> bool:
    try:
        verify(*given)
    except BadProof:
        return True
    return False


def test_the_public_probes_of_inclusion() -> None:
    found = probes("inclusion")
    told = [
        refused(
            verify_inclusion,
            one["leafIdx"],
            one["treeSize"],
            *decoded([one["leafHash"]]),
            decoded(one["proof"]),
            *decoded([one["root"]]),
        )
        for one in found
    ]
    assert told == [one["wantErr"] for one in found]
    assert (len(told), told.count(True)) == (98, 92)


def test_the_public_probes_of_consistency() -> None:
    found = probes("consistency")
    told = [
        refused(
            verify_consistency,
            one["size1"],
            one["size2"],
            *decoded([one["root1"], one["root2"]]),
            decoded(one["proof"]),
        )
        for one in found
    ]
    assert told == [one["wantErr"] for one in found]
    assert (len(told), told.count(True)) == (98, 92)


def spoilt(proof: list[bytes]) -> list[list[bytes]]:
    """The proof with each hash changed, left out, cut, or twice, two swapped, and with one more before and after it."""
    found = [[*proof, LEAVES[0]], [LEAVES[0], *proof]]
    for place, one in enumerate(proof):
        before, after = proof[:place], proof[place + 1 :]
        flipped = bytes([one[0] ^ 1, *one[1:]])
        found += [
            [*before, flipped, *after],
            [*before, *after],
            [*before, one[:-1], *after],
            [*before, one, one, *after],
        ]
        if after and after[0] != one:
            found.append([*before, after[0], one, *after[1:]])
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8, 21])
def test_a_spoilt_proof_of_inclusion_shows_nothing(size: int) -> None:
    wanted = root_of(LEAVES[:size])
    for seq in range(size):
        proof = inclusion_proof(seq, size, LEAVES)
        for wrong in spoilt(proof):
            assert refused(verify_inclusion, seq, size, LEAVES[seq], wrong, wanted)
        for other in range(size):
            if other != seq:
                assert refused(verify_inclusion, other, size, LEAVES[seq], proof, wanted)
                assert refused(verify_inclusion, seq, size, LEAVES[other], proof, wanted)
        assert refused(verify_inclusion, seq, size, LEAVES[seq], proof, LEAVES[-1])
        assert refused(verify_inclusion, size, size, LEAVES[seq], proof, wanted)
        assert refused(verify_inclusion, -1, size, LEAVES[seq], proof, wanted)


def test_a_node_is_no_leaf() -> None:
    """Of a tree of four, the left half would be the first leaf of a tree of three."""
    left = node_hash(LEAVES[0], LEAVES[1])
    shorter = root_of([left, LEAVES[2], LEAVES[3]])
    assert shorter != root_of(LEAVES[:4])


@pytest.mark.parametrize("new", [2, 3, 6, 7, 8, 21])
def test_a_spoilt_proof_of_consistency_shows_nothing(new: int) -> None:
    after = root_of(LEAVES[:new])
    for old in range(1, new):
        before, proof = root_of(LEAVES[:old]), consistency_proof(old, new, LEAVES)
        for wrong in spoilt(proof):
            assert refused(verify_consistency, old, new, before, after, wrong)
        assert refused(verify_consistency, old, new, LEAVES[-1], after, proof)
        assert refused(verify_consistency, old, new, before, LEAVES[-1], proof)
        assert refused(verify_consistency, new, old, after, before, proof)


def test_a_tree_begins_itself_and_of_the_empty_one_nothing_is_shown() -> None:
    some = root_of(LEAVES[:3])
    verify_consistency(3, 3, some, some, [])
    assert refused(verify_consistency, 3, 3, some, some, [some])
    assert refused(verify_consistency, 3, 3, some, EMPTY_ROOT, [])
    assert refused(verify_consistency, 2, 3, some, some, [])
    for new, after in ((0, EMPTY_ROOT), (3, some)):
        assert refused(verify_consistency, 0, new, EMPTY_ROOT, after, [])
