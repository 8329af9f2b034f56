"""`python -m audit.log.verify BUNDLE --key VKEY`: checks an exported bundle without Django, a database or a network, in
constant memory.

Exit code 0: verified. 1: tampered; the first bad entry and the rule that it breaks are named. 2: it cannot be verified
(no checkpoint that a known key signed, entries that none covers, no bundle). 3: usage.

The rules of entries are those of `Checker`; of a log as a whole: `wrong_root` (a signed checkpoint has another root),
`cut` (it counts more entries), `bad_checkpoint` (its signature or form is wrong, or it is of another log), `not_linked` (a
log that was opened after another one does not begin with what that one was), `rewritten` (an older checkpoint was of
another history), `other_receipt` (the entry of a receipt is another one, or gone).
"""

import argparse
import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from audit.log import tree
from audit.log.bundle import BadBundle, Bundle
from audit.log.check import EPOCH_OPENED, Checker
from audit.log.entry import BadEntry, Entry

try:
    from audit.log.notes import BadKey, BadNote, Checkpoint, VerifyKey, open_checkpoint
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    # Not an exit code that says "tampered".
    print(f"CANNOT VERIFY: {missing}. Install it: pip install cryptography", file=sys.stderr)
    raise SystemExit(2) from None

VERIFIED, TAMPERED, CANNOT_VERIFY, USAGE = 0, 1, 2, 3
_VERDICTS = {VERIFIED: "verified", TAMPERED: "tampered", CANNOT_VERIFY: "cannot_verify"}
_FIRST = re.compile(r"[!-~]{1,200}/audit/(?:installation|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_LATER = re.compile(rf"({_FIRST.pattern})/e([2-9]|[1-9]\d{{1,8}})")
#: Leaf hashes that are made into a tree at once.
_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class Receipt:
    """That an entry is at this place of a log: its leaf hash in hex."""

    log: str
    seq: int
    leaf_hash: str


@dataclass(slots=True)
class LogFound:
    """What was found about one log. `signed`: how many of its entries the newest checkpoint covers."""

    log: str
    entries: int = 0
    signed: int = 0
    checkpoints: int = 0
    redacted: int = 0
    root: str = ""
    #: Entries that were signed and then lost by a restore, of which the next log tells; and why, in its words.
    lost: int = 0
    reason: str = ""


@dataclass(slots=True)
class Found:
    """What was found. `bad_seq` and `rule` name the first entry that breaks a rule, and which."""

    verdict: str = "verified"
    message: str = ""
    log: str = ""
    bad_seq: int | None = None
    rule: str = ""
    logs: list[LogFound] = field(default_factory=list)

    @property
    def code(self) -> int:
        return next(code for code, verdict in _VERDICTS.items() if verdict == self.verdict)


class _Tampered(Exception):
    def __init__(self, log: str, seq: int, rule: str, message: str) -> None:
        super().__init__(message)
        self.log, self.seq, self.rule = log, seq, rule


class _CannotVerify(Exception):
    pass


def verify(
    path: Path,
    keys: Sequence[VerifyKey],
    *,
    since: Checkpoint | None = None,
    receipt: Receipt | None = None,
    hashes_only: bool = False,
) -> Found:
    """Check the bundle at this path. `since`: an older checkpoint, its signature already verified. `hashes_only`: no more
    than that the entries are those that were signed, and in their order. Never raises for what is in the bundle."""
    found = Found()
    try:
        with Bundle(path) as bundle:
            _Verification(bundle, keys, since, receipt, hashes_only, found).run()
    except _Tampered as error:
        found.verdict, found.message = "tampered", str(error)
        found.log, found.bad_seq, found.rule = error.log, error.seq, error.rule
    except (_CannotVerify, BadBundle, OSError) as error:
        found.verdict, found.message = "cannot_verify", str(error)
    except Exception as error:  # a fault of ours says nothing about the log
        found.verdict, found.message = "cannot_verify", f"It made the verifier fail: {type(error).__name__}: {error}"
    return found


class _Verification:
    def __init__(
        self,
        bundle: Bundle,
        keys: Sequence[VerifyKey],
        since: Checkpoint | None,
        receipt: Receipt | None,
        hashes_only: bool,
        found: Found,
    ) -> None:
        self.bundle, self.keys, self.since, self.receipt = bundle, keys, since, receipt
        self.hashes_only, self.logs = hashes_only, found.logs
        self.walks: list[_Walk] = []
        #: Of the last log: the largest checkpoint that counts more entries than are left.
        self.beyond: Checkpoint | None = None
        #: What the caller has of entries that were lost, and what tells so.
        self.of_the_lost: dict[str, _Link] = {}

    def run(self) -> None:
        logs = self.bundle.logs
        self._check_names(logs)
        asked = {"checkpoint": self.since and self.since.origin, "receipt": self.receipt and self.receipt.log}
        for what, origin in asked.items():
            if origin is not None and origin not in logs:
                raise _CannotVerify(f"The {what} is of the log {origin}, which is not in this bundle.")
        for number, log in enumerate(logs, 1):
            self._log(number, log)
        self._blanked()
        if self.beyond is not None:
            raise _cut(self.logs[-1], self.beyond)
        for one in self.logs:
            # An older log is signed with the entry that links the next one to it.
            if not one.checkpoints and one is self.logs[-1]:
                raise _CannotVerify(f"No known key signed a checkpoint of {one.log}.")
            if one.signed < one.entries:
                beyond = one.entries - one.signed
                last = "entry" if beyond == 1 else f"{beyond:,} entries"
                raise _CannotVerify(f"Nobody signed the last {last} of {one.log} yet.")
        for what, link in self.of_the_lost.items():
            raise _CannotVerify(
                f"The {what} is of what was lost of {link.log} after entry {link.kept:,}, as the next log tells:"
                f" {link.reason}"
            )

    @staticmethod
    def _check_names(logs: list[str]) -> None:
        """All of one organisation, the first of them first, the oldest before the newer ones."""
        if _LATER.fullmatch(logs[0]):
            raise _Tampered(logs[0], 0, "not_linked", "The logs before this one are not in the bundle.")
        if not _FIRST.fullmatch(logs[0]):
            raise _CannotVerify("What it holds is not called as audit logs are.")
        later = [_LATER.fullmatch(log) for log in logs[1:]]
        numbers = [int(found[2]) for found in later if found is not None and found[1] == logs[0]]
        if len(numbers) < len(later) or numbers != sorted(set(numbers)):
            raise _CannotVerify("These are not the logs of one organisation, the oldest first.")

    def _log(self, number: int, log: str) -> None:
        one = LogFound(log)
        self.logs.append(one)
        link = self._link(number + 1) if number < len(self.bundle.logs) else None
        if number == 1 and _action(next(self.bundle.entries(1), b"")) == EPOCH_OPENED:
            raise _Tampered(log, 0, "not_linked", "It goes on for another log, which is not in the bundle.")
        walk = (_Hashed if self.hashes_only else _Checked)(self.bundle, number, log, self.receipt, link)
        self.walks.append(walk)
        beyond: Checkpoint | None = None
        for mark, rule in self._marks(number, one):
            walk.go_to(mark.size)
            if walk.size >= mark.size and walk.root == mark.root:
                one.signed = mark.size
            elif link is not None and link.tells_of(mark):
                if rule == "rewritten":
                    self.of_the_lost["older checkpoint"] = link
            elif walk.size < mark.size:
                beyond = mark
            elif rule == "rewritten":
                raise _Tampered(log, 0, rule, f"Its first {mark.size:,} entries are not those of the older checkpoint.")
            else:
                raise walk.other_root(one, mark)
        walk.go_to(None)
        one.entries, one.root = walk.size, walk.root.hex()
        if self.receipt is not None and self.receipt.log == log:
            if walk.is_of_the_lost or (
                link is not None and link.covers(self.receipt.seq) and self.receipt.seq >= walk.size
            ):
                assert link is not None
                self.of_the_lost["receipt"] = link
            elif self.receipt.seq >= walk.size:
                message = f"The log ends before entry {self.receipt.seq:,}, of which there is a receipt."
                raise _Tampered(log, walk.size, "other_receipt", message)
        if link is None:
            self.beyond = beyond
            return
        if (log, one.entries, one.root) != (link.log, link.size, link.root):
            later = self.bundle.logs[number]
            message = f"It says that the log before had {link.size} entries and another root than it has."
            raise _Tampered(later, 0, "not_linked", message)
        if beyond is not None:
            raise _cut(one, beyond)
        one.lost, one.reason = max(link.signed_size - link.kept, 0), link.reason
        # What the next log's checkpoints sign.
        one.signed = one.entries

    def _link(self, number: int) -> "_Link":
        """What the first entry of a later log says of the one before. Raises `_Tampered`."""
        log = self.bundle.logs[number - 1]
        entry, kept = next(self.bundle.entries(number), None), next(self.bundle.payloads(number), (None, None))
        try:
            first = Checker(log).take(entry or b"", *kept)
            told = json.loads(kept[0] or b"")
            if first.action != EPOCH_OPENED:
                raise ValueError(f"it is {first.action}")
            return _Link.read(told)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            message = f"It does not begin with an entry that says what the log before was: {error}"
            raise _Tampered(log, 0, "not_linked", message) from error

    def _blanked(self) -> None:
        """Of every payload that is gone an entry tells, of the same log or of a later one."""
        told: set[str] = set()
        for walk in reversed(self.walks):
            # By the number in its name: one that was lost is not in the bundle.
            later = _LATER.fullmatch(walk.log)
            walk.checker.explain(1 if later is None else int(later[2]), told)
            told |= walk.checker.told_of_older
        for one, walk in zip(self.logs, self.walks, strict=True):
            one.redacted = walk.checker.redacted
            if (seq := walk.checker.unexplained) is not None:
                message = "Its payload is gone, and no later entry tells that it was blanked."
                raise _Tampered(one.log, seq, "missing_payload", message)

    def _marks(self, number: int, one: LogFound) -> Iterator[tuple[Checkpoint, str]]:
        """By size what was signed of a log, and the older checkpoint, each with the rule that is broken where it is not
        so."""
        mine = self.since is not None and self.since.origin == one.log
        older = [(self.since, "rewritten")] if self.since is not None and mine else []
        return merge(older, self._signed(number, one), key=lambda mark: mark[0].size)

    def _signed(self, number: int, one: LogFound) -> Iterator[tuple[Checkpoint, str]]:
        last = 0
        for place, note in enumerate(self.bundle.checkpoints(number), 1):
            try:
                mark = open_checkpoint(note, self.keys)
            except BadNote as error:
                if error.rule == "unknown_key":
                    continue
                raise _Tampered(one.log, one.signed, "bad_checkpoint", f"Checkpoint {place}: {error}") from error
            if mark.origin != one.log or mark.size < last:
                message = f"Checkpoint {place} is of another log, or not in the order of sizes."
                raise _Tampered(one.log, one.signed, "bad_checkpoint", message)
            one.checkpoints, last = one.checkpoints + 1, mark.size
            yield mark, "wrong_root"


@dataclass(frozen=True, slots=True)
class _Link:
    """What a log says of the one before it: what that is, what of it was signed, and how many of its first entries are
    those that were signed."""

    log: str
    size: int
    root: str
    signed_size: int
    signed_root: str
    kept: int
    reason: str

    @classmethod
    def read(cls, told: Any) -> "_Link":
        """Raises `ValueError`, `KeyError` and `TypeError`."""
        previous = told["previous"]
        sizes = [previous[name] for name in ("size", "signed_size", "kept")]
        if any(type(size) is not int or size < 0 for size in sizes) or sizes[2] > min(sizes[:2]):
            raise ValueError("its sizes fit nothing")
        size, signed_size, kept = sizes
        return cls(
            str(previous["log"]), size, str(previous["root"]), signed_size, str(previous["signed_root"]), kept,
            str(told["reason"]),
        )  # fmt: skip

    def tells_of(self, mark: Checkpoint) -> bool:
        """Whether this was signed of what is lost, so far as it can be known."""
        if mark.size == self.signed_size:
            return mark.size > self.kept and mark.root.hex() == self.signed_root
        return self.kept < mark.size < self.signed_size

    def covers(self, seq: int) -> bool:
        return self.kept <= seq < self.signed_size


def _action(data: bytes) -> str:
    try:
        return Entry.from_bytes(data).action
    except BadEntry:
        return ""


def _cut(one: LogFound, mark: Checkpoint) -> _Tampered:
    message = f"Of {mark.size:,} entries that were signed {one.entries:,} are left."
    return _Tampered(one.log, one.entries, "cut", message)


class _Walk(ABC):
    """Goes through the entries of a log, and says what it was after each."""

    size = 0

    def __init__(self, bundle: Bundle, number: int, log: str, receipt: Receipt | None, link: _Link | None) -> None:
        self.bundle, self.log, self.link = bundle, log, link
        #: Whether the receipt is of an entry that was lost, as the next log tells.
        self.is_of_the_lost = False
        #: Where nothing but hashes is looked at, it takes nothing.
        self.checker = Checker(log)
        self.entries = bundle.entries(number)
        self.receipt = receipt if receipt is not None and receipt.log == log else None

    @abstractmethod
    def go_to(self, size: int | None) -> None:
        """As far as this size, or to the end of the log. Raises `_Tampered`."""

    @property
    @abstractmethod
    def root(self) -> bytes:
        """Of the entries so far."""

    def other_root(self, one: LogFound, mark: Checkpoint) -> _Tampered:
        """Of a checkpoint that says something else than the entries that were gone through."""
        message = f"Its first {mark.size:,} entries are not those that were signed: from here on one was changed."
        return _Tampered(self.log, one.signed, "wrong_root", message)

    def _look(self, seq: int, leaf: bytes | None) -> None:
        if (
            self.receipt is not None
            and self.receipt.seq == seq
            and leaf is not None
            and leaf.hex() != self.receipt.leaf_hash
        ):
            if self.link is None or not self.link.covers(seq):
                raise _Tampered(self.log, seq, "other_receipt", "It is not the entry of which there is a receipt.")
            self.is_of_the_lost = True


class _Hashed(_Walk):
    """Leaf hashes and the tree alone."""

    def __init__(self, bundle: Bundle, number: int, log: str, receipt: Receipt | None, link: _Link | None) -> None:
        super().__init__(bundle, number, log, receipt, link)
        self.edge: list[bytes] = []

    def go_to(self, size: int | None) -> None:
        while size is None or self.size < size:
            most = _AT_ONCE if size is None else min(_AT_ONCE, size - self.size)
            leaves = [sha256(b"\0" + data).digest() for data in islice(self.entries, most)]
            if not leaves:
                return
            if self.receipt is not None and 0 <= self.receipt.seq - self.size < len(leaves):
                self._look(self.receipt.seq, leaves[self.receipt.seq - self.size])
            self.edge = tree.extend(self.size, self.edge, leaves)
            self.size += len(leaves)

    @property
    def root(self) -> bytes:
        return tree.root(self.edge)


class _Checked(_Walk):
    """Every rule."""

    def __init__(self, bundle: Bundle, number: int, log: str, receipt: Receipt | None, link: _Link | None) -> None:
        super().__init__(bundle, number, log, receipt, link)
        self.payloads = bundle.payloads(number)

    def go_to(self, size: int | None) -> None:
        take, payloads = self.checker.take, self.payloads
        while size is None or self.checker.size < size:
            data, kept = next(self.entries, None), next(payloads, None)
            if data is None or kept is None:
                if data is not None or kept is not None:
                    what = "an entry without a payload" if kept is None else "a payload without an entry"
                    message = f"There is {what} beside it, which no export has."
                    raise _Tampered(self.log, self.checker.size, "missing_payload", message)
                break
            try:
                take(data, *kept)
            except BadEntry as error:
                raise self._broken(data, error) from error
            if self.receipt is not None:
                self._look(self.checker.size - 1, self.checker.last_leaf)
        self.size = self.checker.size

    def other_root(self, one: LogFound, mark: Checkpoint) -> _Tampered:
        try:
            prev = Entry.from_bytes(next(self.entries, b"")).prev
        except BadEntry:
            prev = None
        if prev is not None and self.checker.last_leaf is not None and prev != self.checker.last_leaf.hex():
            message = f"It is not the entry that entry {mark.size:,} follows."
            return _Tampered(self.log, mark.size - 1, "wrong_prev", message)
        return super().other_root(one, mark)

    def _broken(self, data: bytes, error: BadEntry) -> _Tampered:
        seq = self.checker.size
        if error.rule == "wrong_prev" and seq:
            # One of two was changed. Where the next entry does not follow this one either, it is this one.
            try:
                follows = Entry.from_bytes(next(self.entries)).prev == tree.leaf_hash(data).hex()
            except (BadEntry, StopIteration):
                follows = True
            if follows:
                return _Tampered(self.log, seq - 1, error.rule, f"It is not the entry that entry {seq:,} follows.")
        return _Tampered(self.log, seq, error.rule, str(error))

    @property
    def root(self) -> bytes:
        return self.checker.root


# --- The command ------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.format_usage()}{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _Parser(
        prog="python -m audit.log.verify",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="Exit code 0: verified. 1: tampered; the first bad entry and the rule that it breaks are named. 2: it cannot"
        " be verified. 3: the arguments are wrong.",
    )
    parser.add_argument("bundle", type=Path, help="a ZIP file from `audit/export/`, or the folder that was in it")
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="VKEY",
        help="whose signatures count: name+id+key; may be repeated",
    )
    parser.add_argument(
        "--since", type=Path, metavar="FILE", help="an older checkpoint, of which this must be a continuation"
    )
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="JSON: the answer to a change, or its `receipt`")
    parser.add_argument("--hashes", action="store_true", help="only that the entries are those that were signed")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    option = "--key"
    try:
        keys = [VerifyKey.parse(text) for text in given.key]
        option = f"--receipt {given.receipt}"
        receipt = None if given.receipt is None else read_receipt(given.receipt.read_text(encoding="utf-8"))
        option = f"--since {given.since}"
        note = None if given.since is None else given.since.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        parser.error(_printable(f"{option}: this is no text"))
    except (BadKey, ValueError, OSError, RecursionError) as error:
        parser.error(_printable(f"{option}: {error}"))
    try:
        # What was sent by mail, or through a shell, may have lost its last line end.
        since = None if note is None else open_checkpoint(note.rstrip("\n") + "\n", keys)
    except BadNote as error:
        more = (
            " If it was signed by a key that is retired by now, name that too: --key."
            if error.rule == "unknown_key"
            else ""
        )
        found = Found("cannot_verify", f"The older checkpoint cannot be trusted: {error}{more}")
    else:
        found = verify(given.bundle, keys, since=since, receipt=receipt, hashes_only=given.hashes)
        if found.verdict == "verified":
            found.message = "; ".join(_besides(since, receipt, keys))
    print(json.dumps(asdict(found)) if given.json else told(found, hashes_only=given.hashes))
    return found.code


