"""Verifying what is stored: a log recomputed from its bytes, beside its columns and its head."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import BinaryField, Func

from audit.log import notes, tree
from audit.log.check import REDACTED, Checker
from audit.log.entry import BadEntry
from audit.log.links import Link, number_of
from audit.models import UNREADABLE, AuditEntry, AuditHead, Checkpoint, Unreadable, as_bytes, reading
from audit.services import columns_of, place_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lost:
    """What the next log tells: how many entries of this one were signed and cannot be shown to be there, the logs after it
    that are lost whole, with the number of signed entries of each, and why."""

    entries: int = 0
    logs: dict[str, int] = field(default_factory=dict)
    reason: str = ""


NOTHING_LOST: Final = Lost()


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying one log found. `bad_seq` and `rule` name the first entry that breaks a rule, and which."""

    log: str
    ok: bool
    size: int
    root: str
    bad_seq: int | None = None
    rule: str = ""
    message: str = ""
    lost: Lost = NOTHING_LOST

    def __str__(self) -> str:
        if self.ok:
            lost = (
                f"; {_entries(self.lost.entries)} that were signed lost: {self.lost.reason}"
                if self.lost.entries
                else ""
            )
            whole = [
                f"\n{log}: LOST, with {_entries(size)} that were signed: {self.lost.reason}"
                for log, size in self.lost.logs.items()
            ]
            return f"{self.log}: verified {_entries(self.size)}, root {self.root}{lost}{''.join(whole)}"
        return f"{self.log}: TAMPERED at entry {self.bad_seq} ({self.rule}): {self.message}"


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def verify_org(org_id: UUID | None) -> Verification:
    """Verify all logs of an organisation, or of the installation for None: what was found of the first that is not in
    order, or else of the one that is written to."""
    found = [verify(log) for log in logs_of(org_id)]
    if not found:
        return Verification(settings.AUDIT_ORIGIN + place_of(org_id), True, 0, tree.EMPTY_ROOT.hex())
    return next((one for one in found if not one.ok), found[-1])


def logs_of(org_id: UUID | None) -> list[str]:
    """The logs of an organisation, or of the installation for None, the oldest first; also one without a head."""
    heads = AuditHead.objects.filter(org_id=org_id).order_by("epoch")
    entries = AuditEntry.objects.filter(org_id=org_id).order_by("epoch").values_list("log", flat=True)
    return list(dict.fromkeys([*heads.values_list("log", flat=True), *entries.distinct()]))


def logs() -> Iterator[str]:
    """Every log of the installation, also one whose head row, or all of which, somebody removed after it was signed."""
    heads = set(AuditHead.objects.values_list("log", flat=True))
    entries = set(AuditEntry.objects.order_by().values_list("log", flat=True).distinct())
    signed = set(Checkpoint.objects.order_by().values_list("log", flat=True).distinct())
    yield from sorted(heads | entries | signed)


def verify(log: str) -> Verification:
    """Recompute a log from its stored bytes, in constant memory: bytes, order, links, payloads, columns and the head.

    May run while others write: it checks the head as it was when it began, and every entry that it finds.
    """
    checker = Checker(log, reads_payloads=True)

    def bad(seq: int, rule: str, message: str) -> Verification:
        return Verification(log, False, checker.size, checker.root.hex(), seq, rule, message)

    try:
        with reading(), ExitStack() as opened:
            return _verify(log, checker, bad, opened)
    except Unreadable as error:
        logger.warning("The log %s cannot be read: %s", log, str(error))
        return bad(checker.size, "unreadable", str(error))


