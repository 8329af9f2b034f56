"""Arrow's arrays as columns of a block: whatever type a value may have been written as, exactly or not at all."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import CODED, FLAGS, NUMBERS, TEXTS, metadata_text, synthetic_text
from plans.replay.columns.column import UNKNOWN, Coded, Column, Numbers, Texts, Vocabulary
from plans.replay.columns.spooled import SpooledColumn
from plans.replay.values import is_routed

#: Of a dataset, the columns without which nothing can be replayed.
REQUIRED: Final = ("request_id", "ts", "model", "requested_model", "input_tokens", "output_tokens")
#: Kept in nano-dollars.
MONEY: Final = ("cost_nano", "baseline_cost_nano", "fact_estimated_cost_nano")
_MAX_TOKENS, _MAX_MS, _MAX_NANO, _MAX = 10**9, 2**31 - 1, 10**18, 2**53
_MOST: Final = {
    "input_tokens": _MAX_TOKENS, "output_tokens": _MAX_TOKENS, "cached_tokens": _MAX_TOKENS, "latency_ms": _MAX_MS,
    "fact_upstream_latency_ms_p95": _MAX_MS, "fact_input_tokens": _MAX_TOKENS, **dict.fromkeys(MONEY, _MAX_NANO),
}  # fmt: skip


class Columns:
    """Makes columns, and remembers vocabularies: batches often share one."""

    def __init__(self) -> None:
        #: By column the last dictionary, its vocabulary, and the codes there; at the end that of no text.
        self._vocabularies: dict[str, tuple[Any, Vocabulary, NDArray[np.int32]]] = {}

    def column(self, name: str, arrays: Mapping[str, Any]) -> Column:
        """The column of a block that has this name, of those that a file has for it, by their names. Raises `ValueError`,
        also as what pyarrow makes of it, and `TypeError`, with what is wrong."""
        import pyarrow

        if name == "routed":
            return Numbers(_routed(arrays.get("matched_route_id"), arrays.get("reason")))
        (array,) = arrays.values()
        if name in REQUIRED and array.null_count:
            raise ValueError("is empty in some rows")
        if name == "ts":
            return Numbers(times(array))
        if name in MONEY:
            return Numbers(_within(name, _nano(array)))
        if name in NUMBERS:
            return Numbers(_within(name, _whole(array, NUMBERS[name])))
        if name in FLAGS:
            return Numbers(_flags(array, FLAGS[name]))
        if name in TEXTS:
            texts = _texts(array)
            if name in REQUIRED and not texts.lengths.all():
                raise ValueError("is empty in some rows")
            return texts
        if name == "embedding":
            return _vectors(array)
        if pyarrow.types.is_nested(array.type):
            raise ValueError(f"is {array.type}, and has to be text: JSON")
        return self._coded(name, array)

    def _coded(self, name: str, array: Any) -> Coded:
        import pyarrow

        if not pyarrow.types.is_dictionary(array.type) or not _holds_texts(array.type.value_type):
            array = array.cast(pyarrow.string()).dictionary_encode()
        known = self._vocabularies.get(name)
        if known is None or not known[0].equals(array.dictionary):
            texts = [_text(name, text) for text in array.dictionary.to_pylist()]
            # What reads alike is one text, and what is read as none, or lacks, is the column's default.
            listed = list(dict.fromkeys(text for text in (*texts, CODED[name]) if text is not None))
            place: dict[str | None, int] = {text: number for number, text in enumerate(listed)}
            place[None] = UNKNOWN
            codes = [place[text] for text in (*texts, CODED[name])]
            known = self._vocabularies[name] = array.dictionary, Vocabulary(listed), np.array(codes, np.int32)
        indices = array.indices.cast(pyarrow.int32()).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        codes = known[2][indices]
        if name in REQUIRED and any(not known[1].texts[code] for code in np.unique(codes).tolist()):
            raise ValueError("is empty in some rows")
        return Coded(codes, known[1])


def _holds_texts(of: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_string(of) or pyarrow.types.is_large_string(of))


def times(array: Any) -> NDArray[np.int64]:
    """Microseconds of the epoch; a timestamp without a zone is one of UTC. Raises `ValueError`."""
    import pyarrow

    if not pyarrow.types.is_timestamp(array.type):
        raise ValueError(f"is {array.type}, and has to be a timestamp")
    if array.null_count:
        raise ValueError("is empty in some rows")
    micros = array.cast(pyarrow.timestamp("us", array.type.tz), safe=False).cast(pyarrow.int64())
    return np.asarray(micros.to_numpy(), np.int64)


def _whole(array: Any, none: int) -> NDArray[np.int64]:
    """Whole numbers, which some write as doubles, whose NaN is none."""
    import pyarrow

    if pyarrow.types.is_floating(array.type):
        array = array.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
        values = np.where(np.isnan(array), none, array)
        if not (values == np.rint(values)).all() or not (np.abs(values) <= _MAX).all():
            raise ValueError("has numbers that are not whole")
        return values.astype(np.int64)
    if not (pyarrow.types.is_integer(array.type) or pyarrow.types.is_decimal(array.type) or _is_null(array)):
        raise ValueError(f"is {array.type}, and has to be a whole number")
    integers: NDArray[np.int64] = array.cast(pyarrow.int64()).fill_null(none).to_numpy(zero_copy_only=False)
    return integers


def _flags(array: Any, none: int) -> NDArray[np.int8]:
    import pyarrow

    if pyarrow.types.is_boolean(array.type):
        flags: NDArray[np.int8] = array.cast(pyarrow.int8()).fill_null(none).to_numpy(zero_copy_only=False)
        return flags
    values = _whole(array, -_MAX)
    unknown = values == -_MAX
    if ((values != 0) & (values != 1) & ~unknown).any():
        raise ValueError("has values that are neither true nor false")
    return np.where(unknown, none, values).astype(np.int8)


def _routed(routes: Any, reasons: Any) -> NDArray[np.int8]:
    """`is_routed` of each row; one of both may be None, where the file has no such column."""
    import pyarrow
    from pyarrow import compute

    if routes is None:
        routes = pyarrow.nulls(len(reasons))
    if reasons is None:
        reasons = pyarrow.nulls(len(routes))
    named = routes.is_valid()
    if not pyarrow.types.is_fixed_size_binary(routes.type):
        named = compute.and_(named, compute.not_equal(routes.cast(pyarrow.string()), "").fill_null(False))
    coded = reasons.cast(pyarrow.string()).dictionary_encode()
    texts = [*coded.dictionary.to_pylist(), None]  # at the end, where -1 points to
    by_reason = np.array([[is_routed(route, text) for text in texts] for route in (None, "")], np.int8)
    codes = coded.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    found: NDArray[np.int8] = by_reason[named.to_numpy(zero_copy_only=False).astype(np.intp), codes]
    return found


def _nano(array: Any) -> NDArray[np.int64]:
    """Nano-dollars of decimals and integers, exactly; of doubles, the nearest."""
    import pyarrow

    if pyarrow.types.is_floating(array.type):
        usd = array.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
        if (usd < 0).any():
            raise ValueError("has negative amounts")
        values = np.rint(np.where(np.isnan(usd), UNKNOWN * 1e-9, usd) * 1e9)
        if len(values) and not np.abs(values).max() < _MAX:
            raise ValueError("a double cannot hold so much money to the nano-dollar; write a decimal")
        return values.astype(np.int64)
    nano = array.cast(pyarrow.decimal128(38, 9))
    words = np.frombuffer(nano.buffers()[1], "<i8").reshape(-1, 2)[nano.offset : nano.offset + len(nano)]
    known: NDArray[np.bool_] = nano.is_valid().to_numpy(zero_copy_only=False)
    # Where there is none, anything may stand.
    if ((words[:, 1] != words[:, 0] >> 63) & known).any():
        raise ValueError("more than 64 bits of nano-dollars")
    if (words[:, 0][known] < 0).any():
        raise ValueError("has negative amounts")
    return np.where(known, words[:, 0], np.int64(UNKNOWN))


def _within(name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
    least = 0 if name in REQUIRED else min(NUMBERS[name], 0)
    most = _MOST.get(name, _MAX)
    if len(values) and not (values.min() >= least and values.max() <= most):
        raise ValueError(f"has values outside of 0 to {most:,}")
    return values


def _texts(array: Any) -> Texts:
    import pyarrow

    if pyarrow.types.is_nested(array.type):
        raise ValueError(f"is {array.type}, and has to be text")
    array = array.cast(pyarrow.large_string()).fill_null("")
    array.validate(full=True)  # UTF-8, which nobody has looked at so far
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1]
    return Texts(places, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8))


def _is_null(array: Any) -> bool:
    return bool(len(array) == array.null_count)


def _text(name: str, text: str | None) -> str | None:
    """A text as blocks have it."""
    if text is None or name not in _READ:
        return text
    return _READ[name](text)


_READ: Mapping[str, Callable[[str], str | None]] = {
    "metadata": lambda text: metadata_text(json.loads(text)),
    "synthetic": lambda text: synthetic_text(json.loads(text)),
    "finish_reason": lambda text: text or None,
}


def _vectors(array: Any) -> Coded:
    """Embeddings, which are lists of numbers, or bytes of 32-bit ones."""
    import pyarrow

    column = SpooledColumn()
    if pyarrow.types.is_binary(array.type) or pyarrow.types.is_large_binary(array.type) or _is_null(array):
        column.add(None if raw is None else raw.decode("latin-1") for raw in array.to_pylist())
        return column.column()
    array = array.cast(pyarrow.large_list(pyarrow.float32()))
    offsets, values = array.offsets.to_numpy(), array.values.to_numpy(zero_copy_only=False).astype("<f4", copy=False)
    known = array.is_valid().to_numpy(zero_copy_only=False).tolist()
    column.add(
        values[start:stop].tobytes().decode("latin-1") if is_known else None
        for is_known, start, stop in zip(known, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    )
    return column.column()
