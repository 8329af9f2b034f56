"""Texts that are too long to be held by tens of thousands, such as prompts: in a file without a name."""

from array import array
from collections.abc import Iterable, Sequence
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import Any, Final, overload
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.column import UNKNOWN, Coded, Vocabulary
from plans.replay.sure import key_hash

#: The columns of blocks that are made so, and how many of their texts are in memory at once.
LONG: Final = frozenset({"prompt", "embedding"})
LONG_ROWS: Final = 1_024
#: So many bytes stay in memory.
_IN_MEMORY: Final = 2**20


class Spooled(Sequence[str]):
    """Texts that are read where they are asked for. Not for several threads at once."""

    def __init__(self) -> None:
        self._file: Any = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed with the last who knows it
        finalize(self, self._file.close)
        self._ends = array("q", [0])

    def add(self, text: str) -> None:
        raw = _bytes(text)
        self._file.seek(self._ends[-1])
        self._file.write(raw)
        self._ends.append(self._ends[-1] + len(raw))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        self._file.seek(self._ends[number])
        raw: bytes = self._file.read(self._ends[number + 1] - self._ends[number])
        return raw.decode("utf-8", "surrogatepass")


class _SpooledVocabulary(Vocabulary):
    def __init__(self, texts: Spooled, hashes: NDArray[np.uint64]) -> None:
        self.texts = texts
        self.hashes = hashes


class SpooledColumn:
    """Makes a column of texts that are given one after the other; equal ones are kept once."""

    def __init__(self) -> None:
        self._texts = Spooled()
        self._hashes = array("Q")
        #: By digest, of which two are never the same.
        self._places: dict[bytes, int] = {}
        self._codes = array("i")

    def add(self, texts: Iterable[str | None]) -> None:
        for text in texts:
            self._codes.append(UNKNOWN if text is None else self._place(text))

    def __len__(self) -> int:
        return len(self._codes)

    def _place(self, text: str) -> int:
        digest = sha256(_bytes(text)).digest()
        place = self._places.setdefault(digest, len(self._places))
        if place == len(self._texts):
            self._texts.add(text)
            self._hashes.append(key_hash(text))
        return place

    def column(self) -> Coded:
        """All of them. Nothing may be added afterwards."""
        codes = np.frombuffer(self._codes, np.int32) if len(self._codes) else np.empty(0, np.int32)
        hashes = np.frombuffer(self._hashes, np.uint64) if len(self._hashes) else np.empty(0, np.uint64)
        return Coded(codes, _SpooledVocabulary(self._texts, hashes))


def joined_long(columns: Iterable[Coded]) -> Coded:
    """Columns of long texts, one after the other."""
    whole = SpooledColumn()
    for column in columns:
        texts = column.vocabulary.texts
        whole.add(None if code < 0 else texts[code] for code in column.codes.tolist())
    return whole.column()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
