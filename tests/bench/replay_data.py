"""The log and the question of the races of the replay: the same rows wherever they are put, in memory, files or tables."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from plans.replay import MemorySource, Question, replay
from plans.replay.columns.block import BLOCK_ROWS, COLUMNS, Block, microseconds_of
from plans.replay.columns.column import Coded, Column, Numbers, Texts, Vocabulary
from plans.replay.figures import usd
from routes.engine import Action, Engine, RequestContext, Route
from routes.engine.prices import Price, PriceTable
from tests.bench.workload import Workload, route_of, shared_module

ROUTES, ITERATIONS, MODELS = 100, 2_000, 60
#: Ten requests a second.
STEP_MICROSECONDS = 100_000
WINDOW = (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
CLUSTERS = 50_000
#: Beside a hundred tags so many times none.
_WITHOUT_TAG = 20
_PROVIDER = "elsewhere"
_BILLED = ("cost_nano", "input_tokens", "output_tokens")


def question(*, iterations: int = ITERATIONS, targets_known: bool = False) -> Question:
    """No routes today; the shared workload's proposed, of which some take rows. Each target has a price of its own.

    `targets_known`: they are models of the log, whose latencies rows take; else nobody knows how fast they are.
    """
    models = shared_module("rules_workload").MODELS[:MODELS]
    targets = [models[index % MODELS] if targets_known else f"target-{index}" for index in range(ROUTES)]
    chance = np.random.default_rng(5)
    prices = [
        Price(
            provider=_PROVIDER,
            model=target,
            input_nano_per_million=int(chance.integers(100, 5_000)) * 10**6,
            output_nano_per_million=int(chance.integers(100, 5_000)) * 10**6,
        )
        for target in sorted(set(targets))
    ]
    rules = Workload.of(ROUTES, "none").rules
    proposed = [
        replace(_by_tag(rule, index), then=Action(target))
        for index, (rule, target) in enumerate(zip(rules, targets, strict=True))
    ]
    return Question(
        current=Engine([]), proposed=Engine(proposed), prices=PriceTable(prices), iterations=iterations, window=WINDOW
    )


def _by_tag(rule: Any, index: int) -> Route:
    """The rule as a route; it asks for the request's tag, `team=v3`, where the rule asks for one of several."""
    route = route_of(rule, index)
    if rule.tag is None:
        return route
    return replace(route, when=replace(route.when, metadata={}, tag_equals="=".join(rule.tag)))


# --- Rows -----------------------------------------------------------------------------------------------------------


def log_blocks(rows: int, *, block_rows: int = BLOCK_ROWS, start: datetime = WINDOW[0]) -> Iterator[Block]:
    """Rows like those of the shared prototype, in whole blocks and a rest: a longer log begins with a shorter one's whole
    blocks."""
    shared = shared_module("rules_workload")
    chance = np.random.default_rng(3)
    models = Vocabulary(shared.MODELS[:MODELS])
    providers = Vocabulary(f"vendor-{number}" for number in range(17))
    tags = Vocabulary(f"{key}=v{number}" for key in shared.TAGK for number in range(20))
    users = Vocabulary(f"user-{number}" for number in range(CLUSTERS))
    first_ts = microseconds_of(start)
    for first in range(0, rows, block_rows):
        count = min(block_rows, rows - first)
        ordinals = first + np.arange(count)
        model = chance.integers(0, len(models), count).astype(np.int32)
        cost = chance.exponential(40_000_000, count).astype(np.int64)
        tag = np.maximum(chance.integers(-_WITHOUT_TAG, len(tags), count), -1).astype(np.int32)
        columns: dict[str, Column] = {
            "ts": Numbers(first_ts + ordinals * STEP_MICROSECONDS),
            "request_id": _ids(ordinals),
            "model": Coded(model, models),
            "requested_model": Coded(model, models),
            "provider": Coded(model % len(providers), providers),
            "tag": Coded(tag, tags),
            # Unequal: a tenth of the users has nearly half of the rows.
            "cluster_key": Coded((CLUSTERS * chance.random(count) ** 3).astype(np.int32), users),
            "input_tokens": Numbers(np.minimum(chance.exponential(3_000, count), 199_999).astype(np.int64)),
            "output_tokens": Numbers(chance.integers(1, 2_000, count)),
            "cost_nano": Numbers(cost),
            "baseline_cost_nano": Numbers(cost),
            "latency_ms": Numbers(np.minimum(chance.exponential(800, count), 59_999).astype(np.int64)),
            "status": Numbers(np.where(chance.random(count) < 0.001, 500, 200)),
            "has_images": Numbers((chance.random(count) < 0.15).astype(np.int8)),
            "has_audio": Numbers((chance.random(count) < 0.05).astype(np.int8)),
        }
        yield Block(first, count, columns)


def _ids(ordinals: np.ndarray[Any, Any]) -> Texts:
    """Sixteen digits each."""
    digits = np.empty((len(ordinals), 16), np.uint8)
    for place in range(16):
        digits[:, 15 - place] = ord("0") + ordinals // 10**place % 10
    return Texts(np.arange(len(ordinals) + 1) * 16, digits.reshape(-1))


