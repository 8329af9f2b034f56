"""Generated logs, as honest as they can be."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from audit.log.canonical import canonical_bytes
from audit.log.entry import Entry, payload_hash, time_text
from audit.log.tree import leaf_hash

HOST = "routing.example"
ORG = "01900000-0000-7000-8000-00000000000a"
LOG = f"{HOST}/audit/{ORG}"
#: What canonical JSON, hashes and line ends have to bear.
TEXTS = (
    "", "a", "route.created", "\n", "\r\n", "\u2028", "\x7f", "\x1f", '"', "\\", "\\u0000", "é", "e\u0301", "\ufeff", "😀",
    "\uffff", "<script>", "x" * 300, "— name AAAA", "{}", "null", "0", "ｆｕｌｌ", "سلام",
)  # fmt: skip


class Line(NamedTuple):
    """What is stored of an entry, and what it says."""

    data: bytes
    payload: bytes
    salt: bytes
    value: dict[str, Any]
    said: dict[str, Any]


def chain(random: Random, size: int, log: str = LOG) -> Iterator[Line]:
    """So many entries of one log, in order."""
    at, prev, version = datetime(2026, 1, 1, tzinfo=UTC), None, 0
    for seq in range(size):
        at += timedelta(microseconds=random.choice((0, 1, 999_999, 3_600_000_000)))
        said, salt = _object(random, 3), random.randbytes(16)
        payload = canonical_bytes(said)
        step = random.choice((0, 1, None))
        entry = Entry(
            log=log,
            seq=seq,
            ts=time_text(at),
            actor_type=random.choice(("user", "api_key", "system", "anonymous")),
            actor_id=random.choice(TEXTS),
            on_behalf_of=random.choice((None, *TEXTS)),
            action=random.choice(TEXTS),
            target_type=random.choice(TEXTS),
            target_id=str(UUID(int=random.getrandbits(128), version=4)),
            request_id=random.choice((None, *TEXTS)),
            version_before=None if step is None else version,
            version_after=None if step is None else version + step,
            payload_sha256=payload_hash(salt, payload),
            prev=prev,
        )
        version += step or 0
        data = entry.to_bytes()
        prev = leaf_hash(data).hex()
        yield Line(data, payload, salt, _value(entry), said)


def _value(entry: Entry) -> dict[str, Any]:
    """What the entry's bytes are the JSON of, as the design page lists it."""
    return {
        "v": 1,
        "log": entry.log,
        "seq": entry.seq,
        "ts": entry.ts,
        "actor": {"type": entry.actor_type, "id": entry.actor_id, "on_behalf_of": entry.on_behalf_of},
        "action": entry.action,
        "target": {"type": entry.target_type, "id": entry.target_id},
        "request_id": entry.request_id,
        "version_before": entry.version_before,
        "version_after": entry.version_after,
        "payload_sha256": entry.payload_sha256,
        "prev": entry.prev,
    }


def _object(random: Random, depth: int) -> dict[str, Any]:
    return {random.choice(TEXTS) + str(n % 3): _any(random, depth) for n in range(random.randrange(5))}


def _any(random: Random, depth: int) -> Any:
    if depth and random.random() < 0.4:
        return _object(random, depth - 1) if random.random() < 0.5 else [_any(random, depth - 1) for _ in range(3)]
    return random.choice((None, True, False, 0, -1, 2**53 - 1, 1 - 2**53, random.getrandbits(40), random.choice(TEXTS)))
