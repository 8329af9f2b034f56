"""Replays a file of request logs against routes, without a database: a look before anything is installed or imported."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from plans.errors import PlansError
from plans.logs.formats import AUTO, FORMATS, LogFile, Mapping, ReadAs, Reader, Refusal
from plans.logs.models import RequestLog
from plans.replay import LogRow, MemorySource, Question, replay
from plans.runs.answer import Answer, answer_of, ends_text, latency_rows
from plans.runs.models import IntervalMethod
from routes.catalog.formats import read_prices
from routes.catalog.listed import UnreadablePrices
from routes.catalog.services import SHIPPED, listed_table
from routes.engine import Engine, Route
from routes.engine.canonical import canonical_bytes
from routes.engine.errors import InvalidRoute
from routes.engine.prices import PriceTable
from routes.errors import RoutesError
from routes.money import usd_text

#: Refused records that are named.
NAMED = 20
#: Routes without an id get one that says their place, so that equal input gives equal output.
_FIRST_ID = 0x0190_0000_0000_7000_8000_0000_0000_0000


class Command(BaseCommand):
    help = (
        "Replay a file of request logs against routes and say what they would have saved or cost. Nothing is stored, and"
        " no database is asked: prices are those that are shipped, or of --prices FILE."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="any format that import_logs reads")
        parser.add_argument("--routes", type=Path, required=True, metavar="JSON", help="a list of routes: the proposal")
        parser.add_argument("--today", type=Path, metavar="JSON", help="the routes to compare with (default: none)")
        parser.add_argument("--prices", type=Path, default=SHIPPED, metavar="JSON", help="as import_prices reads them")
        parser.add_argument("--format", choices=[AUTO, *FORMATS], default=AUTO, help="auto (default): by the content")
        parser.add_argument("--model", help="the model that served a trace, for example gpt-4o or openai/gpt-4o")
        parser.add_argument("--map", action="append", default=[], metavar="THEIRS=OURS", help="as of import_logs")
        parser.add_argument("--set", action="append", default=[], metavar="OURS=VALUE", help="as of import_logs")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--iterations", type=int, default=10_000)
        parser.add_argument("--interval-method", choices=IntervalMethod.values, default=IntervalMethod.RANDOM_SUBSETS)
        parser.add_argument("--l1-ttl-seconds", type=float, help="suppose an exact cache")
        parser.add_argument("--json", action="store_true", help="write the whole result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            prices = _prices(options["prices"])
            rows = list(self._rows(options, prices))
            question = Question(
                current=_engine(options["today"]),
                proposed=_engine(options["routes"]),
                prices=prices,
                seed=options["seed"],
                iterations=options["iterations"],
                interval_method=options["interval_method"],
                window=_window(rows),
                l1_ttl_seconds=options["l1_ttl_seconds"],
            )
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror or error}") from error
        except (PlansError, RoutesError, ValueError) as error:
            raise CommandError(str(error)) from error
        if not rows:
            raise CommandError(
                "No record could be read, so there is nothing to replay. What is wrong: import_logs --preview"
            )
        result = replay(MemorySource(rows), question)
        if options["json"]:
            self.stdout.write(canonical_bytes(result).decode())
        else:
            self._say(answer_of(result), result)

    def _rows(self, options: dict[str, Any], prices: PriceTable) -> Iterator[LogRow]:
        path: Path = options["file"]
        file = LogFile(path.name, path.stat().st_size, lambda: path.open("rb"))
        mapping = Mapping.of_texts(options["map"], options["set"])
        reader = Reader(file, ReadAs(options["format"], mapping, options["model"] or ""), lambda: prices)
        refused = 0
        for item in reader.items():
            if isinstance(item, Refusal):
                refused += 1
                if refused <= NAMED:
                    self.stderr.write(f"{reader.numbered} {item.line}: {item.reason}")
            else:
                yield _log_row(item.values)
        if refused:
            self.stderr.write(f"Refused and left out: {refused:,}.")

    def _say(self, said: Answer, result: dict[str, Any]) -> None:
        write = self.stdout.write
        write(f"{said.headline}.\n{said.detail}\n")
        write(f"{'Route':40} {'Requests':>10} {'Today':>12} {'Proposed':>12} {'Saved':>12}  95% interval")
        for row in result["per_route_breakdown"]:
            costs = (usd_text(row[f"{name}_usd"]) for name in ("current_cost", "projected_cost", "savings"))
            figures = " ".join(f"{cost:>12}" for cost in costs)
            name = (row["route_name"] or "no route")[:40]
            write(f"{name:40} {row['matched']:>10,} {figures}  {ends_text(row['savings_usd_95'])}")
        for row in latency_rows(result):
            write(f"{row['label']} {row['now']:,} ms today, {row['then']:,} ms proposed (95%: {row['interval']}).")
        for caveat in result["caveats"]:
            write(f"- {caveat['message']}")
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in result["excluded"].items())
        write(f"Left out: {left_out}. Data {result['provenance']['data_digest']}.")


def _prices(path: Path) -> PriceTable:
    try:
        return listed_table(read_prices(path.read_bytes()))
    except UnreadablePrices as error:
        raise CommandError(f"{path.name}: {error}") from None


def _engine(path: Path | None) -> Engine:
    if path is None:
        return Engine([])
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(raw, list):
        raise CommandError(f"{path.name} has to be a list of routes.")
    routes = []
    for place, one in enumerate(raw):
        try:
            given = {"id": str(UUID(int=_FIRST_ID + place)), **one} if isinstance(one, dict) else one
            routes.append(Route.from_dict(given))
        except InvalidRoute as error:
            raise CommandError(f"{path.name}, route {place + 1}: {error}") from None
    return Engine(routes)


def _log_row(values: dict[str, Any]) -> LogRow:
    """What would be stored, as the replay reads it."""
    row = RequestLog(**values)

    def nano(usd: Decimal | None) -> int | None:
        return None if usd is None else int(usd.scaleb(9))

    same = {
        name: getattr(row, name)
        for name in LogRow.__dataclass_fields__
        if not name.endswith("_nano") and name not in ("prompt", "finish_reason", "fact_sticky_key", "synthetic")
    }
    return LogRow(
        **same,
        cost_nano=nano(row.cost_usd),
        baseline_cost_nano=nano(row.baseline_cost_usd),
        fact_estimated_cost_nano=nano(row.fact_estimated_cost_usd),
        finish_reason=row.finish_reason or None,
        fact_sticky_key=row.fact_sticky_key or None,
        synthetic=tuple(row.synthetic),
    )


def _window(rows: list[LogRow]) -> tuple[datetime, datetime] | None:
    """The days that the file is about."""
    if not rows:
        return None
    first, last = (pick(row.ts for row in islice(rows, None)).astimezone(UTC).date() for pick in (min, max))
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
    return start, end + timedelta(days=1)
