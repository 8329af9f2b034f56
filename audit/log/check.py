"""The rules of a stored log, checked one entry at a time in constant memory."""

from dataclasses import dataclass, field

from audit.log.entry import SALT_SIZE, BadEntry, Entry, payload_hash
from audit.log.tree import append, leaf_hash, root


@dataclass(slots=True)
class Checker:
    """Takes the entries of one log in order; raises `BadEntry` at the first that breaks a rule.

    Rules: `too_large`, `bad_canonical`, `wrong_shape`, `wrong_log`, `wrong_seq`, `wrong_prev`, `time_went_back`,
    `wrong_payload`. After a refusal the state is that of the entries before.
    """

    log: str
    size: int = 0
    last_leaf: bytes | None = None
    last_ts: str = ""
    edge: list[bytes] = field(default_factory=list)

    def take(self, data: bytes, payload: bytes | None, salt: bytes | None) -> Entry:
        """The next entry: its exact bytes, and its payload with salt where they are kept."""
        entry = Entry.from_bytes(data)
        if entry.log != self.log:
            raise BadEntry("wrong_log", f"It belongs to the log {entry.log}.")
        if entry.seq != self.size:
            raise BadEntry("wrong_seq", f"Its number is {entry.seq}; the next one is {self.size}.")
        if entry.prev != (None if self.last_leaf is None else self.last_leaf.hex()):
            raise BadEntry("wrong_prev", "`prev` is not the hash of the entry before.")
        if entry.ts < self.last_ts:
            raise BadEntry("time_went_back", "Its time is before that of the entry before.")
        if payload is None or salt is None or len(salt) != SALT_SIZE:
            raise BadEntry("wrong_payload", "The payload or its salt is not kept whole beside it.")
        if payload_hash(salt, payload) != entry.payload_sha256:
            raise BadEntry("wrong_payload", "The payload kept beside it is not the one it names.")
        self.last_leaf = leaf_hash(data)
        self.edge = append(self.size, self.edge, self.last_leaf)
        self.size += 1
        self.last_ts = entry.ts
        return entry

    @property
    def root(self) -> bytes:
        """RFC 6962 root of the entries taken so far."""
        return root(self.edge)