def in_memory(blocks: Iterable[Block], *, has_unique_ids: bool = False) -> MemorySource:
    """The rows as nobody has read them yet: blocks and vocabularies keep what was computed of them, such as digests."""
    fresh: dict[int, Vocabulary] = {}
    anew = []
    for block in blocks:
        columns: dict[str, Column] = {}
        for name in _columns_of(block):
            column = block.column(name)
            if isinstance(column, Coded):
                known = column.vocabulary
                columns[name] = Coded(column.codes, fresh.setdefault(id(known), Vocabulary(known.texts)))
            elif isinstance(column, Texts):
                columns[name] = Texts(column.offsets, column.data)
            else:
                columns[name] = Numbers(column.values)
        anew.append(Block(block.first, block.rows, columns))
    source = MemorySource.of_blocks(anew)
    source.has_unique_ids = has_unique_ids
    return source


def _columns_of(block: Block) -> list[str]:
    return [name for name in COLUMNS if not block.lacks(name)]


# --- What is right --------------------------------------------------------------------------------------------------


def sample_of(blocks: Iterable[Block], step: int) -> list[Block]:
    """Every so manieth row, as a log of its own."""
    sample: list[Block] = []
    first = 0
    for block in blocks:
        rows = np.arange(-block.first % step, block.rows, step)
        if len(rows):
            columns = {name: block.column(name).taken(rows) for name in _columns_of(block)}
            sample.append(Block(first, len(rows), columns))
            first += len(rows)
    return sample


def check(sample: list[Block], asked: Question) -> int:
    """Asks the engine about each row, in a plain loop, and compares what each route takes and what it would cost with the
    replay's. Answers how many rows there were; raises `AssertionError` where the two differ."""
    found = replay(in_memory(sample), asked)
    matched, costs = _by_plain_loop(sample, asked)
    breakdown = found["per_route_breakdown"]
    if [one["matched"] for one in breakdown] != matched:
        raise AssertionError(f"The replay counts {[one['matched'] for one in breakdown]}, the plain loop {matched}")
    if [one["projected_cost_usd"] for one in breakdown] != [usd(cost) for cost in costs]:
        raise AssertionError("The replay and the plain loop find other costs")
    if found["sample_size"] != sum(matched) or matched[-1] in (0, sum(matched)):
        raise AssertionError(f"Some rows should be taken, and some not: {matched}")
    return sum(block.rows for block in sample)


def _by_plain_loop(sample: list[Block], asked: Question) -> tuple[list[int], list[int]]:
    """By route, in the order in which they are asked, and last for none: rows and their nano-dollars."""
    places = {route.id: place for place, route in enumerate(asked.proposed.routes)}
    prices = {price.model: price for price in asked.prices.prices}
    matched, costs = [0] * (len(places) + 1), [0] * (len(places) + 1)
    for block in sample:
        for row in range(block.rows):
            if block.number("status", row) != 200:
                continue
            served = block.text("model", row)
            paid, tokens, output = (int(block.numbers(name)[row]) for name in _BILLED)
            decision = asked.proposed.decide(
                RequestContext(
                    block.text("requested_model", row),
                    input_tokens=tokens,
                    tag=block.text("tag", row),
                    has_images=block.flag("has_images", row),
                    has_audio=block.flag("has_audio", row),
                    estimated_cost_usd=Decimal(paid).scaleb(-9),
                )
            )
            place = len(places) if decision.route_id is None else places[decision.route_id]
            matched[place] += 1
            # Without a route nobody is asked for but the requested model, which served.
            stays = decision.route_id is None or decision.target_model == served
            costs[place] += paid if stays else prices[decision.target_model].cost_nano(tokens, output)
    return matched, costs


# --- In tables --------------------------------------------------------------------------------------------------------


def fill(org: Any, blocks: Iterable[Block]) -> None:
    """Write rows to the table of an organisation, past the ORM, which would take minutes; as the ORM would write them."""
    from django.db import connection, transaction

    from plans.logs.models import RequestLog

    table = connection.ops.quote_name(RequestLog._meta.db_table)
    with transaction.atomic(), connection.cursor() as cursor:
        for block in blocks:
            columns = _as_stored(org, block)
            names = ", ".join(map(connection.ops.quote_name, columns))
            rows = zip(*columns.values(), strict=True)
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            else:
                places = ", ".join(["%s"] * len(columns))
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)


def _as_stored(org: Any, block: Block) -> dict[str, list[Any]]:
    """By column of the table the values of all rows; columns that are empty in all are left out."""
    from django.db import connection

    from plans.logs.models import RequestLog
    from plans.replay.columns.parquet import FILED

    written = {"ts": _times, "cost_nano": _dollars, "baseline_cost_nano": _dollars}
    columns = {FILED[name][-1]: written.get(name, _values)(block.column(name)) for name in _columns_of(block)}
    for field in RequestLog._meta.concrete_fields:
        if not field.primary_key and field.column not in columns:
            value = org.pk if field.name == "org" else field.get_default()
            if value is not None:
                columns[field.column] = [field.get_db_prep_save(value, connection)] * block.rows
    return columns


def _values(column: Any) -> list[Any]:
    if isinstance(column, Coded):
        texts: list[str | None] = [*column.vocabulary.texts, None]  # where the code -1 points to
        return [texts[code] for code in column.codes.tolist()]
    if isinstance(column, Texts):
        return [column[row] for row in range(len(column))]
    values: list[int] = column.values.tolist()
    return values


def _times(column: Numbers) -> list[str]:
    texts = np.datetime_as_string(column.values.view("M8[us]"))
    # Of whole seconds the fraction is left out, which SQLite compares as text.
    return [text.replace("T", " ").removesuffix(".000000") for text in texts.tolist()]


def _dollars(column: Numbers) -> list[str]:
    return ["{}.{:09d}".format(*divmod(nano, 10**9)) for nano in column.values.tolist()]
