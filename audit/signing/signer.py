"""A round of the signer, and going on with rounds."""

import logging
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import Error, close_old_connections, connections
from django.utils import timezone

from audit.actors import system
from audit.log import notes
from audit.log.links import is_later
from audit.models import Checkpoint, Refusal
from audit.signing.keys import BadKeys, keys_to_sign_with, signer_folder
from audit.signing.looking import Refused, Witness, closed_before, heads, look, newest_first, witness_of
from audit.signing.state import AnotherSigner, BadState, Closed, Signed, State, Turn, at_work

BY: Final = system("audit_sign")
#: So often a round is made; what is committed is signed within twice that.
PAUSE_SECONDS: Final = 4.0
#: A log to which nothing was added is looked at, and said to be so, this often.
IDLE: Final = timedelta(minutes=10)
#: Of these at most so many in a round, so that what was added need not wait for them.
IDLE_AT_ONCE: Final = 200
log = logging.getLogger(__name__)


@dataclass
class Round:
    """What a round did: the size that each log was signed at, and why others were not."""

    signed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)


@dataclass
class _Published:
    """Of a log what the database has, as this signer left it, or found it: the size of its newest checkpoint, -1 where it
    has none of the signer's, and when it was looked at last."""

    size: int
    checked_at: datetime


class Signer:
    """Signs with the keys and the memory of this machine, alone. Raises `AnotherSigner`, `BadState` and `BadKeys`."""

    def __init__(self) -> None:
        self._folder = signer_folder()
        with ExitStack() as opened:
            opened.enter_context(closing(Turn(self._folder)))
            self._state = opened.enter_context(closing(State(self._folder)))
            self._opened = opened.pop_all()
        self._published: dict[str, _Published] = {}

    def __enter__(self) -> "Signer":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def round(self, stop: threading.Event | None = None) -> Round:
        """Look at every log, and sign what goes on. Raises `BadKeys` and what the database raises; a log that is refused,
        or that nobody can read, keeps no other from being signed. One that is to `stop` leaves the rest for later."""
        with at_work(self._folder):
            return self._round(stop or threading.Event())

    def _round(self, stop: threading.Event) -> Round:
        # The host is that of the key: it was chosen once, and the database may say anything by now.
        has_signed = self._state.has_signed()
        keys, problem, retired = keys_to_sign_with(by=BY, has_signed=has_signed)
        if not has_signed and not self._published and Checkpoint.objects.exists():
            log.warning("the signer remembers nothing: it goes by the checkpoints that the database has of it")
        memory = self._state.read(keys[0].verify_key.name.removesuffix("/audit"))
        rows = {str(row.log): row for row in heads()}
        own = [key.verify_key for key in keys]
        found, after, closed = Round(), list[Signed](), list[Closed]()
        for name in newest_first([*(rows.keys() | memory.signed.keys() | memory.closed.keys())]):
            if stop.is_set():
                break
            row, witness = rows.get(name), None
            try:
                if name not in self._published and name not in memory.closed:
                    # Once: what this signer publishes itself it also remembers.
                    witness = witness_of(name, own, retired)
                    self._published[name] = _published(name, witness)
                if problem and row is not None and row.org_id is None:
                    raise Refused("wrong_keys", problem)
                now = look(name, row, memory, witness)
                if now is None:
                    continue
                if is_later(name) and name not in memory.signed:
                    for one in closed_before(name, memory):
                        memory.closed[one.log] = one
                        closed.append(one)
            except Refused as error:
                self._published.pop(name, None)
                found.refused[name] = error
                continue
            after.append(now)
        # First what is signed is remembered: who is killed here signs the very same again.
        self._state.put([one for one in after if one != memory.signed.get(one.log)], closed)
        for one in after:
            if one.size and one == memory.signed.get(one.log) and one.size != self._published[one.log].size:
                log.warning(
                    "the checkpoint of %s at %d entries is gone, or another: it is made again", one.log, one.size
                )
        found.signed = self._publish(self._due(after), keys)
        if not stop.is_set():
            _tell_refusals(found.refused)
        return found

    def _due(self, logs: list[Signed]) -> list[Signed]:
        """Those that are not signed as they are, and of the others some that nobody looked at for long."""
        grown = [one for one in logs if one.size and one.size != self._published[one.log].size]
        now = timezone.now()
        # Either way: a clock may have been ahead.
        idle = [one for one in logs if one.size and abs(now - self._published[one.log].checked_at) >= IDLE]
        idle = [one for one in idle if one.size == self._published[one.log].size]
        # Those first that have waited longest.
        idle.sort(key=lambda one: self._published[one.log].checked_at)
        return grown + idle[:IDLE_AT_ONCE]

    def _publish(self, logs: list[Signed], keys: list[notes.SigningKey]) -> dict[str, int]:
        now = timezone.now()
        rows = [
            Checkpoint(
                log=one.log,
                size=one.size,
                note=notes.sign(notes.Checkpoint(one.log, one.size, one.root).text(), keys),
                signed_at=now,
                checked_at=now,
            )
            for one in logs
        ]
        Checkpoint.objects.bulk_create(
            rows,
            batch_size=500,
            update_conflicts=True,
            unique_fields=["log", "size"],
            update_fields=["note", "checked_at"],
        )
        self._published |= {one.log: _Published(one.size, now) for one in logs}
        return {one.log: one.size for one in logs}


def _published(name: str, witness: Witness | None) -> _Published:
    now = timezone.now()
    if witness is None or not witness.is_own:
        return _Published(-1, now)
    size = witness.checkpoint.size
    checked_at = Checkpoint.objects.filter(log=name, size=size).values_list("checked_at", flat=True).first()
    return _Published(size, checked_at or now)


def _tell_refusals(refused: dict[str, Refused]) -> None:
    """What is refused, and since when, for pages and metrics; written only where something is new."""
    told = {row.log: row for row in Refusal.objects.all()}
    for name in told.keys() - refused.keys():
        told[name].delete()
    for name, error in refused.items():
        said, row = {"rule": error.rule, "message": str(error)}, told.get(name)
        if row is None:
            Refusal.objects.create(log=name, since=timezone.now(), **said)
            log.error("the log %s is not signed (%s): %s", name, error.rule, error)
        elif (row.rule, row.message) != (error.rule, str(error)):
            Refusal.objects.filter(pk=row.pk).update(**said)


def keep_signing(stop: threading.Event, *, pause: float = PAUSE_SECONDS) -> None:
    """Make rounds until it is told to stop. Where another process of this machine signs, it waits for its turn."""
    said = ""
    while not stop.is_set():
        try:
            with Signer() as signer:
                log.info("checkpoints of audit logs are signed from here")
                while not stop.is_set():
                    began = time.monotonic()
                    said = _tried(signer, stop, said)
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


def _tried(signer: Signer, stop: threading.Event, said: str) -> str:
    """A round; what is wrong is said once."""
    try:
        signer.round(stop)
    except (BadKeys, BadState, Error) as error:
        now = f"{type(error).__name__}: {error}"
        if now != said:
            log.error("checkpoints cannot be signed: %s", now)
        return now
    if said:
        log.info("checkpoints are signed again")
    return ""
