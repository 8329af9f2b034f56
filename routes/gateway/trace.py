"""What happened to the last requests, stage by stage, for people who ask why: `Trace` of one, `Traces` of the last 512."""

from __future__ import annotations

from collections import OrderedDict
from time import perf_counter
from typing import Any, NamedTuple

from routes.engine.errors import RoutingError

KEPT = 512


class Trace:
    """One request on its way. A stage that is not there was not reached; the last one that is there, with an error beside,
    is where it failed. Names, ids, codes and figures only: no texts of people, no values of headers, no keys."""

    __slots__ = ("_began", "document")

    def __init__(self, request_id: str, **facts: Any) -> None:
        self._began = perf_counter()
        self.document: dict[str, Any] = {
            "request_id": request_id,
            **facts,
            "outcome": None,
            "stages": [],
            "error": None,
        }

    def stage(self, name: str, **facts: Any) -> None:
        """The request reached this stage; `at_ms` is since its arrival. Facts with a `to_dict`, also in a list, are written
        when somebody asks: of most requests nobody does."""
        self.document["stages"].append({"stage": name, "at_ms": _Since(self._began, perf_counter()), **facts})

    def failed(self, error: RoutingError) -> None:
        self.document["outcome"] = "error"
        self.document["error"] = {
            "code": error.code,
            "status": error.http_status,
            "retryable": error.retryable,
            "detail": str(error),
        }

    def ended(self, outcome: str) -> None:
        if self.document["outcome"] is None:
            self.document["outcome"] = outcome

    def written(self) -> dict[str, Any]:
        """The document as JSON has it."""
        return _written(self.document)  # type: ignore[no-any-return]  # a dict stays one


class _Since(NamedTuple):
    """A moment, in seconds of the same clock as where it counts from."""

    began: float
    now: float

    def to_dict(self) -> float:
        """In ms."""
        return round((self.now - self.began) * 1000, 3)


def _written(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {name: _written(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_written(member) for member in value]
    return value


class Traces:
    """The last 512 requests by id."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._by_id: OrderedDict[str, Trace] = OrderedDict()

    def add(self, trace: Trace) -> None:
        self._by_id[trace.document["request_id"]] = trace
        if len(self._by_id) > self._kept:
            self._by_id.popitem(last=False)

    def get(self, request_id: str) -> dict[str, Any] | None:
        trace = self._by_id.get(request_id)
        return None if trace is None else trace.written()