def _besides(since: Checkpoint | None, receipt: Receipt | None, keys: Sequence[VerifyKey]) -> Iterator[str]:
    """What else was looked at, and is so."""
    yield f"signed by {' or '.join(f'{key.name}+{key.key_id.hex()}' for key in keys)}"
    if since is not None:
        yield f"continues the checkpoint of {_counted(since.size, 'entry', 'entries')}"
    if receipt is not None:
        yield f"has entry {receipt.seq:,} of the receipt"


def read_receipt(text: str) -> Receipt:
    """The receipt in an answer of the API, or by itself. Raises `ValueError`."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is no JSON: {error}") from error
    raw = raw.get("receipt", raw) if isinstance(raw, dict) else None
    match raw:
        case {"log": str(log), "seq": int(seq), "leaf_hash": str(leaf)} if seq >= 0 and not isinstance(seq, bool):
            if re.fullmatch("[0-9a-f]{64}", leaf):
                return Receipt(log, seq, leaf)
    raise ValueError(
        "A receipt is a JSON object with `log`, `seq` and `leaf_hash`, 64 hexadecimal digits in small letters."
    )


def told(found: Found, *, hashes_only: bool) -> str:
    """The same for people."""
    lines = []
    if found.verdict == "verified":
        for one in found.logs:
            what = "hashes and tree" if hashes_only else "every rule"
            lines.append(f"{one.log}: verified {_counted(one.entries, 'entry', 'entries')}, {what}, root {one.root}")
            if one.redacted:
                lines.append(f"  {_counted(one.redacted, 'payload')} blanked, each told by an entry")
            if one.lost:
                lines.append(
                    f"  {_counted(one.lost, 'entry', 'entries')} that were signed cannot be shown to be there:"
                    f" {one.reason}"
                )
        if found.message:
            lines.append(f"  {found.message}")
    elif found.verdict == "tampered":
        lines.append(f"{found.log}: TAMPERED at entry {found.bad_seq} ({found.rule}): {found.message}")
    else:
        lines.append(f"CANNOT VERIFY: {found.message}")
    return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """What is in a bundle must not move the cursor, or hide what stands above it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


if __name__ == "__main__":
    sys.exit(main())
