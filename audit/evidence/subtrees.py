"""Roots of ranges of a log, without hashing all of it each time: those of whole blocks of entries are kept in memory, where
a block once full never changes. Whoever asks compares the result with what is signed."""

from collections import OrderedDict
from itertools import batched
from threading import Lock
from typing import Final

from audit.log import tree
from audit.models import AuditEntry, as_bytes

#: Entries of a block; a power of two.
WIDTH: Final = 256
#: Of so many logs blocks are kept: of a million entries they take a quarter of a megabyte.
LOGS: Final = 64
_blocks: OrderedDict[str, list[bytes]] = OrderedDict()
_lock: Final = Lock()


def forget(log: str) -> None:
    """What is kept of the log may be of another history: of before a restore."""
    with _lock:
        _blocks.pop(log, None)


def root_of(log: str, start: int, end: int) -> bytes:
    """The RFC 6962 root of the entries from `start` to before `end`, a range as proofs name them. Raises `ValueError` where
    there are fewer entries."""
    first, last = start // WIDTH, end // WIDTH
    if last - first < 2 or start % WIDTH:
        return tree.root(tree.extend(0, [], _leaves(log, start, end)))
    nodes = _whole(log, last)[first:last]
    if end % WIDTH:
        nodes.append(tree.root(tree.extend(0, [], _leaves(log, last * WIDTH, end))))
    return tree.root(tree.extend(0, [], nodes))


def _whole(log: str, number: int) -> list[bytes]:
    """The roots of the first so many blocks."""
    with _lock:
        known = _blocks.setdefault(log, [])
        _blocks.move_to_end(log)
        if len(_blocks) > LOGS:
            _blocks.popitem(last=False)
        known = list(known)
    if len(known) < number:
        found = batched(_leaves(log, len(known) * WIDTH, number * WIDTH), WIDTH)
        known += [tree.root(tree.extend(0, [], block)) for block in found]
        with _lock:
            if len(_blocks.get(log, known)) < len(known):
                _blocks[log] = known
    return known[:number]


def _leaves(log: str, start: int, end: int) -> list[bytes]:
    rows = AuditEntry.objects.filter(log=log, seq__gte=start, seq__lt=end).order_by("seq")
    found = [as_bytes(leaf) for leaf in rows.values_list("leaf_hash", flat=True).iterator(2_000)]
    if len(found) != end - start:
        raise ValueError("There are fewer entries.")
    return found