def _verify(
    log: str, checker: Checker, bad: Callable[[int, str, str], Verification], opened: ExitStack
) -> Verification:
    head = AuditHead.objects.filter(log=log).first()
    if head is None:
        if lost := _told_lost(log):
            return Verification(log, True, 0, checker.root.hex(), lost=lost)
        return bad(0, "no_head", "The head of this log is gone.")
    if not head.log.endswith(place_of(head.org_id, head.epoch)):
        return bad(0, "wrong_org", "The head is kept under another organisation than its log names.")
    if problem := _not_linked(head):
        return bad(0, "not_linked", problem)
    found = _state(checker)
    link = _told(head)
    kept, signed = (link.kept, link.signed_size) if link else (0, 0)
    # Whose signatures they are is for those to check who have the key: the offline verifier, and the signer.
    said = map(notes.unverified, opened.enter_context(closing(notes_about(log))))
    marks = (mark for mark in said if not kept < mark.size <= signed)
    mark = next(marks, None)
    rows = AuditEntry.objects.filter(log=log).order_by("seq", "pk").iterator(chunk_size=1_000)
    # In the order of the columns: an entry moved to another place shows as a break at that place.
    for row in opened.enter_context(closing(rows)):
        # Read whole before the checker moves on: what cannot be read is then a finding at this entry.
        data, leaf = as_bytes(row.entry), as_bytes(row.leaf_hash)
        payload = None if row.payload is None else as_bytes(row.payload)
        salt = None if row.salt is None else as_bytes(row.salt)
        try:
            entry = checker.take(data, payload, salt)
        except BadEntry as error:
            return bad(row.seq, error.rule, str(error))
        if leaf != checker.last_leaf:
            return bad(row.seq, "wrong_leaf_hash", "The hash kept beside it is not that of its bytes.")
        if (row.org_id, row.epoch) != (head.org_id, head.epoch):
            return bad(row.seq, "wrong_org", "It is kept under another organisation, or another of its logs.")
        for name, value in columns_of(entry).items():
            if getattr(row, name) != value:
                return bad(row.seq, "wrong_column", f"The column {name} says something else than its bytes.")
        if checker.size <= head.size:
            found = _state(checker)
        while mark is not None and mark.size <= checker.size:
            if (mark.size, mark.root) != (checker.size, checker.root):
                return bad(row.seq, "wrong_root", "A signed checkpoint says that the log was another one up to here.")
            mark = next(marks, None)
    if mark is not None:
        return bad(checker.size, "cut", f"Of {mark.size:,} entries that were signed {checker.size:,} are left.")
    checker.explain(head.epoch, _told_later(head))
    if checker.unexplained is not None:
        message = "Its payload is gone, and no later entry tells that it was blanked."
        return bad(checker.unexplained, "missing_payload", message)
    # An entry and its head are committed together: entries beyond the head read above need one that has grown since.
    grown = checker.size > head.size and AuditHead.objects.filter(log=log, size__gte=checker.size).exists()
    if checker.size != head.size and not grown:
        first = min(head.size, checker.size)
        return bad(first, "wrong_size", f"The head counts {head.size:,} entries, there are {checker.size:,}.")
    last = None if head.last_leaf_hash is None else as_bytes(head.last_leaf_hash)
    if (last, as_bytes(head.right_edge), head.last_ts) != found:
        return bad(max(head.size - 1, 0), "wrong_head", "The head is not that of these entries.")
    lost = Lost(max(signed - kept, 0), link.lost, link.reason) if link else NOTHING_LOST
    return Verification(log, True, checker.size, checker.root.hex(), lost=lost)


def _not_linked(head: AuditHead) -> str:
    """Why the log is not the first of its organisation, and none that goes on for the one before it; "" where it is."""
    if head.epoch == 1:
        return ""
    before = AuditHead.objects.filter(org_id=head.org_id, epoch__lt=head.epoch).order_by("-epoch").first()
    if before is None:
        return "The logs before this one are gone."
    link, root = link_of(head.log), tree.root(tree.unpack(as_bytes(before.right_edge))).hex()
    if link is None or (link.log, link.size, link.root) != (before.log, before.size, root):
        return f"It does not begin with what the log before it, {before.log}, is."
    return ""


def _told(head: AuditHead) -> Link | None:
    """What the next log tells of this one, where there is one."""
    following = AuditHead.objects.filter(org_id=head.org_id, epoch__gt=head.epoch).order_by("epoch").first()
    link = None if following is None else link_of(following.log)
    return link if link is not None and link.log == head.log else None


def _told_lost(log: str) -> Lost | None:
    """What a later log tells of this one, where that is that all of it is lost."""
    first = log.removesuffix(f"/e{number_of(log)}")
    for later in AuditHead.objects.filter(log__startswith=f"{first}/e").order_by("epoch").values_list("log", flat=True):
        link = link_of(later)
        if link is not None and log in link.lost:
            return Lost(link.lost[log], {}, link.reason)
    return None


def link_of(log: str) -> Link | None:
    """What the first entry of this log says of the one before it; None where that cannot be read."""
    first = AuditEntry.objects.filter(log=log, seq=0).values_list("entry", "payload", "salt").first()
    with suppress(*UNREADABLE, KeyError):
        return None if first is None else Link.of_first(log, *map(as_bytes, first))
    return None


def _told_later(head: AuditHead) -> set[str]:
    """The entries of older logs of which the logs after this one tell that they were blanked."""
    rows = AuditEntry.objects.of(head.org_id).filter(epoch__gt=head.epoch, action=REDACTED, target_type="entry")
    return set(rows.values_list("target_id", flat=True))


class _Stored(Func):
    """A column of text, on SQLite as the bytes that stand there: it keeps what is no text too, and fails to read that."""

    template = "%(expressions)s"
    output_field = BinaryField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(%(expressions)s AS BLOB)", **context)


def notes_about(log: str, *, newest_first: bool = False) -> Iterator[str]:
    """What is kept of what was signed of a log, by size."""
    rows = Checkpoint.objects.filter(log=log).order_by("-size" if newest_first else "size")
    for (note,) in rows.values_list(_Stored("note")).iterator():
        yield note if isinstance(note, str) else bytes(note or b"").decode(errors="replace")


def _state(checker: Checker) -> tuple[bytes | None, bytes, str]:
    """What a head keeps beside its size."""
    return checker.last_leaf, tree.pack(checker.edge), checker.last_ts
