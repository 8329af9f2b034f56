"""A new log where the old one cannot go on, after a restore from a backup above all."""

from contextlib import closing, suppress
from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from audit.log import tree
from audit.log.check import EPOCH_OPENED
from audit.log.entry import BadEntry, Entry
from audit.log.links import is_later, number_of
from audit.models import UNREADABLE, AuditEntry, AuditHead, raw
from audit.services import Receipt, check_reason, place_of, record
from audit.signing.keys import key_name, own_keys, signer_folder, told_keys
from audit.signing.looking import Refused, Row, closed_before, heads, look, notes_of, witness_of
from audit.signing.state import LOST, Closed, Memory, Signed, State, at_work


class NotRefused(Exception):
    """The log goes on as it is."""

    code = "not_refused"


def open_epoch(org_id: UUID | None, *, reason: str, by: Any, force: bool = False) -> Receipt | None:
    """Close the log of an organisation, or of the installation for None, which the signer refuses, and open the next one.

    Its first entry says what the old log is now, what of it was signed, how much of that is there, and why. To be called
    where the signer's memory is: it signs no new log for an old one that was not opened there, with this very entry. Heads
    that fit no log that it knows are put right or taken away first; None where that was all that was wrong. Raises
    `NotRefused` for a log that can go on, unless `force` is given, and `EntryRefused` for the reason.
    """
    check_reason(reason)
    folder = signer_folder()
    with at_work(folder), closing(State(folder)) as state, transaction.atomic():
        return _Opening(org_id, state).open(reason, by, force=force)


class _Ended(NamedTuple):
    """What a log is at its end, as its entries are. `kept`: so many of the first of them are those that were signed."""

    size: int
    edge: list[bytes]
    last: bytes | None
    last_ts: str
    kept: int


