"""A round of the signer, and going on with rounds.

What is added to a log is read from the database as bytes and recomputed from the signer's own memory of what came before;
only what continues that is signed. So whoever rewrites the database, head and all, is refused.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from typing import Final

from django.db import Error, close_old_connections, connections
from django.db.models import Max
from django.utils import timezone

from audit.actors import system
from audit.log import notes, tree
from audit.log.check import REDACTED, Checker
from audit.log.entry import BadEntry
from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal
from audit.services import next_log
from audit.signing.keys import BadKeys, keys_to_sign_with, signer_folder
from audit.signing.state import AnotherSigner, Signed, State, Turn

BY: Final = system("audit_sign")
#: So often a round is made; what is committed is signed within twice that.
PAUSE_SECONDS: Final = 4.0
#: A log to which nothing was added is looked at, and said to be so, this often.
IDLE: Final = timedelta(minutes=10)
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


class Signer:
    """Signs with the keys and the memory of this machine, alone. Raises `AnotherSigner` and `BadKeys`."""

    def __init__(self) -> None:
        folder = signer_folder()
        with ExitStack() as opened:
            opened.enter_context(closing(Turn(folder)))
            self._state = opened.enter_context(closing(State(folder)))
            self._opened = opened.pop_all()

    def __enter__(self) -> "Signer":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def round(self) -> Round:
        """Look at every log. Raises `BadKeys` and what the database raises; a log that is refused keeps no other from being
        signed."""
        keys = keys_to_sign_with(by=BY)
        known = self._state.all()
        heads = {head.log: head for head in AuditHead.objects.all()}
        published = {
            row["log"]: (row["size"], row["checked_at"])
            for row in Checkpoint.objects.order_by()
            .values("log")
            .annotate(size=Max("size"), checked_at=Max("checked_at"))
        }
        found, now = Round(), timezone.now()
        for name in sorted(heads.keys() | known.keys()):
            before, following = known.get(name) or Signed(name), next_log(name)
            if following in heads and self._state.is_allowed(following):
                continue  # an operator closed it
            try:
                if name not in known:
                    _look_at_own(name, keys)
                after = continued(self._state, before, heads.get(name))
            except Refused as error:
                found.refused[name] = error
                continue
            size, checked_at = published.get(name, (-1, now))
            if after != before:
                # First what is signed is remembered: who is killed here signs the very same again.
                self._state.put(after)
            if after.size and (after.size != size or now - checked_at >= IDLE):
                self._publish(after, keys)
                found.signed[name] = after.size
        _tell_refusals(found.refused)
        return found

    def _publish(self, signed: Signed, keys: list[notes.SigningKey]) -> None:
        text = notes.Checkpoint(signed.log, signed.size, signed.root).text()
        now = timezone.now()
        said = {"note": notes.sign(text, keys), "checked_at": now}
        Checkpoint.objects.update_or_create(
            log=signed.log, size=signed.size, defaults=said, create_defaults={**said, "signed_at": now}
        )


def readable[**P, T](look: Callable[P, T]) -> Callable[P, T]:
    """Raises `Refused` for what is no entry or head at all: SQLite keeps any value in any column."""

    @wraps(look)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return look(*args, **kwargs)
        except (ValueError, TypeError, OverflowError) as error:
            raise Refused("unreadable", f"What is stored there cannot be read: {error}") from error

    return run


@readable
def continued(state: State, before: Signed, head: AuditHead | None) -> Signed:
    """What the log is now. Raises `Refused` unless it goes on from what was signed."""
    if head is None:
        raise Refused("no_head", f"The log is gone. It had {before.size:,} entries when it was signed.")
    if head.epoch > 1 and before.size == 0 and not state.is_allowed(before.log):
        raise Refused("not_linked", "A new log for an old one is opened here, by an operator: manage.py audit_epoch.")
    if head.size < before.size:
        raise Refused("cut", f"Of {before.size:,} entries that were signed {head.size:,} are left.")
    checker = Checker(before.log, before.size, before.last_leaf, before.last_ts, list(before.edge))
    rows = AuditEntry.objects.filter(log=before.log, seq__gte=before.size, seq__lt=head.size).order_by("seq", "pk")
    for data, payload, salt, leaf in rows.values_list("entry", "payload", "salt", "leaf_hash").iterator(1_000):
        kept = (None if payload is None else bytes(payload), None if salt is None else bytes(salt))
        try:
            checker.take(bytes(data), *kept)
        except BadEntry as error:
            raise Refused(error.rule, f"Entry {checker.size:,}: {error}") from error
        if bytes(leaf) != checker.last_leaf:
            raise Refused(
                "wrong_leaf_hash", f"Entry {checker.size - 1:,}: the hash beside it is not that of its bytes."
            )
    if (seq := checker.unexplained) is not None:
        # Blanked since the head was read: the entry that tells of it stands beyond.
        beyond = AuditEntry.objects.filter(log=before.log, seq__gte=head.size, action=REDACTED)
        if beyond.filter(target_type="entry", target_id=str(seq)).exists():
            return before
        raise Refused("missing_payload", f"Entry {seq:,}: its payload is gone, and no entry tells so.")
    if checker.size != head.size:
        raise Refused("wrong_size", f"The head counts {head.size:,} entries, there are {checker.size:,}.")
    last = None if head.last_leaf_hash is None else bytes(head.last_leaf_hash)
    if (last, bytes(head.right_edge), head.last_ts) != (
        checker.last_leaf,
        tree.pack(checker.edge),
        checker.last_ts,
    ):
        raise Refused("wrong_head", "The head is not that of the entries that were signed and those after them.")
    return Signed(before.log, checker.size, checker.last_leaf, checker.last_ts, tuple(checker.edge))


@readable
def _look_at_own(name: str, keys: list[notes.SigningKey]) -> None:
    """Of a log that the signer does not remember: its own newest checkpoint, where the database still has it, must be of
    this history. Raises `Refused`. Who lost the memory, and has another database than before, learns of it here."""
    row = Checkpoint.objects.filter(log=name).order_by("-size").first()
    if row is None:
        return
    try:
        own = notes.open_checkpoint(row.note, [key.verify_key for key in keys])
    except notes.BadNote:
        return  # of a key that is retired, or of nobody: it says nothing
    leaves = AuditEntry.objects.filter(log=name, seq__lt=own.size).order_by("seq").values_list("leaf_hash", flat=True)
    found = [bytes(leaf) for leaf in leaves]
    if len(found) < own.size:
        raise Refused("cut", f"Of {own.size:,} entries that were signed {len(found):,} are left.")
    if tree.root(tree.extend(0, [], found)) != own.root:
        raise Refused("rewritten", f"The first {own.size:,} entries are not those that were signed.")


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
