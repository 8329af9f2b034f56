"""A result as charts, each with the same numbers in a table, and as figures."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from plans.charts import Chart, Line, Pair, Saving, over_percents, over_time, pairs, savings
from plans.runs.answer import cost_rows, earlier_version, kept, latency_rows, percent_text, route_rows, unknowns
from routes.money import usd_text

#: So many routes and models have bars, and so many rows a table where nobody asks for all.
BARS: Final = 12
ROWS: Final = 50
TODAY, PROPOSED = "today's routes", "proposed"


@dataclass(frozen=True, slots=True)
class Shown:
    """A chart with its table: the heads of the columns, and the rows as texts, of which the first names the row."""

    title: str
    wide: SafeString
    narrow: SafeString
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""
    is_long: bool = False

    @property
    def lines(self) -> list[list[tuple[str, str]]]:
        """The rows, each cell with the head of its column."""
        return [list(zip(self.columns, row, strict=True)) for row in self.rows]


def figures(result: dict[str, Any], *, all_rows: bool) -> dict[str, Any]:
    """What the page of a plan shows of its result."""
    hit_rate = result["aggregates"].get("cache_hit_rate_projected")
    by_route = route_rows(result)
    # With a thousand routes those that matter come first; the others are asked for.
    is_long = len(by_route) > ROWS and not all_rows
    return {
        "costs": cost_rows(result),
        "kept": kept(result["aggregates"]),
        "hit_rate": None if hit_rate is None else percent_text(100 * hit_rate),
        "latencies": latency_rows(result),
        "unknowns": unknowns(result),
        "by_route": [by_route[place] for place in _by_weight(result)[:ROWS]] if is_long else by_route,
        "routes_total": len(by_route),
        "earlier_version": earlier_version(result),
        "charts": charts(result),
        "has_series": "series" in result,
    }


def charts(result: dict[str, Any]) -> list[Shown]:
    """None where nothing was replayed; of a result of an earlier version what there is."""
    if not result["sample_size"]:
        return []
    found = [_by_route(result)]
    if series := result.get("series"):
        if series["cost_over_time"]["start"] is not None:
            found.append(_over_time(series["cost_over_time"]))
        if any(value is not None for value in series["latency_ms"]["current"] + series["latency_ms"]["projected"]):
            found.append(_latencies(series["latency_ms"]))
        found.append(_by_model(series["by_model"]))
    return found


def _shown(chart: Chart, columns: tuple[str, ...], rows: list[tuple[str, ...]], **more: Any) -> Shown:
    # The room of charts escapes all texts.
    return Shown(chart.title, mark_safe(chart.wide), mark_safe(chart.narrow), columns, rows, **more)  # noqa: S308


# --- Saved by route ---------------------------------------------------------------------------------------------------


def _by_weight(result: dict[str, Any]) -> list[int]:
    """The places of the routes: what saves or costs most first, then what has most requests."""
    rows = result["per_route_breakdown"]
    return sorted(
        range(len(rows)), key=lambda place: (-abs(rows[place]["savings_usd"]), -rows[place]["matched"], place)
    )


def _by_route(result: dict[str, Any]) -> Shown:
    rows, words = result["per_route_breakdown"], route_rows(result)
    taking = [place for place in _by_weight(result) if rows[place]["matched"]]
    places = [place for place in taking if not _is_nothing(rows[place])]
    bars = []
    for place in sorted(places[:BARS]):
        ends = rows[place].get("savings_usd_95")
        interval = None if ends is None else (ends[0], ends[1])
        bars.append(Saving(words[place]["name"], rows[place]["savings_usd"], interval, words[place]["saved"]))
    gains = sum(rows[place]["savings_usd"] > 0 for place in places)
    losses = sum(rows[place]["savings_usd"] < 0 for place in places)
    description = f"Of {len(taking)} routes with requests {gains} save and {losses} cost more, against today's routes."
    notes = [
        "The bar is what is saved; the line over it runs from one end of the 95% interval to the other, for as much traffic"
        " as the route took here. How much each route takes from week to week is in the interval of the whole."
    ] * bool(places)
    if len(places) > BARS:
        notes.append(f"The {BARS} routes that matter most; all are in the table.")
    if left_out := len(taking) - len(places):
        routes = "1 route with requests saves" if left_out == 1 else f"{left_out:,} routes with requests save"
        notes.append(f"{routes} nothing and cost{'s' * (left_out == 1)} nothing more: not drawn, in the table.")
    chart = savings("Saved by route", description, rows=bars)
    return _shown(chart, (), [], note=" ".join(notes))


def _is_nothing(row: dict[str, Any]) -> bool:
    """Whether a route neither saves nor costs more, whatever the traffic."""
    return not row["savings_usd"] and not any(row.get("savings_usd_95") or ())


# --- Cost over time ---------------------------------------------------------------------------------------------------


def _over_time(told: dict[str, Any]) -> Shown:
    start, width = datetime.fromisoformat(told["start"]), timedelta(seconds=told["seconds"])
    span = _span(told["seconds"])
    now, then = told["current_cost_usd"], told["projected_cost_usd"]
    description = (
        f"From {start:%Y-%m-%d %H:%M} UTC on, {len(now)} spans of {span}: today's routes cost up to"
        f" {usd_text(max(now))} in one, the proposed up to {usd_text(max(then))}."
    )
    said = f"US dollars per {span.removeprefix('1 ')}"
    lines = Line(TODAY, now), Line(PROPOSED, then)
    chart = over_time("Cost over time", description, said=said, start=start, width=width, lines=lines)
    rows = [
        (_time_text(start, number * width), f"{requests:,}", usd_text(current), usd_text(projected))
        for number, (requests, current, projected) in enumerate(zip(told["requests"], now, then, strict=True))
    ]
    return _shown(chart, (f"From (UTC), {span}", "Requests", "Today's routes", "Proposed"), rows, is_long=True)


def _time_text(start: datetime, later: timedelta) -> str:
    return f"{start.astimezone(UTC) + later:%Y-%m-%d %H:%M}"


def _span(seconds: int) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return f"{seconds // size} {name}{'' if seconds == size else 's'}"
    return f"{seconds} seconds"


# --- Latency ----------------------------------------------------------------------------------------------------------


def _latencies(told: dict[str, Any]) -> Shown:
    percents, now, then = told["percents"], told["current"], told["projected"]
    half = percents.index(50)
    description = (
        f"Half of the requests take at most {_ms(now[half])} under today's routes and {_ms(then[half])} under the proposed;"
        f" {percents[-1]}% at most {_ms(now[-1])} and {_ms(then[-1])}."
    )
    lines = Line(TODAY, now), Line(PROPOSED, then)
    chart = over_percents("How long requests take", description, percents=percents, lines=lines)
    rows = [
        (f"{percent}% of the requests within", _ms(before), _ms(after))
        for percent, before, after in zip(percents, now, then, strict=True)
    ]
    note = "A request that another model would serve takes what stands at its own rank in that model's latencies."
    return _shown(chart, ("Share", "Today's routes", "Proposed"), rows, note=note)


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value:,} ms"


# --- By model ---------------------------------------------------------------------------------------------------------


def _by_model(told: dict[str, Any]) -> Shown:
    lines = [(model["model"] or "(no name)", model) for model in told["models"]]
    if other := told["other"]:
        lines.append((f"{other['models']:,} other model{'' if other['models'] == 1 else 's'}", other))
    bars = [Pair(name, line["requests_current"], line["requests_projected"]) for name, line in lines]
    if len(bars) > BARS:
        rest = bars[BARS - 1 :]
        counts = sum(bar.before for bar in rest), sum(bar.after for bar in rest)
        bars = [*bars[: BARS - 1], Pair(f"{len(rest)} more lines", *counts)]
    refused = told["refused"]
    if any(refused.values()):
        bars.append(Pair("refused", refused["requests_current"], refused["requests_projected"]))
    first = max(bars, key=lambda bar: bar.after, default=None)
    description = (
        f"{first.name} would serve most: {first.after:,} requests; under today's routes {first.before:,}."
        if first
        else ""
    )
    names = "under today's routes", "under the proposed ones"
    chart = pairs("Requests by model", description or "There are none.", names=names, rows=bars)
    columns = ("Model", "Served", "Under today's", "Proposed", "Paid", "Cost today", "Cost proposed")
    rows = [
        (
            name,
            *(f"{line[f'requests_{side}']:,}" for side in ("served", "current", "projected")),
            *(usd_text(line[f"{side}_cost_usd"]) for side in ("paid", "current", "projected")),
        )
        for name, line in lines
    ]
    if any(refused.values()):
        rows.append(
            ("refused", "–", f"{refused['requests_current']:,}", f"{refused['requests_projected']:,}", "–", "–", "–")
        )
    return _shown(chart, columns, rows, is_long=len(rows) > BARS)
