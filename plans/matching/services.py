"""What the newest week of an organisation's log says of its routes, from a sample that is kept for a minute."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from threading import Lock
from typing import Any, Final
from uuid import UUID

from plans.matching.counting import Matched, contexts_of, count_hits, count_matches
from plans.matching.sampling import Sample, sample_of, texts_of
from plans.matching.words import about, of_week, percent, until
from plans.replay.deciding.matches import facts_of_engines
from routes.engine import Engine, RequestContext, Route

#: Samples of so many organisations: a few megabytes each.
KEPT: Final = 8
_LIFE: Final = timedelta(minutes=1)
#: So many characters of text are kept with a sample.
_MOST_TEXT: Final = 4_000_000


@dataclass
class Kept:
    """A sample, and what was made of it."""

    sample: Sample
    #: Until it is taken anew.
    until: datetime
    _with_texts: list[RequestContext] | None = field(default=None, repr=False)

    @cached_property
    def contexts(self) -> list[RequestContext]:
        return contexts_of(self.sample.rows)

    def with_texts(self) -> list[RequestContext]:
        """With the texts too, which few conditions ask for, and which may be long: long ones are read anew each time."""
        if self._with_texts is not None:
            return self._with_texts
        texts = texts_of(self.sample)
        made = contexts_of(self.sample.rows, texts)
        if sum(map(len, texts.values())) <= _MOST_TEXT:
            self._with_texts = made
        return made


#: By organisation, the least recently used first.
_kept: OrderedDict[UUID, Kept] = OrderedDict()
_lock = Lock()


def newest_week(org_id: UUID, now: datetime) -> Kept | None:
    """The sample of the newest week; None where the organisation has no requests."""
    with _lock:
        found = _kept.get(org_id)
        if found is not None and found.until > now:
            _kept.move_to_end(org_id)
            return found
    sample = sample_of(org_id, now)
    if sample is None:
        return None  # the first import shows at once
    found = Kept(sample, now + _LIFE)
    with _lock:
        _kept[org_id] = found
        _kept.move_to_end(org_id)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def matching(org_id: UUID, route: Route, routes: Sequence[Route], *, now: datetime) -> dict[str, Any]:
    """How many requests of the newest week this one of `routes`, which are in the order of asking, would match: figures,
    and `words` for people."""
    found = newest_week(org_id, now)
    if found is None:
        return {**_figures(None), "matched": 0, "taken_above": 0, "unknown": 0, "words": _NO_REQUESTS}
    above = [each for each in routes[: routes.index(route)] if each.enabled]
    asks_text = "prompt" in facts_of_engines([Engine([*above, replace(route, enabled=True)])])
    counted = count_matches(found.with_texts() if asks_text else found.contexts, route, above)
    interval = counted.interval
    return {
        **_figures(found.sample),
        "matched": counted.matched,
        "taken_above": counted.taken_above,
        "unknown": counted.unknown,
        "share": counted.share,
        "interval": None if interval is None else [interval.low, interval.high],
        "words": _words(found.sample, counted),
    }


def hits(org_id: UUID, live: Engine, *, now: datetime) -> dict[str, Any]:
    """The share of the requests of the newest week that each route took: figures, whether the log tells who took them
    (`is_told`; else they are decided on by the engine that is live), and `words` for people."""
    routes = [route.id for route in live.routes]
    found = newest_week(org_id, now)
    if found is None:
        return {
            **_figures(None),
            "hits": {route: {"count": 0, "share": None} for route in routes},
            "is_told": False,
            "words": _NO_REQUESTS,
        }
    sample = found.sample
    is_told = any(sample.taken_by)
    if is_told:
        taken_by = [None if taker is None else str(taker) for taker in sample.taken_by]
    else:
        asks_text = "prompt" in facts_of_engines([live])
        contexts = found.with_texts() if asks_text else found.contexts
        taken_by = [live.decide(context).route_id for context in contexts]
    counted = count_hits(taken_by, routes)
    size = len(sample.rows)
    return {
        **_figures(sample),
        "hits": {route: {"count": count, "share": count / size if size else None} for route, count in counted.items()},
        "is_told": is_told,
        "words": _hits_words(sample, is_told=is_told),
    }


# --- Words ------------------------------------------------------------------------------------------------------------

_NO_REQUESTS: Final = "No requests are logged yet."


def _figures(sample: Sample | None) -> dict[str, Any]:
    if sample is None:
        return {"sample": 0, "total": 0, "is_whole": True, "window": None}
    start, end = sample.window
    return {
        "sample": len(sample.rows),
        "total": sample.total,
        "is_whole": sample.is_whole,
        "window": {"from": start.isoformat(), "to": end.isoformat()},
    }


def _words(sample: Sample, counted: Matched) -> str:
    size = len(sample.rows)
    if not size or counted.share is None or counted.interval is None:
        return f"There are no requests in the week {until(sample)}."
    if sample.is_whole:
        text = f"{counted.matched:,} of all {size:,} requests {of_week(sample)} match ({percent(counted.share)})."
    else:
        low, high = counted.interval.low or 0, counted.interval.high or 0
        text = (
            f"About {counted.matched:,} of {size:,} sampled requests {of_week(sample)} match ({percent(counted.share)}, 95%"
            f" interval {percent(low)} to {percent(high)}; of about {about(sample.total)})."
        )
    if counted.taken_above:
        whole = counted.taken_above == counted.matched
        text += f" {'All' if whole else f'{counted.taken_above:,}'} of them are taken by routes above."
    if counted.unknown:
        text += f" Of {counted.unknown:,} more nobody can tell: the log lacks a fact that a condition asks for."
    return text


def _hits_words(sample: Sample, *, is_told: bool) -> str:
    size = len(sample.rows)
    if not size:
        return f"There are no requests in the week {until(sample)}."
    which = (
        f"all {size:,} requests {of_week(sample)}"
        if sample.is_whole
        else f"{size:,} sampled requests {of_week(sample)}, of about {about(sample.total)}"
    )
    if not is_told:
        return f"What today’s routes would take of {which}: the log does not say which route took them."
    return f"What each route took of {which}."
