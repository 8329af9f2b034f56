"""Whether a log is what it was signed to be. The signer asks it before it signs, and an operator's command before it opens
another log; nothing here is written.

What is added to a log is read from the database as bytes, and recomputed from the signer's own memory of what came before;
only what continues that is signed. So whoever rewrites the database, head and all, is refused.
"""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import wraps
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from audit.log import notes, tree
from audit.log.check import REDACTED, Checker
from audit.log.entry import BadEntry
from audit.log.links import is_later, number_of
from audit.models import AuditEntry, AuditHead, Unreadable, as_bytes, raw, reading
from audit.services import place_of
from audit.signing.state import LOST, Closed, Memory, Signed
from audit.verification import link_of, notes_about


class Refused(Exception):
    """This log does not continue what was signed; `rule` is the stable name of what it breaks."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Row(NamedTuple):
    """A head as the database has it, which may be anything."""

    pk: Any
    log: Any
    org_id: Any
    epoch: Any
    is_current: Any
    size: Any
    last_ts: Any
    last_leaf_hash: Any
    right_edge: Any


def heads() -> list[Row]:
    """All heads, as they are stored: SQLite keeps any value in any column, and one that cannot be read keeps no other from
    being looked at."""
    columns = ", ".join("id" if name == "pk" else name for name in Row._fields)
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT {columns} FROM "{AuditHead._meta.db_table}"')  # noqa: S608  constants
        return [Row(*row) for row in cursor.fetchall()]


class Witness(NamedTuple):
    """The newest note about a log that the database has of the signer's. `is_own`: a key that is signed with now made it,
    not one that was retired."""

    checkpoint: notes.Checkpoint
    is_own: bool


def witness_of(log: str, own: Sequence[notes.VerifyKey], retired: Sequence[notes.VerifyKey]) -> Witness | None:
    """What the database has of the signer's own word, which counts where its memory is older, or lost."""
    with closing(notes_about(log, newest_first=True)) as said:
        for note in said:
            for keys in (own, retired):
                with suppress(notes.BadNote):  # of nobody: it says nothing
                    found = notes.open_checkpoint(note, keys)
                    if found.origin == log:
                        return Witness(found, keys is own)
    return None


def notes_of(log: str, keys: Sequence[notes.VerifyKey]) -> dict[int, bytes]:
    """By size the roots of a log that the database has the signer's word for."""
    found = {}
    for note in notes_about(log):
        with suppress(notes.BadNote):
            one = notes.open_checkpoint(note, keys)
            if one.origin == log:
                found[one.size] = one.root
    return found


def readable[**P, T](look: Callable[P, T]) -> Callable[P, T]:
    """Raises `Refused` for what is no entry or head at all, or what the database itself cannot read."""

    @wraps(look)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with reading():
                return look(*args, **kwargs)
        except Unreadable as error:
            raise Refused("unreadable", str(error)) from error

    return run


@readable
def look(name: str, row: Row | None, memory: Memory, witness: Witness | None) -> Signed | None:
    """What the log of this name is now; None for one that an operator closed, and that is as it was then.

    Raises `Refused` unless it goes on from what is remembered, and from what `witness` says where that is more.
    """
    if row is not None and name != (called := f"{memory.host}{place_of(_org_id(row), int(row.epoch))}"):
        # Else a head that somebody adds would be a second history, under a name that reads like the first.
        raise Refused("wrong_name", f"A log of its organisation is called {called}.")
    if (closed := memory.closed.get(name)) is not None:
        _look_at_closed(row, closed)
        return None
    before = memory.signed.get(name) or Signed(name)
    if row is None:
        raise Refused("no_head", f"The log is gone. It had {before.size:,} entries when it was signed.")
    if not row.is_current:
        raise Refused("closed", "It is closed, and no operator did that here: manage.py audit_epoch.")
    if is_later(name) and name not in memory.signed and not (witness is not None and witness.is_own):
        first = AuditEntry.objects.filter(log=name, seq=0).values_list("entry", flat=True).first()
        opened = memory.opened.get(name)
        if first is None or opened is None or tree.leaf_hash(as_bytes(first)) != opened:
            raise Refused(
                "not_linked", "A new log for an old one is opened here, by an operator: manage.py audit_epoch."
            )
    mark = witness.checkpoint if witness is not None and witness.checkpoint.size > before.size else None
    return _continued(before, row, mark)


