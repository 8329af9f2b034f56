"""RFC 6962 proofs: that an entry is in a tree, and that a tree is the beginning of a larger one.

A proof is the roots of a few ranges of leaves. To make one takes one pass over the leaf hashes, in constant memory.
Verification follows RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Iterable, Iterator, Sequence

from audit.log.tree import HASH_SIZE, append, node_hash, root


class BadProof(ValueError):
    """This proof does not show it."""


def inclusion_proof(seq: int, size: int, leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes from the leaf's sibling up to a child of the root, for leaf `seq` of the first `size` of `leaves`.

    Raises `ValueError` where there is no such leaf, or fewer leaves.
    """
    return _roots(inclusion_ranges(seq, size), leaves)


def consistency_proof(old: int, new: int, leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes that show the tree of the first `old` leaves to be the beginning of that of the first `new`; none where
    the sizes are equal.

    Raises `ValueError` where the old tree is empty, which begins every other, or the larger one, or there are fewer leaves.
    """
    return _roots(consistency_ranges(old, new), leaves)


type Range = tuple[int, int]


def inclusion_ranges(seq: int, size: int) -> list[Range]:
    """The ranges of leaves, first and after the last, whose roots are the inclusion proof. Raises `ValueError` where there
    is no such leaf."""
    if not 0 <= seq < size:
        raise ValueError("There is no such entry in a tree of this size.")
    return _beside(seq, 0, size)


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The same of a consistency proof. Raises `ValueError` where the old tree is empty, or the larger one."""
    if not 0 < old <= new:
        raise ValueError("The old tree is empty, or the larger one.")
    return _between(old, 0, new, is_whole=True)


def verify_inclusion(seq: int, size: int, leaf: bytes, proof: Sequence[bytes], wanted: bytes) -> None:
    """Raises `BadProof` unless the proof leads from the leaf hash, at this place, to the root of the tree of this size."""
    if not 0 <= seq < size:
        raise BadProof("The tree is too small to have that entry.")
    _check(wanted, leaf, *proof)
    place, last, found = seq, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise BadProof("The proof is too long.")
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise BadProof("The proof is too short.")
    if found != wanted:
        raise BadProof("The proof leads to another root.")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises `BadProof` unless the proof shows the old tree to be the beginning of the new one.

    Nothing shows that of the empty tree, which begins every other.
    """
    if not 0 < old <= new:
        raise BadProof("The old tree is empty, or the larger one.")
    if old == new:
        if proof:
            raise BadProof("The proof is too long.")
        if old_root != new_root:
            raise BadProof("Trees of one size have two roots.")
        return
    _check(old_root, new_root, *proof)
    # A tree of a power of two is a node of the larger one: its root need not be sent.
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    if not path:
        raise BadProof("The proof is too short.")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("The proof is too long.")
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise BadProof("The proof is too short.")
    if before != old_root:
        raise BadProof("The proof leads to another old root.")
    if after != new_root:
        raise BadProof("The proof leads to another new root.")


def _check(*hashes: bytes) -> None:
    if any(len(one) != HASH_SIZE for one in hashes):
        raise BadProof(f"A hash has {HASH_SIZE} bytes.")


def _split(start: int, end: int) -> int:
    """Where RFC 6962 cuts this range of leaves: after the largest power of two below their number."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _beside(seq: int, start: int, end: int) -> list[Range]:
    """PATH of RFC 6962, 2.1.1, from the leaf up."""
    if end - start == 1:
        return []
    middle = _split(start, end)
    if seq < middle:
        return [*_beside(seq, start, middle), (middle, end)]
    return [*_beside(seq, middle, end), (start, middle)]


def _between(old: int, start: int, end: int, *, is_whole: bool) -> list[Range]:
    """SUBPROOF of RFC 6962, 2.1.2; `is_whole`: the old tree's root is that of this range, should it end here."""
    if old == end:
        return [] if is_whole else [(start, end)]
    middle = _split(start, end)
    if old <= middle:
        return [*_between(old, start, middle, is_whole=is_whole), (middle, end)]
    return [*_between(old, middle, end, is_whole=False), (start, middle)]


def _roots(ranges: Sequence[Range], leaves: Iterable[bytes]) -> list[bytes]:
    """The roots of disjoint ranges of leaves, in the order given, by one pass over the leaves."""
    found: dict[Range, bytes] = {}
    place, hashes = 0, iter(leaves)
    for start, end in sorted(ranges):
        _skip(hashes, start - place)
        edge: list[bytes] = []
        for size in range(end - start):
            leaf = next(hashes, None)
            if leaf is None:
                raise ValueError("There are fewer leaves.")
            edge = append(size, edge, leaf)
        found[start, end], place = root(edge), end
    return [found[one] for one in ranges]


def _skip(hashes: Iterator[bytes], number: int) -> None:
    for _ in range(number):
        next(hashes, None)
