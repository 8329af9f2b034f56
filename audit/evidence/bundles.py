"""What auditors are given: a bundle of all logs of an organisation, or of the installation's."""

import io
import zipfile
from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Max

from audit.evidence.proofs import NoSuchEntry
from audit.log.bundle import CHECKPOINTS, ENTRIES, MANIFEST, PAYLOADS, checkpoint_line, manifest, payload_line
from audit.log.check import REDACTED
from audit.log.entry import time_text
from audit.models import AuditEntry, AuditHead, Checkpoint

#: A ZIP file is sent in pieces of about this size.
PIECE_BYTES = 256 * 1024


def files_of(org_id: UUID | None) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and lines of each file of the bundle, read as they are asked for; what comes meanwhile is not in it.

    Of the log that is written to, what is signed; all of it where nothing is. Raises `NoSuchEntry` where there is no log.
    """
    heads = list(AuditHead.objects.filter(org_id=org_id).order_by("epoch"))
    if not heads:
        raise NoSuchEntry("There is no audit log yet.")
    sizes = [_exported(head) for head in heads]
    yield MANIFEST, iter([manifest([head.log for head in heads])])
    for number, (head, size) in enumerate(zip(heads, sizes, strict=True), 1):
        entries = AuditEntry.objects.filter(log=head.log, seq__lt=size).order_by("seq", "pk")
        signed = Checkpoint.objects.filter(log=head.log).order_by("size")
        if head.is_current:
            signed = signed.filter(size__lte=size)
        yield f"{number}/{ENTRIES}", _entries(entries)
        yield f"{number}/{PAYLOADS}", _payloads(entries)
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


def _exported(head: AuditHead) -> int:
    """How many entries of a log are in a bundle: of one that is written to what is signed, and every entry that tells of a
    payload that is blanked already."""
    if not head.is_current:
        return head.size
    signed = Checkpoint.objects.filter(log=head.log).aggregate(size=Max("size"))["size"]
    if signed is None:
        return head.size
    told = AuditEntry.objects.filter(log=head.log, action=REDACTED).aggregate(seq=Max("seq"))["seq"]
    return int(signed if told is None else max(signed, told + 1))


def _entries(rows: Any) -> Iterator[bytes]:
    for (entry,) in rows.values_list("entry").iterator(1_000):
        yield bytes(entry) + b"\n"


def _payloads(rows: Any) -> Iterator[bytes]:
    for payload, salt in rows.values_list("payload", "salt").iterator(1_000):
        yield payload_line(None if payload is None else bytes(payload), None if salt is None else bytes(salt))


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
