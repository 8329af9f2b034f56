"""What auditors are given: a bundle of all logs of an organisation, or of the installation's."""

import io
import zipfile
from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Max, Min

from audit.errors import LogsChanged, NoSuchEntry
from audit.log.bundle import (
    CHECKPOINTS,
    ENTRIES,
    HOW_TO_CHECK,
    MANIFEST,
    PAYLOADS,
    README,
    checkpoint_line,
    manifest,
    payload_line,
)
from audit.log.check import REDACTED
from audit.log.entry import time_text
from audit.models import AuditEntry, AuditHead, Checkpoint, raw

#: A ZIP file is sent in pieces of about this size.
PIECE_BYTES = 256 * 1024


def files_of(org_id: UUID | None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and lines of each file of the bundle, read as they are asked for, one after the other.

    Of the log that is written to, what is signed; all of it where nothing is. What comes meanwhile is not in it, but for
    entries that tell of a payload that was blanked. Raises `NoSuchEntry` where there is no log, and `LogsChanged` in the
    midst of it where one is opened meanwhile.
    """
    heads = list(AuditHead.objects.filter(org_id=org_id).order_by("epoch"))
    if not heads:
        raise NoSuchEntry("There is no audit log yet.")
    yield MANIFEST, iter([manifest([head.log for head in heads])])
    yield README, iter([HOW_TO_CHECK.read_bytes()])
    kept = [_Payloads(head) for head in heads]
    # First the payloads, of the newest log last: any of them may be blanked while this goes on, and the entry that tells of
    # it has to come along.
    for number, payloads in enumerate(kept, 1):
        yield f"{number}/{PAYLOADS}", payloads.lines()
    if AuditHead.objects.filter(org_id=org_id).count() != len(heads):
        # One of the payloads may be gone because the new log tells of it.
        raise LogsChanged
    for number, (head, payloads) in enumerate(zip(heads, kept, strict=True), 1):
        signed = Checkpoint.objects.filter(log=head.log).order_by("size")
        if head.is_current:
            signed = signed.filter(size__lte=payloads.size)
        yield f"{number}/{ENTRIES}", _entries(head.log, payloads.size)
        yield f"{number}/{CHECKPOINTS}", _notes(signed)


def bundle_of(org_id: UUID | None) -> Iterator[bytes]:
    """The bundle as a ZIP file, in pieces. Raises `NoSuchEntry` before the first one."""
    files = files_of(org_id)
    first = next(files)

    def pieces() -> Iterator[bytes]:
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
            for name, lines in chain([first], files):
                yield from _written(file, sink, name, lines)
        yield sink.taken()

    return pieces()


def _written(file: zipfile.ZipFile, sink: "_Sink", name: str, lines: Iterator[bytes]) -> Iterator[bytes]:
    # Always the long form: how large a file becomes is not known before.
    with file.open(name, "w", force_zip64=True) as member:
        for line in lines:
            member.write(line)
            if sink.size >= PIECE_BYTES:
                yield sink.taken()


class _Payloads:
    """The payloads of a log's entries, as many as are in a bundle: of a log that is written to those that are signed, and
    on to the last entry that tells of a payload that is blanked."""

    def __init__(self, head: AuditHead) -> None:
        self._head = head
        self.size = head.size
        if head.is_current:
            signed = Checkpoint.objects.filter(log=head.log).aggregate(size=Max("size"))["size"]
            self.size = head.size if signed is None else signed

    def lines(self) -> Iterator[bytes]:
        done = 0
        while done < self.size:
            rows = AuditEntry.objects.filter(log=self._head.log, seq__gte=done, seq__lt=self.size).order_by("seq", "pk")
            for payload, salt in rows.values_list(raw("payload"), raw("salt")).iterator(1_000):
                yield payload_line(None if payload is None else bytes(payload), None if salt is None else bytes(salt))
            done = self.size
            if self._head.is_current and (told := self._told()) > done:
                # On to where it is signed, if it is by now: else nobody could verify it.
                signed = Checkpoint.objects.filter(log=self._head.log, size__gte=told).aggregate(size=Min("size"))[
                    "size"
                ]
                self.size = told if signed is None else signed

    def _told(self) -> int:
        """How many entries there are up to the last one that tells of a blanked payload."""
        rows = AuditEntry.objects.filter(log=self._head.log, action=REDACTED)
        last = rows.aggregate(seq=Max("seq"))["seq"]
        return 0 if last is None else last + 1


def _entries(log: str, size: int) -> Iterator[bytes]:
    rows = AuditEntry.objects.filter(log=log, seq__lt=size).order_by("seq", "pk")
    for (entry,) in rows.values_list(raw("entry")).iterator(1_000):
        yield bytes(entry) + b"\n"


def _notes(rows: Any) -> Iterator[bytes]:
    for note, signed_at in rows.values_list("note", "signed_at").iterator(1_000):
        yield checkpoint_line(note, time_text(signed_at))


class _Sink(io.RawIOBase):
    """Takes what a ZIP file is written as, and gives it away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self.size += len(part)
        return len(part)

    def taken(self) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return found