class _Opening:
    """What is known of the logs of an organisation, and the steps to the next one."""

    def __init__(self, org_id: UUID | None, state: State) -> None:
        self.org_id, self.state = org_id, state
        host, told = key_name().removesuffix("/audit"), told_keys()
        self.unreadable_keys = bool(told.unreadable)
        self.memory: Memory = state.read(host)
        self.first = host + place_of(org_id)
        self.own = [key.verify_key for key in own_keys()]
        self.retired = [key for key in (*told.retired, *told.known) if key not in self.own]
        # Whoever writes waits.
        list(AuditHead.objects.select_for_update().filter(org_id=org_id).values_list("pk"))

    def open(self, reason: str, by: Any, *, force: bool) -> Receipt | None:
        is_mended = self._mend()
        old = self._old()
        if not force and self._goes_on(old):
            if is_mended:
                return None
            raise NotRefused(f"The signer does not refuse the log {old}: it goes on as it is.")
        signed = self.memory.signed.get(old) or Signed(old)
        marks = {**_within(signed), **notes_of(old, [*self.own, *self.retired]), **self.state.marks(old)}
        # Where the memory is older than the database, or lost, the signer's own checkpoints say what was signed.
        signed_size, signed_root = max([(signed.size, signed.root), *marks.items()])
        ended = _ended(old, marks)
        self._write_head(old, ended)
        new, between = self._next(old)
        AuditHead.objects.create(org_id=self.org_id, epoch=number_of(new), log=new)
        previous = {
            "log": old,
            "size": ended.size,
            "root": tree.root(ended.edge).hex(),
            "signed_size": signed_size,
            "signed_root": signed_root.hex(),
            "kept": ended.kept,
            "lost": [{"log": one.log, "size": one.size, "root": one.root.hex()} for one in between],
        }
        payload, target = {"reason": reason, "previous": previous}, ("log", new.rpartition("/audit/")[2])
        receipt = record(self.org_id, by=by, action=EPOCH_OPENED, target=target, payload=payload)
        lost = [Closed(one.log, LOST, b"") for one in between]
        # A signer that lost its memory does not know those before, and one whose database is restored from a newer backup
        # than the one before knows other ends of them.
        before = closed_before(old, replace(self.memory, closed={}))
        closed = [Closed(old, ended.size, tree.pack(ended.edge)), *lost, *before]
        # Before anything is committed: should this process end in between, the old log is refused as it was.
        self.state.open(new, bytes.fromhex(receipt.leaf_hash), closed)
        return receipt

    def _mend(self) -> bool:
        """Whether heads had to be put right: those that are of no log are taken away, and those of closed logs, whose
        entries are what they were, written anew. What else is wrong is for `look` to say."""
        strays = [row.pk for row in heads() if self._is_stray(row)]
        AuditHead.objects.filter(pk__in=strays).delete()
        rows, is_mended = {row.log: row for row in heads()}, bool(strays)
        for name, closed in self.memory.closed.items():
            if not self._is_ours(name) or closed.size == LOST:
                continue
            with suppress(Refused):
                look(name, rows.get(name), self.memory, None)
                continue
            ended = _ended(name, {})
            if (ended.size, tree.pack(ended.edge)) == (closed.size, closed.edge):
                self._write_head(name, ended)
                is_mended = True
        return is_mended

    def _is_stray(self, row: Row) -> bool:
        """A head under a name that no log of the organisation has: somebody added it, or renamed one."""
        if self._is_ours(row.log):
            closed = self.memory.closed.get(row.log)
            if closed is not None and closed.size == LOST:
                # Unless it is the newest that there is: then a newer backup is restored than the one that it was lost with.
                return any(number_of(name) > number_of(row.log) for name in self._there())
            return not self._is_known(row.log)
        with suppress(*UNREADABLE):
            is_in_org = row.org_id is None if self.org_id is None else UUID(str(row.org_id)) == self.org_id
            return is_in_org and row.log not in (self.memory.signed.keys() | self.memory.closed.keys())
        return False

    def _is_ours(self, name: Any) -> bool:
        return name == self.first or (is_later(str(name)) and str(name).startswith(f"{self.first}/e"))

    def _is_known(self, name: str) -> bool:
        """Whether the signer signed the log, or an operator opened it here; or nobody remembers any of these logs."""
        memory = self.memory
        if name == self.first or name in memory.signed or name in memory.closed:
            return True
        first = AuditEntry.objects.filter(log=name, seq=0).values_list(raw("entry"), flat=True).first()
        if first is not None and memory.opened.get(name) == tree.leaf_hash(bytes(first)):
            return True
        # What a signer that lost its memory finds, it cannot tell from what somebody added.
        return not any(map(self._is_ours, memory.signed)) or witness_of(name, self.own, self.retired) is not None

    def _there(self) -> set[str]:
        """Those logs of the organisation of which there is a head, or entries that were signed."""
        signed = filter(self._is_ours, self.memory.signed)
        names = {name for name in signed if AuditEntry.objects.filter(log=name).exists()}
        return names | {row.log for row in heads() if self._is_ours(row.log)}

    def _old(self) -> str:
        """The log that is closed: the newest of which there is something. Raises `NotRefused` where there is none."""
        names = self._there()
        if not names and not any(map(self._is_ours, self.memory.signed)):
            raise NotRefused("There is no such log.")
        # A backup may be from before all of them: then the first has no entries, and the others are lost.
        return max(names, key=number_of, default=self.first)

    def _goes_on(self, name: str) -> bool:
        if self.org_id is None and self.unreadable_keys:
            return False
        row = next((row for row in heads() if row.log == name), None)
        with suppress(Refused):
            return look(name, row, self.memory, witness_of(name, self.own, self.retired)) is not None
        return False

    def _next(self, old: str) -> tuple[str, list[Signed]]:
        """The name of the new log, and those between, which are lost: a backup may be from before they were opened. No name
        is used twice."""
        number, between, signed = number_of(old) + 1, list[Signed](), self.memory.signed
        while (name := f"{self.first}/e{number}") in signed or AuditEntry.objects.filter(log=name).exists():
            between.append(signed.get(name) or Signed(name))
            number += 1
        return name, between

    def _write_head(self, name: str, ended: _Ended) -> None:
        said = {
            "org_id": self.org_id,
            "epoch": number_of(name),
            "is_current": False,
            "size": ended.size,
            "last_ts": ended.last_ts,
            "last_leaf_hash": None if ended.last is None else tree.leaf_hash(ended.last),
            "right_edge": tree.pack(ended.edge),
        }
        # Not read before: it may be anything.
        if not AuditHead.objects.filter(log=name).update(**said):
            AuditHead.objects.create(log=name, **said)


def _ended(log: str, marks: dict[int, bytes]) -> _Ended:
    """What the entries that there are make of a log. `marks`: by size the roots that it had when it was signed."""
    size, edge, last, kept = 0, list[bytes](), None, 0
    rows = AuditEntry.objects.filter(log=log).order_by("seq", "pk")
    for (entry,) in rows.values_list(raw("entry")).iterator(1_000):
        last = bytes(entry)
        edge = tree.append(size, edge, tree.leaf_hash(last))
        size += 1
        if size in marks and marks[size] == tree.root(edge):
            kept = size
    last_ts = ""
    with suppress(BadEntry):
        last_ts = Entry.from_bytes(last or b"").ts  # "": nothing is added that would be compared with it
    return _Ended(size, edge, last, last_ts, kept)


def _within(signed: Signed) -> dict[int, bytes]:
    """The roots of the smaller trees that the signer knows, because they are the left of the one that it signed."""
    widths = [1 << bit for bit in reversed(range(signed.size.bit_length())) if signed.size >> bit & 1]
    return {size: tree.root(signed.edge[:number]) for number, size in enumerate(accumulate(widths), 1)}
