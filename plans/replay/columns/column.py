"""Columns of a block as arrays, and their canonical bytes, of which a data digest is made.

The canonical bytes depend on the values alone: not on who read them, in which chunks, or what else a vocabulary holds.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure import key_hash, splitmix64

#: In columns of numbers, flags and codes: nobody knows.
UNKNOWN: Final = -1
_WIDTHS = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4"))


#: Blocks that do not share a vocabulary still share most of its texts.
_known_hash = lru_cache(maxsize=1 << 17)(key_hash)


class Vocabulary:
    """The texts that codes stand for; blocks may share one, which may hold more than each of them needs."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: Sequence[str] = tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """`key_hash` of each."""
        return np.fromiter(map(_known_hash, self.texts), np.uint64, len(self.texts))

    @cached_property
    def in_order(self) -> NDArray[np.uint64]:
        """The hashes, ascending."""
        return np.sort(self.hashes)

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        """By code the place of its hash among these, from 1; at the end, where the code of none points to, 0."""
        ranks = np.zeros(len(self) + 1, np.intp)
        ranks[np.argsort(self.hashes, kind="stable")] = np.arange(1, len(self) + 1)
        return ranks


class Numbers:
    """Integers from 0; `UNKNOWN` is -1. Flags are numbers of one byte, 0 and 1."""

    def __init__(self, values: NDArray[np.int64] | NDArray[np.int8]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def taken(self, rows: NDArray[np.intp]) -> "Numbers":
        return Numbers(self.values.take(rows, mode="wrap"))

    def cut(self, start: int, stop: int) -> "Numbers":
        return Numbers(self.values[start:stop])

    def canonical(self) -> list[bytes]:
        return packed(self.values)


class Coded:
    """Texts of which many are alike: the place of each in a vocabulary, -1 for none."""

    def __init__(self, codes: NDArray[np.int32], vocabulary: Vocabulary) -> None:
        self.codes = codes
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return len(self.codes)

    def taken(self, rows: NDArray[np.intp]) -> "Coded":
        return Coded(self.codes.take(rows, mode="wrap"), self.vocabulary)

    def cut(self, start: int, stop: int) -> "Coded":
        return Coded(self.codes[start:stop], self.vocabulary)

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Coded":
        listed = [text for text in dict.fromkeys(texts) if text is not None]
        numbers: dict[str | None, int] = {text: number for number, text in enumerate(listed)}
        numbers[None] = UNKNOWN
        return cls(np.fromiter(map(numbers.__getitem__, texts), np.int32, len(texts)), Vocabulary(listed))

    def per_row(self, of_texts: Sequence[int] | NDArray[np.int64], none: int) -> NDArray[np.int64]:
        """For each row the number that stands for its text, `none` for none."""
        table = np.empty(len(self.vocabulary) + 1, np.int64)
        table[:-1] = of_texts
        table[-1] = none  # where the code -1 points to
        # Of another width, indices would be converted one by one.
        return table.take(self.codes.astype(np.intp), mode="wrap")

    def canonical(self) -> list[bytes]:
        ranked = self.vocabulary.ranks.take(self.codes.astype(np.intp), mode="wrap")
        is_used = np.zeros(len(self.vocabulary) + 1, bool)
        is_used[ranked] = True
        is_used[0] = False  # none has no hash
        hashes = self.vocabulary.in_order
        if not is_used[1:].all():
            hashes, ranked = hashes[is_used[1:]], np.cumsum(is_used).take(ranked)
        return [hashes.astype("<u8").tobytes(), *packed(ranked)]


class Texts:
    """Texts of which few are alike, as UTF-8 one after the other; an empty one is none."""

    def __init__(self, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
        #: One more than rows; the text of row i is `data[offsets[i]:offsets[i + 1]]`.
        self.offsets = offsets
        self.data = data

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def taken(self, rows: NDArray[np.intp]) -> "Texts":
        lengths = self.lengths[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        # Of each byte taken, where it is now.
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Texts(offsets, self.data[places])

    def cut(self, start: int, stop: int) -> "Texts":
        return Texts(self.offsets[start : stop + 1], self.data)

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Texts":
        raw = [(text or "").encode("utf-8", "surrogatepass") for text in texts]
        offsets = np.zeros(len(raw) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, raw), np.int64, len(raw)), out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(raw), np.uint8))

    def __getitem__(self, row: int) -> str:
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-8", "surrogatepass")

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def hashes(self) -> NDArray[np.uint64]:
        """64 bits of each text: its length and eight bytes at a time through SplitMix64. Not against forgery."""
        # Texts are padded to the longest, so those of about one length go together: a single long one is no matter.
        sizes = np.frexp(self.lengths)[1]
        if len(self) == 0 or (sizes == sizes[0]).all():
            return self._hashes()
        hashes = np.empty(len(self), np.uint64)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            hashes[rows] = self.taken(rows)._hashes()
        return hashes

    def _hashes(self) -> NDArray[np.uint64]:
        lengths = self.lengths
        longest, shortest = int(lengths.max(initial=0)), int(lengths.min(initial=0))
        words = -(-longest // 8)
        padded = np.zeros((len(self), 8 * words), np.uint8)
        data = self.data[self.offsets[0] : self.offsets[-1]]
        if longest == shortest:
            padded[:, :longest] = data.reshape(len(self), longest)
        else:
            padded[np.arange(8 * words) < lengths[:, None]] = data
        mixed = splitmix64(lengths.astype(np.uint64))
        for place, word in enumerate(padded.view("<u8").T):
            more = splitmix64(mixed ^ word)
            # A text has the same hash whichever longer ones are beside it.
            mixed = more if 8 * place < shortest else np.where(8 * place < lengths, more, mixed)
        return mixed

    def canonical(self) -> list[bytes]:
        return [*packed(self.lengths), self.data[self.offsets[0] : self.offsets[-1]].tobytes()]


Column = Numbers | Coded | Texts


def joined(columns: Sequence[Column]) -> Column:
    """Columns of one kind, one after the other."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if isinstance(first, Numbers):
        return Numbers(np.concatenate([one.values for one in columns if isinstance(one, Numbers)]))
    if isinstance(first, Texts):
        texts = [one for one in columns if isinstance(one, Texts)]
        starts = np.cumsum([0, *(one.offsets[-1] - one.offsets[0] for one in texts)])
        offsets = [one.offsets[:-1] - one.offsets[0] + start for one, start in zip(texts, starts, strict=False)]
        data = np.concatenate([one.data[one.offsets[0] : one.offsets[-1]] for one in texts])
        return Texts(np.concatenate([*offsets, starts[-1:]]), data)
    coded = [one for one in columns if isinstance(one, Coded)]
    if all(one.vocabulary is first.vocabulary for one in coded):
        return Coded(np.concatenate([one.codes for one in coded]), first.vocabulary)
    listed = list(dict.fromkeys(text for one in coded for text in one.vocabulary.texts))
    places = {text: place for place, text in enumerate(listed)}
    codes = [one.per_row([places[text] for text in one.vocabulary.texts], UNKNOWN) for one in coded]
    return Coded(np.concatenate(codes).astype(np.int32), Vocabulary(listed))


def packed(values: NDArray[np.int64] | NDArray[np.int8]) -> list[bytes]:
    """The smallest value, and the distances from it in as few bytes each as the largest needs: none where all are equal.
    Where that were eight, as of times, the first value, and the steps from each to the next in the same way, if those
    need fewer."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    head = least.to_bytes(8, "little", signed=True)
    if least == most:
        return [head + b"\0"]
    width = _width(most - least)
    if width.itemsize == 8:
        steps = np.diff(values)
        if _width(int(steps.max()) - int(steps.min())).itemsize < 8:
            return [int(values[0]).to_bytes(8, "little", signed=True) + b"\xff", *packed(steps)]
    return [head + bytes([width.itemsize]), (values - least).astype(width).tobytes()]


def _width(most: int) -> np.dtype[Any]:
    """Of what numbers from 0 to this are written in."""
    return next((width for width in _WIDTHS if most < 256**width.itemsize), np.dtype("<u8"))


def digest_of(column: Column) -> bytes:
    """SHA-256 of the canonical bytes."""
    digest = sha256()
    for part in column.canonical():
        digest.update(part)
    return digest.digest()
