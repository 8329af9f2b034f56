"""A replay that was interrupted, as bytes: what was found so far, so that another process can go on.

Not pickle: whoever can write to the database must not be able to run code in the worker.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import numpy as np

from plans.replay.columns import Cursor
from plans.replay.sums.counts import Counts
from plans.replay.sums.exact import Exact
from plans.replay.sums.partial import Partial
from plans.replay.sums.units import UnitSums
from plans.replay.survey import Survey

#: Of these bytes; others are not read, and the replay begins again.
VERSION: Final = 5
#: Nobody found so much, and a worker can hold it.
_MOST_BYTES: Final = 2**30


class NotStored(ValueError):
    """The bytes are none of ours, or of another version."""


def dump(survey: Survey, partial: Partial | None) -> bytes:
    """A survey as far as it is, or a complete one and the sums of the first blocks."""
    arrays: list[np.ndarray[Any, Any]] = []

    def kept(array: np.ndarray[Any, Any]) -> list[Any]:
        arrays.append(np.ascontiguousarray(array))
        return [array.dtype.str, *array.shape]

    parts = {"survey": _survey(survey, kept), "partial": None if partial is None else _partial(partial, kept)}
    head = json.dumps({"version": VERSION, **parts}).encode()
    body = b"".join([len(head).to_bytes(8, "little"), head, *(array.tobytes() for array in arrays)])
    return zlib.compress(body, level=1)


def load(raw: bytes) -> tuple[Survey, Partial | None]:
    """What `dump` wrote. Raises `NotStored`."""
    try:
        unpacking = zlib.decompressobj()
        body = unpacking.decompress(raw, _MOST_BYTES)
        if not unpacking.eof:
            raise NotStored("It does not end, or not within a gibibyte.")
        end = 8 + int.from_bytes(body[:8], "little")
        head = json.loads(body[8:end])
        if head.pop("version") != VERSION:
            raise NotStored("The checkpoint is of another version.")
        position = end

        def taken(described: list[Any]) -> np.ndarray[Any, Any]:
            nonlocal position
            dtype, shape = np.dtype(described[0]), tuple(described[1:])
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(body[position : position + size], dtype).reshape(shape).copy()
            position += size
            return array

        survey = _read_survey(head["survey"], taken)
        partial = None if head["partial"] is None else _read_partial(head["partial"], taken)
    except Exception as error:  # whatever the bytes are: the replay begins again
        raise NotStored(f"The checkpoint cannot be read: {error}") from None
    return survey, partial


type _Keep = Callable[[np.ndarray[Any, Any]], list[Any]]
type _Take = Callable[[list[Any]], np.ndarray[Any, Any]]


def _survey(survey: Survey, kept: _Keep) -> dict[str, Any]:
    return {
        "rows": survey.rows,
        "counted": survey.counted,
        "longest": survey.longest,
        "last": survey.last,
        "starts": [[cursor.rows, cursor.after] for cursor in survey.starts],
        "latencies": [[*served, *_sparse(counts, kept)] for served, counts in survey.latencies.items()],
        "repeated": kept(survey.repeated),
        "hits": [[first, kept(now), kept(then)] for first, (now, then) in survey.hits.items()],
        "l2": survey.l2,
    }


def _read_survey(stored: dict[str, Any], taken: _Take) -> Survey:
    survey = Survey(rows=stored["rows"], last=_row(stored["last"]))
    survey.counted = None if stored["counted"] is None else (stored["counted"][0], stored["counted"][1])
    survey.longest = stored["longest"][0], stored["longest"][1]
    survey.starts = [Cursor(rows, _row(after)) for rows, after in stored["starts"]]
    for provider, model, *counts in stored["latencies"]:
        survey.latencies[provider, model] = _full(counts, taken)
    survey.repeated = taken(stored["repeated"])
    survey.hits = {first: (taken(now), taken(then)) for first, now, then in stored["hits"]}
    survey.l2 = stored["l2"]
    return survey


def _row(stored: list[Any] | None) -> tuple[int, str] | None:
    return None if stored is None else (stored[0], stored[1])


def _partial(partial: Partial, kept: _Keep) -> dict[str, Any]:
    return {
        "routes": partial.routes,
        "counts": {each.name: getattr(partial.counts, each.name) for each in fields(Counts)},
        "clusters": _units(partial.clusters, kept),
        "days": None if partial.days is None else _units(partial.days, kept),
        "baselines": _exact(partial.baselines, kept),
        "current_latencies": _sparse(partial.current_latencies, kept),
        "digests": {
            column: [[first, digest.hex()] for first, digest in digests.items()]
            for column, digests in partial.digests.items()
        },
    }


def _read_partial(stored: dict[str, Any], taken: _Take) -> Partial:
    partial = Partial(stored["routes"])
    for each in fields(Counts):
        value = stored["counts"][each.name]
        setattr(partial.counts, each.name, Counter(value) if isinstance(value, dict) else value)
    partial.clusters = _read_units(stored["clusters"], taken)
    partial.days = None if stored["days"] is None else _read_units(stored["days"], taken)
    partial.baselines = _read_exact(stored["baselines"], taken)
    partial.current_latencies = _full(stored["current_latencies"], taken)
    for column, digests in stored["digests"].items():
        partial.digests[column] = {first: bytes.fromhex(digest) for first, digest in digests}
    return partial


def _units(units: UnitSums, kept: _Keep) -> dict[str, Any]:
    state = units.state()
    return {
        "names": None if state.names is None else list(state.names),
        "latencies_are_buckets": state.latencies_are_buckets,
        "hits": _exact(state.hits, kept),
        "by_route": _exact(state.by_route, kept),
        "latencies": _sparse(state.latencies, kept),
    }


def _read_units(stored: dict[str, Any], taken: _Take) -> UnitSums:
    return UnitSums.of_state(
        names=None if stored["names"] is None else [(hashed, key) for hashed, key in stored["names"]],
        latencies_are_buckets=stored["latencies_are_buckets"],
        hits=_read_exact(stored["hits"], taken),
        by_route=_read_exact(stored["by_route"], taken),
        latencies=_full(stored["latencies"], taken),
    )


def _exact(exact: Exact, kept: _Keep) -> list[Any]:
    """Its shape and layers; each is full only as far as another may still be added to it."""
    return [list(exact.shape), [_sparse(layer, kept) for layer in exact.layers]]


def _read_exact(stored: list[Any], taken: _Take) -> Exact:
    shape, layers = stored
    return Exact.of_layers(tuple(shape), [_full(layer, taken) for layer in layers])


def _sparse(array: np.ndarray[Any, Any], kept: _Keep) -> list[Any]:
    """Shape, places and values of what is not zero."""
    places = np.flatnonzero(array)
    values = array.reshape(-1)[places]
    steps = np.diff(places, prepend=0)
    return [list(array.shape), kept(_narrow(steps)), kept(_narrow(values))]


def _full(stored: list[Any], taken: _Take) -> np.ndarray[Any, Any]:
    shape, steps, values = stored
    array = np.zeros(shape, np.int64)
    places = np.cumsum(taken(steps).astype(np.int64))
    array.reshape(-1)[places] = taken(values)
    return array


def _narrow(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same in fewer bytes, where they suffice."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return values.astype(kind)
    return values
