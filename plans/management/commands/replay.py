"""Replays a file of request logs against routes, without a database: a look before anything is installed or imported."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGINT
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from plans.errors import PlansError
from plans.logs.formats import AUTO, FORMATS, MAPPABLE, Mapping, ReadAs, Reader, Refusal, Row, detect
from plans.logs.preview import preview
from plans.management.files import log_file, say_guesses
from plans.management.progress import ProgressLine
from plans.replay import MemorySource, Question, replay
from plans.replay.memory import keep_freed_memory
from plans.runs.answer import Answer, answer_of, latency_rows, route_rows
from plans.runs.models import IntervalMethod
from plans.runs.proposals import MAX_ITERATIONS, MAX_SEED, MAX_TTL_SECONDS, MIN_ITERATIONS
from plans.runs.rows import blocks_of, days_of
from routes.catalog.formats import MAX_BYTES, read_prices
from routes.catalog.listed import UnreadablePrices
from routes.catalog.services import SHIPPED, listed_table
from routes.engine import Engine, Route
from routes.engine.canonical import canonical_bytes
from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected, InvalidRoute
from routes.engine.prices import PriceTable
from routes.errors import RoutesError
from routes.orgs.models import Organization

#: Refused records that are named, and refused prices.
NAMED = 20
NAMED_PRICES = 5
#: Records between two looks at the progress.
STEP = 1_000
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
        parser.add_argument(
            "--guess", action="store_true", help="map common names, as import_logs --preview shows them"
        )
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--iterations", type=int, default=10_000)
        parser.add_argument("--interval-method", choices=IntervalMethod.values, default=IntervalMethod.RANDOM_SUBSETS)
        parser.add_argument("--l1-ttl-seconds", type=float, help="suppose an exact cache")
        parser.add_argument("--json", action="store_true", help="write the whole result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        keep_freed_memory()
        try:
            result = self._result(options)
        except BrokenPipeError:
            raise  # whoever read what we say is gone: no fault of a file
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror or error}") from error
        except (PlansError, RoutesError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; nothing was changed.", returncode=128 + SIGINT) from None
        if options["json"]:
            if self._refused:
                self.stderr.write(self._refused)
            self.stdout.write(canonical_bytes(result).decode())
        else:
            self._say(answer_of(result), result)

    def _result(self, options: dict[str, Any]) -> dict[str, Any]:
        prices = self._prices(options["prices"])
        question = Question(
            current=Engine([]) if options["today"] is None else _engine(options["today"]),
            proposed=_engine(options["routes"]),
            prices=prices,
            seed=options["seed"],
            iterations=options["iterations"],
            interval_method=options["interval_method"],
            l1_ttl_seconds=options["l1_ttl_seconds"],
        )
        reader = self._reader(options, prices)
        source = MemorySource.of_blocks(blocks_of(self._rows(reader), question.columns))
        if not source.count():
            why = "No record could be read" if self._refused else "The file has no rows"
            raise CommandError(f"{why}, so there is nothing to replay.")
        result = replay(source, replace(question, window=days_of(source)))
        # The window is of our own making, so nobody asked for more of it than the file has.
        result["caveats"] = [caveat for caveat in result["caveats"] if caveat["code"] != "window_not_covered"]
        return result

    def _prices(self, path: Path) -> PriceTable:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        try:
            listed = read_prices(raw)
        except UnreadablePrices as error:
            raise CommandError(f"{path.name}: {error}") from None
        for refused in listed.refused[:NAMED_PRICES]:
            self.stderr.write(f"{path.name}: {refused.name}: {refused.reason}")
        if listed.refused:
            self.stderr.write(f"Prices refused and left out: {len(listed.refused):,}.")
        if not listed.prices:
            raise CommandError(
                f"{path.name} has no price that can be used. Leave --prices out for those that are shipped."
            )
        return listed_table(listed)

    def _reader(self, options: dict[str, Any], prices: PriceTable) -> Reader:
        file = log_file(options["file"])
        how = ReadAs(options["format"], Mapping.of_texts(options["map"], options["set"]), options["model"] or "")
        if options["guess"] and detect(file, how.format) in MAPPABLE:
            # Nobody's file: an organisation is only asked for its prices, and only for a trace.
            seen = preview(Organization(), file, how, guessing=True)
            how = replace(how, format=seen.format, mapping=seen.mapping)
            say_guesses(self.stderr, seen.columns)
        return Reader(file, how, lambda: prices)

    def _rows(self, reader: Reader) -> Iterator[Row]:
        line = ProgressLine(self.stderr, reader)
        refused = 0
        self._refused = ""
        try:
            for number, item in enumerate(reader.items(), 1):
                if isinstance(item, Refusal):
                    refused += 1
                    if refused <= NAMED:
                        line.clear()
                        self.stderr.write(f"{reader.numbered} {item.line}: {item.reason}")
                else:
                    yield item
                if number % STEP == 0:
                    line.show(number, "read")
        finally:
            line.clear()
        if refused:
            self._refused = f"Refused and left out: {refused:,} of {number:,} {reader.numbered}s."

    def _say(self, said: Answer, result: dict[str, Any]) -> None:
        write = self.stdout.write
        write(f"{said.headline}.\n{said.detail}\n")
        if self._refused:
            write(f"{self._refused}\n")
        write(f"{'Route':40} {'Requests':>10} {'Today':>12} {'Proposed':>12} {'Saved':>12}  95% interval")
        for row in route_rows(result):
            figures = " ".join(f"{row[name]:>12}" for name in ("current", "projected", "saved"))
            write(f"{row['name'][:40]:40} {row['matched']:>10,} {figures}  {row['interval']}")
        for row in latency_rows(result):
            write(f"{row['label']} {row['now']:,} ms today, {row['then']:,} ms proposed (95%: {row['interval']}).")
        for caveat in result["caveats"]:
            write(f"- {caveat['message']}")
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in result["excluded"].items())
        write(f"Left out: {left_out}. Data {result['provenance']['data_digest']}.")


def _check(options: dict[str, Any]) -> None:
    """The limits that a plan has too. Raises `CommandError`."""
    ttl = options["l1_ttl_seconds"]
    for is_right, message in (
        (0 <= options["seed"] <= MAX_SEED, "--seed is a whole number from 0 to 2^63 - 1."),
        (
            MIN_ITERATIONS <= options["iterations"] <= MAX_ITERATIONS,
            f"--iterations is a whole number from {MIN_ITERATIONS:,} to {MAX_ITERATIONS:,}.",
        ),
        (
            ttl is None or 0 < ttl <= MAX_TTL_SECONDS,
            f"--l1-ttl-seconds is more than 0 and at most {MAX_TTL_SECONDS:,}; leave it out for no such cache.",
        ),
    ):
        if not is_right:
            raise CommandError(message)


def _engine(path: Path) -> Engine:
    """The engine of a file of routes. Raises `CommandError` for what is none, `OSError`."""
    try:
        raw = parse_json(path.read_bytes(), MAX_DEPTH, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    except DocumentRejected as error:
        raise CommandError(f"{path.name}: {str(error).replace('The document', 'The file')}") from None
    if not isinstance(raw, list):
        raise CommandError(f"{path.name} has to be a list of routes.")
    routes = []
    for place, one in enumerate(raw):
        try:
            given = {"id": str(UUID(int=_FIRST_ID + place)), **one} if isinstance(one, dict) else one
            routes.append(Route.from_dict(given))
        except InvalidRoute as error:
            raise CommandError(f"{path.name}, route {place + 1}: {error}") from None
    _refuse_repeated(path, routes, "called", lambda route: route.name)
    _refuse_repeated(path, routes, "with the id", lambda route: route.id)
    try:
        engine = Engine(routes)
        _ = engine.digest  # of the document that they would make
    except (InvalidRoute, DocumentRejected) as error:
        raise CommandError(f"{path.name}: {error}") from None
    return engine


def _refuse_repeated(path: Path, routes: list[Route], what: str, named: Callable[[Route], str]) -> None:
    for name, count in Counter(map(named, routes)).items():
        if count > 1:
            raise CommandError(f"{path.name} has {count} routes {what} {name}: give each its own.")
