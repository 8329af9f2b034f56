"""The bytes of an entry. What is hashed is what is stored; nobody serialises again to verify."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Final

from audit.log.canonical import MAX_INTEGER, NotCanonical, parse

MAX_BYTES = 16 * 1024
SALT_SIZE = 16


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
            data = (
                f'{{"action":{_quoted(self.action)},"actor":{{"id":{_quoted(self.actor_id)},'
                f'"on_behalf_of":{_quoted_or_null(self.on_behalf_of)},"type":{_quoted(self.actor_type)}}},'
                f'"log":{_quoted(self.log)},"payload_sha256":{_quoted(self.payload_sha256)},'
                f'"prev":{_quoted_or_null(self.prev)},"request_id":{_quoted_or_null(self.request_id)},"seq":{_whole(self.seq)},'
                f'"target":{{"id":{_quoted(self.target_id)},"type":{_quoted(self.target_type)}}},"ts":{_quoted(self.ts)},'
                f'"v":1,"version_after":{_whole(self.version_after)},'
                f'"version_before":{_whole(self.version_before)}}}'
            ).encode()
        except UnicodeEncodeError as error:
            raise BadEntry("bad_canonical", "Text with a lone surrogate has no canonical form.") from error
        except TypeError as error:
            raise BadEntry("wrong_shape", f"A value of an entry is of another type: {error}") from error
        Entry.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Entry":
        """The entry of its canonical bytes. Raises `BadEntry`."""
        if len(data) > MAX_BYTES:
            raise BadEntry("too_large", f"An entry has at most {MAX_BYTES:,} bytes; this one has {len(data):,}.")
        try:
            found = _FORM.fullmatch(data.decode())
        except UnicodeDecodeError as error:
            raise BadEntry("bad_canonical", f"Not canonical JSON: {error}") from error
        if found is None:
            raise _told_apart(data)
        (
            action, actor_id, on_behalf_of, actor_type, log, payload_sha256, prev, request_id, seq, target_id, target_type,
            ts, version_after, version_before,
        ) = found.groups()  # fmt: skip
        entry = cls(
            log=_said(log),
            seq=int(seq),
            ts=ts,
            actor_type=actor_type,
            actor_id=_said(actor_id),
            on_behalf_of=None if on_behalf_of is None else _said(on_behalf_of),
            action=_said(action),
            target_type=_said(target_type),
            target_id=_said(target_id),
            request_id=None if request_id is None else _said(request_id),
            version_before=None if version_before is None else int(version_before),
            version_after=None if version_after is None else int(version_after),
            payload_sha256=payload_sha256,
            prev=prev,
        )
        if max(entry.seq, entry.version_before or 0, entry.version_after or 0) > MAX_INTEGER:
            raise BadEntry("bad_canonical", "An integer is beyond what a double holds exactly.")
        if not _is_day(ts[:10]):
            raise BadEntry("wrong_shape", "The time of an entry names a day that does not exist.")
        if (prev is None) != (entry.seq == 0):
            raise BadEntry("wrong_shape", "`prev` is the hash of the entry before, and null for the first only.")
        return entry


#: It escapes exactly what RFC 8785 wants escaped, in its form. Raises `TypeError` for what is no text.
_quoted: Final = encode_basestring


def _whole(number: int | None) -> str:
    return str(number) if type(number) is int else json.dumps(number)  # what is no number is refused by its form


def _quoted_or_null(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


# The canonical bytes of an entry have one form, the keys in their order: to match it is to check them, in a quarter of the
# time that it takes to read JSON and write it again. U+0000, which not every database keeps, is in no text.
_TEXT_FORM: Final = r'[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[1-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+'
_NUMBER_FORM: Final = r"0|[1-9]\d{0,15}"
_HASH_FORM: Final = r"[0-9a-f]{64}"
_FORM: Final = re.compile(
    rf'{{"action":"({_TEXT_FORM})","actor":{{"id":"({_TEXT_FORM})","on_behalf_of":(?:null|"({_TEXT_FORM})"),'
    rf'"type":"(user|api_key|system|anonymous)"}},"log":"({_TEXT_FORM})","payload_sha256":"({_HASH_FORM})",'
    rf'"prev":(?:null|"({_HASH_FORM})"),"request_id":(?:null|"({_TEXT_FORM})"),"seq":({_NUMBER_FORM}),'
    rf'"target":{{"id":"({_TEXT_FORM})","type":"({_TEXT_FORM})"}},'
    r'"ts":"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z)","v":1,'
    rf'"version_after":(?:null|({_NUMBER_FORM})),"version_before":(?:null|({_NUMBER_FORM}))}}',
    re.ASCII,
)


def _said(text: str) -> str:
    """What stands in JSON between quotation marks."""
    return str(json.loads(f'"{text}"')) if "\\" in text else text


@lru_cache(maxsize=64)
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _told_apart(data: bytes) -> BadEntry:
    """Why these bytes are no entry."""
    try:
        raw = parse(data)
    except NotCanonical as error:
        return BadEntry("bad_canonical", str(error))
    if not isinstance(raw, dict) or raw.keys() != _KEYS:
        return BadEntry("wrong_shape", "An entry has other keys.")
    return BadEntry("wrong_shape", "A value of an entry is of another type or form, or holds U+0000.")


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


_KEYS: Final = {
    "v", "log", "seq", "ts", "actor", "action", "target", "request_id", "version_before", "version_after", "payload_sha256",
    "prev",
}  # fmt: skip
