"""Going through the entries of a log in a bundle, and saying what it was after each."""

from abc import ABC, abstractmethod
from hashlib import sha256
from itertools import islice
from typing import Final

from audit.log import tree
from audit.log.bundle import Bundle
from audit.log.check import Checker
from audit.log.entry import BadEntry, Entry

#: Leaf hashes that are made into a tree at once.
_AT_ONCE: Final = 4_096


class Tampered(Exception):
    """An entry breaks a rule; `seq` is None where it cannot be said which does."""

    def __init__(self, log: str, seq: int | None, rule: str, message: str) -> None:
        super().__init__(message)
        self.log, self.seq, self.rule = log, seq, rule


class Walk(ABC):
    """Goes through the entries of a log, the `number`th of a bundle, and keeps the leaf hash of entry `watched`."""

    size = 0

    def __init__(self, bundle: Bundle, number: int, log: str, watched: int | None) -> None:
        self.log, self.watched = log, watched
        self.watched_leaf: bytes | None = None
        #: Where nothing but hashes is looked at, it takes nothing.
        self.checker = Checker(log)
        self.entries = bundle.entries(number)

    @abstractmethod
    def go_to(self, size: int | None) -> None:
        """As far as this size, or to the end of the log. Raises `Tampered`."""

    @property
    @abstractmethod
    def root(self) -> bytes:
        """Of the entries so far."""

    def other_root(self, sound: int, size: int) -> Tampered:
        """Of a checkpoint that says something else than the entries gone through; the first `sound` ones are signed."""
        message = f"Its first {size:,} entries are not those that were signed: from here on one was changed."
        return Tampered(self.log, sound, "wrong_root", message)


class Hashed(Walk):
    """Leaf hashes and the tree alone."""

    def __init__(self, bundle: Bundle, number: int, log: str, watched: int | None) -> None:
        super().__init__(bundle, number, log, watched)
        self.edge: list[bytes] = []

    def go_to(self, size: int | None) -> None:
        while size is None or self.size < size:
            most = _AT_ONCE if size is None else min(_AT_ONCE, size - self.size)
            leaves = [sha256(b"\0" + data).digest() for data in islice(self.entries, most)]
            if not leaves:
                return
            if self.watched is not None and 0 <= self.watched - self.size < len(leaves):
                self.watched_leaf = leaves[self.watched - self.size]
            self.edge = tree.extend(self.size, self.edge, leaves)
            self.size += len(leaves)

    @property
    def root(self) -> bytes:
        return tree.root(self.edge)


class Checked(Walk):
    """Every rule."""

    def __init__(self, bundle: Bundle, number: int, log: str, watched: int | None) -> None:
        super().__init__(bundle, number, log, watched)
        self.payloads = bundle.payloads(number)

    def go_to(self, size: int | None) -> None:
        take, payloads = self.checker.take, self.payloads
        while size is None or self.checker.size < size:
            data, kept = next(self.entries, None), next(payloads, None)
            if data is None or kept is None:
                if data is not None or kept is not None:
                    what = "an entry without a payload" if kept is None else "a payload without an entry"
                    message = f"There is {what} beside it, which no export has."
                    raise Tampered(self.log, self.checker.size, "missing_payload", message)
                break
            try:
                take(data, *kept)
            except BadEntry as error:
                raise self._broken(data, error) from error
            if self.watched == self.checker.size - 1:
                self.watched_leaf = self.checker.last_leaf
        self.size = self.checker.size

    def other_root(self, sound: int, size: int) -> Tampered:
        try:
            prev = Entry.from_bytes(next(self.entries, b"")).prev
        except BadEntry:
            prev = None
        if prev is not None and self.checker.last_leaf is not None and prev != self.checker.last_leaf.hex():
            message = f"It is not the entry that entry {size:,} follows."
            return Tampered(self.log, size - 1, "wrong_prev", message)
        return super().other_root(sound, size)

    def _broken(self, data: bytes, error: BadEntry) -> Tampered:
        seq = self.checker.size
        if error.rule == "wrong_prev" and seq:
            # One of two was changed. Where the next entry does not follow this one either, it is this one.
            try:
                follows = Entry.from_bytes(next(self.entries)).prev == tree.leaf_hash(data).hex()
            except (BadEntry, StopIteration):
                follows = True
            if follows:
                return Tampered(self.log, seq - 1, error.rule, f"It is not the entry that entry {seq:,} follows.")
        return Tampered(self.log, seq, error.rule, str(error))

    @property
    def root(self) -> bytes:
        return self.checker.root
