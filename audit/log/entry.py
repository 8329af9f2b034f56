"""The bytes of an entry. What is hashed is what is stored; nobody serialises again to verify."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from json.encoder import encode_basestring as _text
from typing import Any

from audit.log.canonical import MAX_INTEGER, NotCanonical, canonical_bytes, parse

MAX_BYTES = 16 * 1024
SALT_SIZE = 16
ACTOR_TYPES = frozenset({"user", "api_key", "system", "anonymous"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BadEntry(ValueError):
    """These bytes are no entry; `rule` is the stable name of what they break."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says. `ts` is text, UTC with six digits and `Z`; hashes are 64 hex digits."""

    log: str
    seq: int
    ts: str
    actor_type: str
    actor_id: str
    on_behalf_of: str | None
    action: str
    target_type: str
    target_id: str
    request_id: str | None
    version_before: int | None
    version_after: int | None
    payload_sha256: str
    prev: str | None

    def to_bytes(self) -> bytes:
        """The canonical bytes. Raises `BadEntry` for what `from_bytes` would refuse."""
        try:
            data = canonical_bytes(
                {
                    "v": 1,
                    "log": self.log,
                    "seq": self.seq,
                    "ts": self.ts,
                    "actor": {"type": self.actor_type, "id": self.actor_id, "on_behalf_of": self.on_behalf_of},
                    "action": self.action,
                    "target": {"type": self.target_type, "id": self.target_id},
                    "request_id": self.request_id,
                    "version_before": self.version_before,
                    "version_after": self.version_after,
                    "payload_sha256": self.payload_sha256,
                    "prev": self.prev,
                }
            )
        except NotCanonical as error:
            raise BadEntry("bad_canonical", str(error)) from error
        Entry.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Entry":
        """The entry of its canonical bytes. Raises `BadEntry`."""
        if len(data) > MAX_BYTES:
            raise BadEntry("too_large", f"An entry has at most {MAX_BYTES:,} bytes; this one has {len(data):,}.")
        raw = _read(data)
        numbers = (raw["seq"], raw["version_before"] or 0, raw["version_after"] or 0)
        if raw["v"] != 1 or min(numbers) < 0 or raw["actor"]["type"] not in ACTOR_TYPES:
            raise BadEntry("wrong_shape", "An entry has an unknown format, actor or number.")
        if b"\\u0000" in data and _holds_nul(raw):
            raise BadEntry("wrong_shape", "Text with U+0000, which not every database can keep.")
        prev = raw["prev"]
        if not _is_time(raw["ts"]) or not _HASH.fullmatch(raw["payload_sha256"]):
            raise BadEntry("wrong_shape", "The time or the payload's hash of an entry is not in its form.")
        if (prev is None) != (raw["seq"] == 0) or not (prev is None or _HASH.fullmatch(prev)):
            raise BadEntry("wrong_shape", "`prev` is the hash of the entry before, and null for the first only.")
        return cls(
            log=raw["log"],
            seq=raw["seq"],
            ts=raw["ts"],
            actor_type=raw["actor"]["type"],
            actor_id=raw["actor"]["id"],
            on_behalf_of=raw["actor"]["on_behalf_of"],
            action=raw["action"],
            target_type=raw["target"]["type"],
            target_id=raw["target"]["id"],
            request_id=raw["request_id"],
            version_before=raw["version_before"],
            version_after=raw["version_after"],
            payload_sha256=raw["payload_sha256"],
            prev=prev,
        )


def _read(data: bytes) -> dict[str, Any]:
    """What stands in canonical bytes of the shape of an entry. Raises `BadEntry`."""
    try:
        raw = json.loads(data)
        if _has_shape(raw) and _written(raw) == data:
            return dict(raw)
    except (ValueError, RecursionError):
        pass
    try:
        parse(data)
    except NotCanonical as error:
        raise BadEntry("bad_canonical", str(error)) from error
    raise BadEntry("wrong_shape", "An entry has other keys, or a value of another type.")


def _has_shape(raw: Any) -> bool:
    return _fits(raw, _SHAPE) and _fits(raw["actor"], _ACTOR) and _fits(raw["target"], _TARGET)


def _written(raw: dict[str, Any]) -> bytes:
    """The canonical bytes of what has the shape: those of `canonical_bytes`, in a quarter of the time.

    Raises `ValueError` for text with a lone surrogate and for an integer that no double holds.
    """
    if max(raw["seq"], raw["v"], raw["version_after"] or 0, raw["version_before"] or 0) > MAX_INTEGER:
        raise ValueError("An integer is beyond what a double holds exactly.")
    actor, target = raw["actor"], raw["target"]
    return (
        f'{{"action":{_text(raw["action"])},"actor":{{"id":{_text(actor["id"])},'
        f'"on_behalf_of":{_or_null(actor["on_behalf_of"])},"type":{_text(actor["type"])}}},"log":{_text(raw["log"])},'
        f'"payload_sha256":{_text(raw["payload_sha256"])},"prev":{_or_null(raw["prev"])},'
        f'"request_id":{_or_null(raw["request_id"])},"seq":{raw["seq"]},'
        f'"target":{{"id":{_text(target["id"])},"type":{_text(target["type"])}}},"ts":{_text(raw["ts"])},"v":{raw["v"]},'
        f'"version_after":{_number(raw["version_after"])},"version_before":{_number(raw["version_before"])}}}'
    ).encode()


def _or_null(text: str | None) -> str:
    return "null" if text is None else _text(text)


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def payload_hash(salt: bytes, payload: bytes) -> str:
    """Hex SHA-256 over the 16-byte salt followed by the canonical payload."""
    if len(salt) != SALT_SIZE:
        raise ValueError("A salt has 16 bytes.")
    return sha256(salt + payload).hexdigest()


def time_text(at: datetime) -> str:
    """An aware time as entries write it. Raises `ValueError` for a time without a zone."""
    if at.utcoffset() is None:
        raise ValueError("A time without a zone names no moment.")
    # Not strftime: it writes the year 99 with two digits.
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _is_time(text: str) -> bool:
    """Whether the text has the form of a time and names a day and an hour that exist."""
    try:
        return _TIME.fullmatch(text) is not None and time_text(datetime.fromisoformat(text)) == text
    except ValueError:
        return False


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, value.values()))
    return isinstance(value, str) and "\0" in value


_TEXT, _WHOLE, _NONE = (str,), (int,), (type(None),)
_SHAPE: dict[str, tuple[type, ...]] = {
    "v": _WHOLE,
    "log": _TEXT,
    "seq": _WHOLE,
    "ts": _TEXT,
    "actor": (dict,),
    "action": _TEXT,
    "target": (dict,),
    "request_id": _TEXT + _NONE,
    "version_before": _WHOLE + _NONE,
    "version_after": _WHOLE + _NONE,
    "payload_sha256": _TEXT,
    "prev": _TEXT + _NONE,
}
_ACTOR: dict[str, tuple[type, ...]] = {"type": _TEXT, "id": _TEXT, "on_behalf_of": _TEXT + _NONE}
_TARGET: dict[str, tuple[type, ...]] = {"type": _TEXT, "id": _TEXT}


def _fits(raw: Any, shape: dict[str, tuple[type, ...]]) -> bool:
    # `type(…) in`, not isinstance: True is no number here.
    return isinstance(raw, dict) and raw.keys() == shape.keys() and all(type(raw[key]) in shape[key] for key in shape)
