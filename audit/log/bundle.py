"""A bundle: what an auditor is given of one organisation's logs, or of the installation's, as a ZIP file or a folder.

    README.txt            how to check it, with and without this program
    manifest.json         {"format": "routing-audit-bundle/1", "logs": [origin, ...]}, the oldest first
    1/entries.jsonl       the entries of the first log as exact bytes, a line each
    1/payloads.txt        a line for each entry: its salt in hex, a space, its payload as exact bytes; or `blanked`
    1/checkpoints.jsonl   a line for each: {"note": the signed note, "signed_at": when}, smallest log first
    2/...                 the next log, where one was opened after a restore

Canonical JSON has no line ends, so that a line is an entry. The leaf hash of the first one:

    (printf '\\0'; sed -n 1p entries.jsonl | head -c -1) | sha256sum
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import IO, Any, Final, cast

FORMAT: Final = "routing-audit-bundle/1"
README = "README.txt"
ENTRIES, PAYLOADS, CHECKPOINTS, MANIFEST = "entries.jsonl", "payloads.txt", "checkpoints.jsonl", "manifest.json"
BLANKED: Final = b"blanked"
#: No line is longer, whatever a forger writes: a payload of 256 KiB with its salt, and a note.
MAX_LINE_BYTES = 512 * 1024
MAX_LOGS = 1_000
#: With folders, which some programs list too.
_MAX_FILES: Final = 4 * MAX_LOGS + 2
_PAYLOAD = re.compile(rb"([0-9a-f]{32}) (.+)", re.DOTALL)


class BadBundle(ValueError):
    """This is no bundle."""


class Bundle(AbstractContextManager["Bundle"]):
    """A bundle that is read a line at a time. Raises `BadBundle` and `OSError`, when it is opened and when it is read."""

    def __init__(self, path: Path) -> None:
        self._open = ExitStack()
        self._folder = path
        self._zip: zipfile.ZipFile | None = None
        if not path.is_dir():
            if path.exists() and not path.is_file():
                raise BadBundle("It is neither a folder nor a file.")
            try:
                self._zip = self._open.enter_context(zipfile.ZipFile(path))
            except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
                raise BadBundle(f"It is neither a folder nor a ZIP file: {error}") from error
            names = self._zip.namelist()
            if len(names) > _MAX_FILES:
                self._open.close()
                raise BadBundle("It has more files than a bundle has.")
            if len(set(names)) != len(names):
                self._open.close()
                raise BadBundle("Two of its files have one name.")
        try:
            self.logs = self._manifest()
        except BaseException:
            self._open.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _manifest(self) -> list[str]:
        raw = _json(next(self._lines(MANIFEST), b""), MANIFEST)
        logs = raw.get("logs")
        if raw.get("format") != FORMAT:
            raise BadBundle(f"Its format is not {FORMAT}: use the verifier that came with it.")
        if not isinstance(logs, list) or not 0 < len(logs) <= MAX_LOGS or any(not isinstance(log, str) for log in logs):
            raise BadBundle("The manifest names no logs.")
        return logs

    def entries(self, number: int) -> Iterator[bytes]:
        """The exact bytes of the entries of a log, counted from 1."""
        return self._lines(f"{number}/{ENTRIES}")

    def payloads(self, number: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Payload and salt of each entry, None twice where they were blanked."""
        name = f"{number}/{PAYLOADS}"
        for place, line in enumerate(self._lines(name)):
            if line == BLANKED:
                yield None, None
            elif found := _PAYLOAD.fullmatch(line):
                yield found[2], bytes.fromhex(found[1].decode())
            else:
                raise BadBundle(f"{name}, line {place + 1}: this is no salt with a payload.")

    def checkpoints(self, number: int) -> Iterator[str]:
        """The signed notes about a log."""
        name = f"{number}/{CHECKPOINTS}"
        for line in self._lines(name):
            note = _json(line, name).get("note")
            if not isinstance(note, str):
                raise BadBundle(f"{name}: a line without a note.")
            yield note

    def _lines(self, name: str) -> Iterator[bytes]:
        with closing(self._stream(name)) as stream:
            try:
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    if len(line) > MAX_LINE_BYTES:
                        raise BadBundle(f"{name} has a line of more than {MAX_LINE_BYTES:,} bytes.")
                    if not line.endswith(b"\n"):
                        raise BadBundle(f"{name} ends within a line.")
                    yield line[:-1]
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise BadBundle(f"{name} cannot be read: {error}") from error

    def _stream(self, name: str) -> IO[bytes]:
        try:
            if self._zip is None:
                if (self._folder / name).exists() and not (self._folder / name).is_file():
                    raise BadBundle(f"{name} is no file.")  # a pipe would be waited for
                return (self._folder / name).open("rb", buffering=1 << 20)
            member = self._zip.getinfo(name)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadBundle(f"{name} is compressed in another way than bundles are.")
            return io.BufferedReader(cast(io.RawIOBase, self._zip.open(member)), buffer_size=1 << 20)
        except (KeyError, FileNotFoundError) as error:
            raise BadBundle(f"It has no {name}.") from error
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, of another time
            raise BadBundle(f"{name} cannot be read: {error}") from error


#: For whoever has nothing but the bundle.
HOW_TO_CHECK: Final = Path(__file__).with_name("how_to_check.txt")


def payload_line(payload: bytes | None, salt: bytes | None) -> bytes:
    """The line of an entry's payload, with its end."""
    return (BLANKED if payload is None or salt is None else salt.hex().encode() + b" " + payload) + b"\n"


def checkpoint_line(note: str, signed_at: str) -> bytes:
    return json.dumps({"note": note, "signed_at": signed_at}, ensure_ascii=False).encode() + b"\n"


def manifest(logs: list[str]) -> bytes:
    return json.dumps({"format": FORMAT, "logs": logs}).encode() + b"\n"


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{name} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BadBundle(f"{name} holds no JSON object.")
    return raw
