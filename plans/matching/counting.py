"""How many requests of a sample a route would match. The engine decides, as in a replay on the facts as they were
decided on, and what nobody knows stays unknown. Pure: values in, values out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plans.replay import LogRow
from plans.replay.columns import block_of
from plans.replay.columns.block import context_of
from plans.replay.sure import Interval, wilson_95
from routes.engine import Engine, RequestContext, Route
from routes.engine.meaning import holds

#: Where a figure stands for something that is not there, a route is asked all the time, and acts.
_ALWAYS = {"enabled": True, "paused": False, "active_from": None, "active_until": None}


@dataclass(frozen=True, slots=True)
class Matched:
    """Of `sample` requests. The interval is Wilson's for independent requests; None where there were none."""

    sample: int
    #: By the conditions of the route alone: whether it is on, and active then, does not matter.
    matched: int
    #: Of these, so many one of the routes above takes.
    taken_above: int
    #: Of so many others it is not known: the log lacks a fact that a condition asks for.
    unknown: int
    interval: Interval | None

    @property
    def share(self) -> float | None:
        return self.matched / self.sample if self.sample else None


def contexts_of(rows: Sequence[LogRow], texts: Mapping[str, str] | None = None) -> list[RequestContext]:
    """The requests as they were decided on; `rows` in the order of (ts, request_id), `texts` by request, if wanted."""
    if texts is not None:
        rows = [replace(row, prompt=texts.get(row.request_id)) for row in rows]
    block = block_of(rows)
    return [context_of(block, row) for row in range(block.rows)]


def count_matches(contexts: Iterable[RequestContext], route: Route, above: Iterable[Route]) -> Matched:
    """`above` are the routes that are asked before, in their order."""
    alone, before = Engine([replace(route, **_ALWAYS)]), Engine(list(above))
    sample = matched = taken = unknown = 0
    for context in contexts:
        sample += 1
        if alone.decide(context).route_id is not None:
            matched += 1
            taken += before.decide(context).route_id is not None
        elif holds(route.when, context) is None:
            unknown += 1
    return Matched(sample, matched, taken, unknown, wilson_95(matched, sample))


def count_hits(taken_by: Iterable[str | None], routes: Iterable[str]) -> dict[str, int]:
    """By route how many requests it took, as the log says."""
    counted = Counter(taken_by)
    return {route: counted[route] for route in routes}
