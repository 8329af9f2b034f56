"""`python -m audit.log.verify BUNDLE --key VKEY`: checks an exported bundle without Django, a database or a network, in
constant memory.

Exit code 0: verified. 1: tampered; the first bad entry and the rule that it breaks are named. 2: it cannot be verified
(no checkpoint that a known key signed, entries that none covers, what was lost, no bundle). 3: usage.

The rules of entries are those of `Checker`; of a log as a whole: `wrong_root` (a signed checkpoint has another root),
`cut` (it counts more entries), `bad_checkpoint` (its signature or form is wrong, or it is of another log), `not_linked` (a
log that was opened after another one does not begin with what that one was), `rewritten` (an older checkpoint was of
another history), `other_receipt` (the entry of a receipt is another one).
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from heapq import merge
from pathlib import Path
from typing import NoReturn

from audit.log.bundle import BadBundle, Bundle
from audit.log.check import EPOCH_OPENED
from audit.log.entry import BadEntry, Entry
from audit.log.walks import Checked, Hashed, Tampered, Walk

try:
    from audit.log.links import Link, is_first, number_of, numbers
    from audit.log.notes import BadKey, BadNote, Checkpoint, VerifyKey, open_checkpoint, open_note
except ImportError as missing:  # also one that is there and cannot be loaded
    if __name__ != "__main__":
        raise
    # Not an exit code that says "tampered".
    print(f"CANNOT VERIFY: {missing}. Install it: pip install cryptography", file=sys.stderr)
    raise SystemExit(2) from None

VERIFIED, TAMPERED, CANNOT_VERIFY, USAGE = 0, 1, 2, 3
_VERDICTS = {VERIFIED: "verified", TAMPERED: "tampered", CANNOT_VERIFY: "cannot_verify"}


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
    #: The keys whose signatures the newest checkpoint has, of those that count.
    signed_by: list[str] = field(default_factory=list)
    #: Entries that were signed and then lost by a restore, of which the next log tells; and why, in its words.
    lost: int = 0
    reason: str = ""
    #: Whether all of the log was lost: then it is not in the bundle.
    is_lost: bool = False


@dataclass(slots=True)
class Found:
    """What was found. `bad_seq` and `rule` name the first entry that breaks a rule, and which; of a history that is another
    one as a whole (`rewritten`) nobody can say where that begins."""

    verdict: str = "verified"
    message: str = ""
    log: str = ""
    bad_seq: int | None = None
    rule: str = ""
    logs: list[LogFound] = field(default_factory=list)

    @property
    def code(self) -> int:
        return next(code for code, verdict in _VERDICTS.items() if verdict == self.verdict)


class _CannotVerify(Exception):
    pass


def verify(
    path: Path,
    keys: Sequence[VerifyKey],
    *,
    log: str = "",
    since: Checkpoint | None = None,
    receipt: Receipt | None = None,
    hashes_only: bool = False,
) -> Found:
    """Check the bundle at this path. `log`: the origin of the first log that it must hold, or the end of that. `since`: an
    older checkpoint, its signature already verified. `hashes_only`: no more than that the entries are those that were
    signed, and in their order. Never raises for what is in the bundle."""
    found = Found()
    try:
        with Bundle(path) as bundle:
            if log and log not in (bundle.logs[0], bundle.logs[0].rpartition("/")[2]):
                raise _CannotVerify(f"This is the log {bundle.logs[0]}, not {log}.")
            _Verification(bundle, keys, since, receipt, hashes_only, found).run()
    except Tampered as error:
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
        self.hashes_only, self.found = hashes_only, found
        self.walks: list[tuple[LogFound, Walk]] = []
        #: Of the last log: the largest checkpoint that counts more entries than are left.
        self.beyond: Checkpoint | None = None
        #: Why what the caller has cannot be compared: it is of what was lost, or of what came after.
        self.not_there: list[str] = []

    def run(self) -> None:
        logs = self.bundle.logs
        if not is_first(logs[0]):
            if number_of(logs[0]) > 1:
                raise Tampered(logs[0], 0, "not_linked", "The logs before this one are not in the bundle.")
            raise _CannotVerify("What it holds is not called as audit logs are.")
        if numbers(logs) is None:
            raise _CannotVerify("These are not the logs of one organisation, the oldest first.")
        for number, log in enumerate(logs, 1):
            self._log(number, log)
        self._blanked()
        if self.beyond is not None:
            raise _cut(self.walks[-1][0], self.beyond)
        newest = self.walks[-1][0]
        # An older log is signed with the entry that links the next one to it.
        if not newest.checkpoints:
            raise _CannotVerify(f"No known key signed a checkpoint of {newest.log}.")
        if newest.signed < newest.entries:
            beyond = newest.entries - newest.signed
            last = "entry" if beyond == 1 else f"{beyond:,} entries"
            raise _CannotVerify(f"Nobody signed the last {last} of {newest.log} yet.")
        seen = {one.log for one in self.found.logs}
        for what, origin in (
            ("checkpoint", self.since and self.since.origin),
            ("receipt", self.receipt and self.receipt.log),
        ):
            if origin is not None and origin not in seen:
                self.not_there.append(f"The {what} is of the log {origin}, which is not in this bundle.")
        for message in self.not_there:
            raise _CannotVerify(message)

    def _log(self, number: int, log: str) -> None:
        one = LogFound(log)
        self.found.logs.append(one)
        link = self._link(number + 1) if number < len(self.bundle.logs) else None
        if number == 1 and _action(next(self.bundle.entries(1), b"")) == EPOCH_OPENED:
            raise Tampered(log, 0, "not_linked", "It goes on for another log, which is not in the bundle.")
        receipt = self.receipt if self.receipt is not None and self.receipt.log == log else None
        watched = None if receipt is None else receipt.seq
        walk = (Hashed if self.hashes_only else Checked)(self.bundle, number, log, watched)
        self.walks.append((one, walk))
        beyond: Checkpoint | None = None
        for mark, rule in self._marks(number, one):
            walk.go_to(mark.size)
            if walk.size >= mark.size and walk.root == mark.root:
                one.signed = mark.size
            elif link is not None and link.tells_of(mark):
                if rule == "rewritten":
                    self.not_there.append(_lost("older checkpoint", link))
            elif walk.size < mark.size:
                beyond = mark
            elif rule == "rewritten":
                message = f"Its first {mark.size:,} entries are not those of the older checkpoint."
                raise Tampered(log, None, rule, message)
            else:
                raise walk.other_root(one.signed, mark.size)
        walk.go_to(None)
        one.entries, one.root = walk.size, walk.root.hex()
        if receipt is not None:
            self._look_for(receipt, walk, link)
        if link is None:
            self.beyond = beyond
            return
        if (log, one.entries, one.root) != (link.log, link.size, link.root):
            later = self.bundle.logs[number]
            message = f"It says that the log before had {link.size} entries and another root than it has."
            raise Tampered(later, 0, "not_linked", message)
        if beyond is not None:
            raise _cut(one, beyond)
        one.lost, one.reason = max(link.signed_size - link.kept, 0), link.reason
        # What the next log's checkpoints sign.
        one.signed = one.entries
        for name, size in link.lost.items():
            self.found.logs.append(LogFound(name, is_lost=True, lost=size, reason=link.reason))
            asked = {"older checkpoint": self.since and self.since.origin, "receipt": self.receipt and self.receipt.log}
            self.not_there += [_lost_whole(what, name, link) for what, origin in asked.items() if origin == name]

    def _look_for(self, receipt: Receipt, walk: Walk, link: Link | None) -> None:
        """Whether the entry of the receipt is there. Raises `Tampered` where it is another one."""
        if walk.watched_leaf is not None and walk.watched_leaf.hex() == receipt.leaf_hash:
            return
        if link is not None and link.kept <= receipt.seq:
            self.not_there.append(_lost("receipt", link))
        elif receipt.seq < walk.size:
            message = "It is not the entry of which there is a receipt."
            raise Tampered(walk.log, receipt.seq, "other_receipt", message)
        else:
            self.not_there.append(
                f"The bundle ends before entry {receipt.seq:,}, of which there is a receipt: it was not signed yet when"
                " this was exported, or it was cut off. Export again; what is signed a minute later must have it."
            )

    def _link(self, number: int) -> Link:
        """What the first entry of a later log says of the one before. Raises `Tampered`."""
        log = self.bundle.logs[number - 1]
        entry, kept = next(self.bundle.entries(number), None), next(self.bundle.payloads(number), (None, None))
        try:
            return Link.of_first(log, entry or b"", *kept)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            message = f"It does not begin with an entry that says what the log before was: {error}"
            raise Tampered(log, 0, "not_linked", message) from error

    def _blanked(self) -> None:
        """Of every payload that is gone an entry tells, of the same log or of a later one."""
        told: set[str] = set()
        for one, walk in reversed(self.walks):
            walk.checker.explain(number_of(one.log), told)
            told |= walk.checker.told_of_older
        for one, walk in self.walks:
            one.redacted = walk.checker.redacted
            if (seq := walk.checker.unexplained) is not None:
                message = "Its payload is gone, and no later entry tells that it was blanked."
                raise Tampered(one.log, seq, "missing_payload", message)

    def _marks(self, number: int, one: LogFound) -> Iterator[tuple[Checkpoint, str]]:
        """By size what was signed of a log, and the older checkpoint, each with the rule that is broken where it is not
        so."""
        mine = self.since is not None and self.since.origin == one.log
        older = [(self.since, "rewritten")] if self.since is not None and mine else []
        return merge(older, self._signed(number, one), key=lambda mark: mark[0].size)

    def _signed(self, number: int, one: LogFound) -> Iterator[tuple[Checkpoint, str]]:
        last = -1
        for place, note in enumerate(self.bundle.checkpoints(number), 1):
            try:
                text, signers = open_note(note, self.keys)
                mark = Checkpoint.parse(text)
            except BadNote as error:
                if error.rule == "unknown_key":
                    continue
                raise Tampered(one.log, one.signed, "bad_checkpoint", f"Checkpoint {place}: {error}") from error
            if mark.origin != one.log or mark.size <= last:
                message = f"Checkpoint {place} is of another log, or not in the order of sizes."
                raise Tampered(one.log, one.signed, "bad_checkpoint", message)
            one.checkpoints, last = one.checkpoints + 1, mark.size
            one.signed_by = [f"{key.name}+{key.key_id.hex()}" for key in signers]
            yield mark, "wrong_root"


def _action(data: bytes) -> str:
    try:
        return Entry.from_bytes(data).action
    except BadEntry:
        return ""


def _cut(one: LogFound, mark: Checkpoint) -> Tampered:
    message = f"Of {mark.size:,} entries that were signed {one.entries:,} are left."
    return Tampered(one.log, one.entries, "cut", message)


def _lost(what: str, link: Link) -> str:
    kept = f"all after its first {_counted(link.kept, 'entry', 'entries')}" if link.kept else "all of it"
    return f"The {what} is of what was lost of {link.log}, which is {kept}, as the next log tells: {link.reason}"


def _lost_whole(what: str, log: str, link: Link) -> str:
    return f"The {what} is of {log}, which was lost whole, as the next log tells: {link.reason}"


# --- The command ------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.format_usage()}{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal cannot show must not keep the verdict from being told.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except Exception as error:  # exit code 1 says "tampered", and this says nothing about the log
        with suppress(OSError):
            print(f"CANNOT VERIFY: the verifier failed: {type(error).__name__}: {error}", file=sys.stderr)
        with suppress(OSError):
            sys.stdout.close()  # what could not be written would be tried once more at the end, and change the exit code
        return CANNOT_VERIFY
    return code


def _main(arguments: Sequence[str] | None) -> int:
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
        "--log",
        default="",
        metavar="ORIGIN",
        help="whose log it must be: host/audit/id, or the id of the organisation, or `installation`. One key signs all",
    )
    parser.add_argument(
        "--since", type=Path, metavar="FILE", help="an older checkpoint, of which this must be a continuation"
    )
    parser.add_argument(
        "--since-key",
        action="append",
        default=[],
        metavar="VKEY",
        help="a key, retired by now, that counts for the older checkpoint and for nothing else; may be repeated",
    )
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="JSON: the answer to a change, or its `receipt`")
    parser.add_argument("--hashes", action="store_true", help="only that the entries are those that were signed")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if given.bundle.is_dir() and Path.cwd().resolve().is_relative_to(given.bundle.resolve()):
        parser.error("run this from elsewhere: in the bundle's folder Python would take its files for the program's")
    option = "--key"
    try:
        keys = [VerifyKey.parse(text) for text in given.key]
        option = "--since-key"
        since_keys = [*keys, *(VerifyKey.parse(text) for text in given.since_key)]
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
        since = None if note is None else open_checkpoint(note.rstrip("\n") + "\n", since_keys)
    except BadNote as error:
        retired = " If a key signed it that is retired by now, name that: --since-key."
        more = retired if error.rule == "unknown_key" else ""
        found = Found("cannot_verify", f"The older checkpoint cannot be trusted: {error}{more}")
    else:
        found = verify(given.bundle, keys, log=given.log, since=since, receipt=receipt, hashes_only=given.hashes)
        if found.verdict == "verified":
            found.message = "; ".join(_besides(found, since, receipt))
    print(json.dumps(asdict(found)) if given.json else told(found, hashes_only=given.hashes))
    return found.code


def _besides(found: Found, since: Checkpoint | None, receipt: Receipt | None) -> Iterator[str]:
    """What else was looked at, and is so."""
    yield f"signed by {' and '.join(found.logs[-1].signed_by)}"
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
            if one.is_lost:
                signed = _counted(one.lost, "entry", "entries")
                lines.append(f"{one.log}: LOST, with {signed} that were signed: {one.reason}")
                continue
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
        place = "" if found.bad_seq is None else f" at entry {found.bad_seq}"
        lines.append(f"{found.log}: TAMPERED{place} ({found.rule}): {found.message}")
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
