"""A round of the signer, and going on with rounds.

What is added to a log is read from the database as bytes and recomputed from the signer's own memory of what came before;
only what continues that is signed. So whoever rewrites the database, head and all, is refused.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import Error, close_old_connections, connection, connections
from django.utils import timezone

from audit.actors import system
from audit.log import notes, tree
from audit.log.check import REDACTED, Checker
from audit.log.entry import BadEntry
from audit.models import UNREADABLE, AuditEntry, AuditHead, Checkpoint, Refusal, as_bytes
from audit.services import place_of
from audit.signing.keys import BadKeys, keys_to_sign_with, signer_folder
from audit.signing.state import LOST, AnotherSigner, Closed, Signed, State, Turn

BY: Final = system("audit_sign")
#: So often a round is made; what is committed is signed within twice that.
PAUSE_SECONDS: Final = 4.0
#: A log to which nothing was added is looked at, and said to be so, this often.
IDLE: Final = timedelta(minutes=10)
#: Of these at most so many in a round, so that what was added need not wait for them.
IDLE_AT_ONCE: Final = 200
log = logging.getLogger(__name__)


class Refused(Exception):
    """This log does not continue what was signed; `rule` is the stable name of what it breaks."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass
class Round:
    """What a round did: the size that each log was signed at, and why others were not."""

    signed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)


def readable[**P, T](look: Callable[P, T]) -> Callable[P, T]:
    """Raises `Refused` for what is no entry or head at all."""

    @wraps(look)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return look(*args, **kwargs)
        except UNREADABLE as error:
            raise Refused("unreadable", f"What is stored there cannot be read: {error}") from error

    return run


class Row(NamedTuple):
    """A head as the database has it, which may be anything."""

    log: Any
    org_id: Any
    epoch: Any
    is_current: Any
    size: Any
    last_ts: Any
    last_leaf_hash: Any
    right_edge: Any


class Signer:
    """Signs with the keys and the memory of this machine, alone. Raises `AnotherSigner` and `BadKeys`."""

    def __init__(self) -> None:
        folder = signer_folder()
        with ExitStack() as opened:
            opened.enter_context(closing(Turn(folder)))
            self._state = opened.enter_context(closing(State(folder)))
            self._opened = opened.pop_all()
        #: By log its newest checkpoint in the database: size, and when it was looked at last.
        self._published: dict[str, tuple[int, datetime]] = {}

    def __enter__(self) -> "Signer":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def round(self) -> Round:
        """Look at every log. Raises `BadKeys` and what the database raises; a log that is refused, or that nobody can read,
        keeps no other from being signed."""
        known, closed, opened = self._state.all(), self._state.closed(), self._state.opened()
        keys, problem = keys_to_sign_with(by=BY, has_signed=bool(known))
        host = keys[0].verify_key.name.removesuffix("/audit")
        rows = {str(row.log): row for row in heads()}
        found, again = Round(), 0
        for name in sorted(rows.keys() | known.keys() | closed.keys()):
            row, before = rows.get(name), known.get(name) or Signed(name)
            try:
                if name in closed:
                    _look_at_closed(row, closed[name])
                    continue
                _look_at_name(row, name, host)
                if row is not None and not row.is_current:
                    if name in known and not any(later.startswith(f"{_base(name)}/e") for later in known):
                        raise Refused("closed", "It is closed, and no operator did that here: manage.py audit_epoch.")
                    continue
                if problem and row is not None and row.org_id is None:
                    raise Refused("wrong_keys", problem)
                if name not in known:
                    look_at_own(name, keys, opened.get(name))
                after = continued(before, row)
                size, checked_at = self._newest(after)
            except Refused as error:
                found.refused[name] = error
                continue
            if after != before:
                # First what is signed is remembered: who is killed here signs the very same again.
                self._state.put(after)
            is_due = timezone.now() - checked_at >= IDLE and again < IDLE_AT_ONCE
            if after.size and (after.size != size or is_due):
                again += after.size == size
                self._publish(after, keys)
                found.signed[name] = after.size
        _tell_refusals(found.refused)
        return found

    @readable
    def _newest(self, signed: Signed) -> tuple[int, datetime]:
        if signed.log not in self._published:
            row = Checkpoint.objects.filter(log=signed.log, size=signed.size).values_list("size", "checked_at").first()
            self._published[signed.log] = row or (-1, timezone.now())
        return self._published[signed.log]

    def _publish(self, signed: Signed, keys: list[notes.SigningKey]) -> None:
        text = notes.Checkpoint(signed.log, signed.size, signed.root).text()
        now = timezone.now()
        said = {"note": notes.sign(text, keys), "checked_at": now}
        # What stands there is not read: it may be anything.
        if not Checkpoint.objects.filter(log=signed.log, size=signed.size).update(**said):
            Checkpoint.objects.create(log=signed.log, size=signed.size, signed_at=now, **said)
        self._published[signed.log] = (signed.size, now)


