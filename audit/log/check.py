"""The rules of a stored log, checked one entry at a time in constant memory."""

import re
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final

from audit.log.canonical import NotCanonical, parse
from audit.log.entry import SALT_SIZE, BadEntry, Entry, payload_hash
from audit.log.tree import append, leaf_hash, root

#: An entry that tells of another one that its payload was blanked. `target`: `entry`, and its number, where it is of the
#: same log; of an older one, which is written to no more, the number of that log stands before it: `1.42`.
REDACTED = "audit.redacted"
#: The first entry of a log that was opened after another one could not go on.
EPOCH_OPENED = "audit.epoch_opened"
MAX_PAYLOAD_BYTES: Final = 256 * 1024
#: A payload is canonical JSON of an object. Of that this is what a bundle needs, which keeps a line for each.
_PAYLOAD: Final = re.compile(rb"\{[^\x00-\x1f]*\}")
_OLDER: Final = re.compile(r"[1-9]\d{0,8}\.\d{1,16}", re.ASCII)


@dataclass(slots=True)
class Checker:
    """Takes the entries of one log in order; raises `BadEntry` at the first that breaks a rule.

    Rules: `too_large`, `bad_canonical`, `wrong_shape`, `wrong_log`, `wrong_seq`, `wrong_prev`, `time_went_back`,
    `wrong_payload`, `missing_payload`, `bad_payload` (it is the one that the entry names, and none that a log may have).
    After a refusal the state is that of the entries before. At the end `missing_payload` is broken by the payloads that are
    gone and that no entry tells of: `unexplained`.
    """

    log: str
    size: int = 0
    last_leaf: bytes | None = None
    last_ts: str = ""
    edge: list[bytes] = field(default_factory=list)
    #: Whether payloads are read as JSON too, which takes as long as all the rest: before anything is signed.
    reads_payloads: bool = False
    #: How many payloads are gone, and an entry tells so.
    redacted: int = 0
    #: The entries of older logs, `1.42`, of which this one tells that they were blanked.
    told_of_older: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)

    def take(self, data: bytes, payload: bytes | None, salt: bytes | None) -> Entry:
        """The next entry: its exact bytes, and its payload with salt, None where they were blanked."""
        entry = Entry.from_bytes(data)
        if entry.log != self.log:
            raise BadEntry("wrong_log", f"It belongs to the log {entry.log}.")
        if entry.seq != self.size:
            raise BadEntry("wrong_seq", f"Its number is {entry.seq}; the next one is {self.size}.")
        if entry.prev != (None if self.last_leaf is None else self.last_leaf.hex()):
            raise BadEntry("wrong_prev", "`prev` is not the hash of the entry before.")
        if entry.ts < self.last_ts:
            raise BadEntry("time_went_back", "Its time is before that of the entry before.")
        if payload is None and salt is None:
            if entry.action.startswith("audit."):
                raise BadEntry("missing_payload", "What the log says of itself is never blanked.")
            self._gone.add(str(entry.seq))
        elif payload is None or salt is None or len(salt) != SALT_SIZE:
            raise BadEntry("wrong_payload", "The payload or its salt is not kept whole beside it.")
        elif payload_hash(salt, payload) != entry.payload_sha256:
            raise BadEntry("wrong_payload", "The payload kept beside it is not the one it names.")
        elif len(payload) > MAX_PAYLOAD_BYTES or not _PAYLOAD.fullmatch(payload):
            raise BadEntry("bad_payload", f"Its payload is no JSON object of at most {MAX_PAYLOAD_BYTES:,} bytes.")
        elif self.reads_payloads:
            try:
                parse(payload)
            except NotCanonical as error:
                raise BadEntry("bad_payload", f"Its payload is not canonical: {error}") from error
        if entry.action == REDACTED and entry.target_type == "entry":
            if entry.target_id in self._gone:
                self._gone.remove(entry.target_id)
                self.redacted += 1
            elif _OLDER.fullmatch(entry.target_id):
                self.told_of_older.add(entry.target_id)
        self.last_leaf = leaf_hash(data)
        self.edge = append(self.size, self.edge, self.last_leaf)
        self.size += 1
        self.last_ts = entry.ts
        return entry

    @property
    def unexplained(self) -> int | None:
        """The first entry whose payload is gone and of which no entry tells so."""
        return min(map(int, self._gone), default=None)

    def explain(self, number: int, told: Set[str]) -> None:
        """Count the entries of this log, the `number`th, as blanked of which later logs tell so."""
        found = {seq for seq in self._gone if f"{number}.{seq}" in told}
        self._gone -= found
        self.redacted += len(found)

    @property
    def root(self) -> bytes:
        """RFC 6962 root of the entries taken so far."""
        return root(self.edge)
