"""RFC 6962 hashes, and a tree kept by its right edge: appending takes O(log n) hashes and O(log n) memory."""

from collections.abc import Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def append(size: int, edge: Sequence[bytes], leaf: bytes) -> list[bytes]:
    """The right edge of a tree of `size` leaves after one more leaf hash.

    The edge holds the roots of the perfect subtrees, largest first: one for each set bit of the size.
    """
    if len(edge) != size.bit_count():
        raise ValueError("The right edge does not fit the size.")
    new = list(edge)
    node = leaf
    while size & 1:
        node = node_hash(new.pop(), node)
        size >>= 1
    new.append(node)
    return new


def root(edge: Sequence[bytes]) -> bytes:
    """The root hash of the tree with this right edge; that of the empty tree is SHA-256 of nothing."""
    if not edge:
        return EMPTY_ROOT
    node = edge[-1]
    for left in reversed(edge[:-1]):
        node = node_hash(left, node)
    return node


def pack(edge: Sequence[bytes]) -> bytes:
    return b"".join(edge)


def unpack(data: bytes) -> list[bytes]:
    """The hashes of a packed edge. Raises `ValueError` where the bytes are no whole number of hashes."""
    if len(data) % HASH_SIZE:
        raise ValueError("Not a whole number of hashes.")
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]
