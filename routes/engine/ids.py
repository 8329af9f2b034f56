"""Ids: canonical UUID strings, and UUIDv7 for new ones (Python 3.13 has none)."""

import os
import re
import threading
import time
from uuid import UUID

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_ANY = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}", re.ASCII
)

_lock = threading.Lock()
_last_tick = 0


def canonical_uuid(value: "str | UUID") -> str:
    """The id in lower case with dashes. Takes a `UUID`, or text with all its dashes or none. Raises `ValueError`."""
    text = str(value) if isinstance(value, UUID) else value
    if not isinstance(text, str):
        raise ValueError(f"An id is a UUID or its text, not {type(value).__name__}.")
    if _CANONICAL.fullmatch(text):
        return text
    if not _ANY.fullmatch(text):
        raise ValueError("This is not the text of a UUID.")
    digits = text.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562) as canonical text.

    48 bits of Unix milliseconds, 12 bits of the millisecond's fraction (method 3), 62 random bits. Ids of one process
    sort in the order in which they were made, also within one clock tick and when the clock steps back.
    """
    global _last_tick
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    tick = milliseconds << 12 | (rest << 12) // 1_000_000
    with _lock:
        tick = _last_tick = max(tick, _last_tick + 1)
    random = int.from_bytes(os.urandom(8)) >> 2
    bits = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | random
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _new_lock() -> None:
    # Another thread of the parent may have held the lock at the moment of the fork; in the child nobody would free it.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