def heads() -> list[Row]:
    """All heads, as they are stored: SQLite keeps any value in any column, and one that cannot be read keeps no other from
    being looked at."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT {", ".join(Row._fields)} FROM "{AuditHead._meta.db_table}"')  # noqa: S608  constants
        return [Row(*row) for row in cursor.fetchall()]


@readable
def continued(before: Signed, row: Row | None) -> Signed:
    """What the log is now. Raises `Refused` unless it goes on from what was signed."""
    if row is None:
        raise Refused("no_head", f"The log is gone. It had {before.size:,} entries when it was signed.")
    size, last_ts, last = row.size, row.last_ts, None if row.last_leaf_hash is None else as_bytes(row.last_leaf_hash)
    edge = as_bytes(row.right_edge)
    if not isinstance(size, int) or size < before.size:
        raise Refused("cut", f"Of {before.size:,} entries that were signed {size} are left.")
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
def _look_at_name(row: Row | None, name: str, host: str) -> None:
    """A log is called by its organisation and its number. Raises `Refused`: else a head that somebody adds would be a
    second history, under a name that reads like the first."""
    if row is None:
        return
    org_id = None if row.org_id is None else UUID(str(row.org_id))
    if name != host + place_of(org_id, int(row.epoch)):
        raise Refused("wrong_name", f"A log of its organisation is called {host + place_of(org_id, int(row.epoch))}.")


@readable
def _look_at_closed(row: Row | None, closed: Closed) -> None:
    """A log that an operator closed stays as it was then, and one that was lost is not there. Raises `Refused`."""
    if closed.size == LOST:
        if row is not None:
            raise Refused("lost", "It was told to be lost, when another log was opened for it.")
        return
    if row is None:
        raise Refused("no_head", f"The log is gone. It had {closed.size:,} entries when it was closed.")
    if row.is_current or (row.size, as_bytes(row.right_edge)) != (closed.size, closed.edge):
        raise Refused("wrong_head", f"It is not what it was when it was closed, with {closed.size:,} entries.")


@readable
def look_at_own(name: str, keys: list[notes.SigningKey], opened: bytes | None) -> None:
    """Of a log that the signer does not remember: it was opened here by an operator, with this very entry; or its own
    newest checkpoint, which the database still has, is of this history. Raises `Refused`. Who lost the memory, and has
    another database than before, learns of it here."""
    own: notes.Checkpoint | None = None
    for note in Checkpoint.objects.filter(log=name).order_by("-size").values_list("note", flat=True).iterator():
        with suppress(notes.BadNote):  # of a key that is retired, or of nobody: it says nothing
            own = notes.open_checkpoint(note, [key.verify_key for key in keys])
            break
    if own is None:
        if name == _base(name):
            return
        first = AuditEntry.objects.filter(log=name, seq=0).values_list("entry", flat=True).first()
        if first is None or opened is None or tree.leaf_hash(as_bytes(first)) != opened:
            raise Refused(
                "not_linked", "A new log for an old one is opened here, by an operator: manage.py audit_epoch."
            )
        return
    size, edge = 0, list[bytes]()
    leaves = AuditEntry.objects.filter(log=name, seq__lt=own.size).order_by("seq").values_list("leaf_hash", flat=True)
    for leaf in leaves.iterator(2_000):
        edge, size = tree.append(size, edge, as_bytes(leaf)), size + 1
    if size < own.size:
        raise Refused("cut", f"Of {own.size:,} entries that were signed {size:,} are left.")
    if tree.root(edge) != own.root:
        raise Refused("rewritten", f"The first {own.size:,} entries are not those that were signed.")


def _base(name: str) -> str:
    """The first log of those that this is one of."""
    first, _, epoch = name.rpartition("/e")
    return first if epoch.isdecimal() else name


def _tell_refusals(refused: dict[str, Refused]) -> None:
    """What is refused, and since when, for pages and metrics."""
    Refusal.objects.exclude(log__in=refused).delete()
    for name, error in refused.items():
        said = {"rule": error.rule, "message": str(error)}
        _, is_new = Refusal.objects.update_or_create(
            log=name, defaults=said, create_defaults={**said, "since": timezone.now()}
        )
        if is_new:
            log.error("the log %s is not signed (%s): %s", name, error.rule, error)


def keep_signing(stop: threading.Event, *, pause: float = PAUSE_SECONDS) -> None:
    """Make rounds until it is told to stop. Where another process of this machine signs, it waits for its turn."""
    said = ""
    while not stop.is_set():
        try:
            with Signer() as signer:
                log.info("checkpoints of audit logs are signed from here")
                while not stop.is_set():
                    began = time.monotonic()
                    said = _tried(signer, said)
                    close_old_connections()
                    stop.wait(max(0.0, pause - (time.monotonic() - began)))
        except AnotherSigner:
            log.debug("another process signs")
        except Exception as error:  # whatever it is, the next round may be better
            now = f"{type(error).__name__}: {error}"
            if now != said:
                log.exception("checkpoints cannot be signed")
            said = now
        stop.wait(pause)
    connections.close_all()


def _tried(signer: Signer, said: str) -> str:
    """A round; what is wrong is said once."""
    try:
        signer.round()
    except (BadKeys, Error) as error:
        now = f"{type(error).__name__}: {error}"
        if now != said:
            log.error("checkpoints cannot be signed: %s", now)
        return now
    if said:
        log.info("checkpoints are signed again")
    return ""