def _org_id(row: Row) -> UUID | None:
    return None if row.org_id is None else UUID(str(row.org_id))


def _look_at_closed(row: Row | None, closed: Closed) -> None:
    """A log that an operator closed stays as it was then, and one that was lost is not there."""
    if closed.size == LOST:
        if row is not None:
            raise Refused("lost", "It was told to be lost, when another log was opened for it.")
        return
    if row is None:
        raise Refused("no_head", f"The log is gone. It had {closed.size:,} entries when it was closed.")
    if row.is_current or (row.size, as_bytes(row.right_edge)) != (closed.size, closed.edge):
        raise Refused("wrong_head", f"It is not what it was when it was closed, with {closed.size:,} entries.")


def _continued(before: Signed, row: Row, mark: notes.Checkpoint | None) -> Signed:
    """What the log is now, which goes on from what it was, and was what `mark` says when it had so many entries."""
    size, last_ts, last = row.size, row.last_ts, None if row.last_leaf_hash is None else as_bytes(row.last_leaf_hash)
    edge, signed_size = as_bytes(row.right_edge), before.size if mark is None else mark.size
    if not isinstance(size, int) or size < signed_size:
        raise Refused("cut", f"Of {signed_size:,} entries that were signed {size} are left.")
    if (size, last, edge, last_ts) == (before.size, before.last_leaf, tree.pack(before.edge), before.last_ts):
        return before
    so_far = (before.log, before.size, before.last_leaf, before.last_ts, list(before.edge))
    checker = Checker(*so_far, reads_payloads=True)
    rows = AuditEntry.objects.filter(log=before.log, seq__gte=before.size, seq__lt=size).order_by("seq", "pk")
    for data, payload, salt, leaf in rows.values_list("entry", "payload", "salt", "leaf_hash").iterator(1_000):
        kept = (None if payload is None else as_bytes(payload), None if salt is None else as_bytes(salt))
        try:
            checker.take(as_bytes(data), *kept)
        except BadEntry as error:
            raise Refused(error.rule, f"Entry {checker.size:,}: {error}") from error
        if as_bytes(leaf) != checker.last_leaf:
            raise Refused(
                "wrong_leaf_hash", f"Entry {checker.size - 1:,}: the hash beside it is not that of its bytes."
            )
        if mark is not None and checker.size == mark.size and checker.root != mark.root:
            raise Refused("rewritten", f"The first {mark.size:,} entries are not those that were signed.")
    if (seq := checker.unexplained) is not None:
        # Blanked since the head was read: the entry that tells of it stands beyond.
        beyond = AuditEntry.objects.filter(log=before.log, seq__gte=size, action=REDACTED)
        if beyond.filter(target_type="entry", target_id=str(seq)).exists():
            return before
        raise Refused("missing_payload", f"Entry {seq:,}: its payload is gone, and no entry tells so.")
    if checker.size != size:
        raise Refused("wrong_size", f"The head counts {size:,} entries, there are {checker.size:,}.")
    if (last, edge, last_ts) != (checker.last_leaf, tree.pack(checker.edge), checker.last_ts):
        raise Refused("wrong_head", "The head is not that of the entries that were signed and those after them.")
    return Signed(before.log, checker.size, checker.last_leaf, checker.last_ts, tuple(checker.edge))


@readable
def closed_before(name: str, memory: Memory) -> list[Closed]:
    """The older logs for which this one goes on, as it tells of them, and as each of them tells of the one before: what a
    signer that lost its memory learns again. Those that are another thing than is told are not among them."""
    found: list[Closed] = []
    while is_later(name) and (link := link_of(name)) is not None:
        found += [Closed(lost, LOST, b"") for lost in link.lost]
        if link.log in memory.closed:
            break
        size, edge = 0, list[bytes]()
        rows = AuditEntry.objects.filter(log=link.log).order_by("seq", "pk")
        for (data,) in rows.values_list(raw("entry")).iterator(1_000):
            edge, size = tree.append(size, edge, tree.leaf_hash(bytes(data))), size + 1
        if (size, tree.root(edge).hex()) != (link.size, link.root):
            break
        found.append(Closed(link.log, size, tree.pack(edge)))
        name = link.log
    return found


def newest_first(names: Sequence[str]) -> list[str]:
    """Of each organisation the log that is written to before those that it goes on for, which it tells of."""
    return sorted(names, key=lambda name: (name.removesuffix(f"/e{number_of(name)}"), -number_of(name)))
