"""What rows cost under decisions, in integer nano-dollars.

Rows of one case (who served what was asked for, what either side decides, the prices in force) differ only in their
tokens and in what was paid, so everything else is worked out once a case, with the very table that gateways estimate by.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.cases import Codes, Combinations, Names
from plans.replay.columns.block import Block, microseconds_of, time_of
from plans.replay.columns.column import Coded
from plans.replay.values import DECIDED
from routes.engine import RouteDecision
from routes.engine.prices import PER, Price, PriceTable

type Nano = NDArray[np.int64]

#: How a side's cost comes about.
PAID, NOTHING, PRICED = range(3)
#: Whose prices: today's, the proposed, those of whoever served.
NOW, THEN, LISTED = range(3)
#: Who decided who served a row: nobody, so that the name asked for stands for it; a route; nobody can tell.
UNTOUCHED, ROUTED, UNCLEAR = range(3)
#: What a provider writes behind the name of a model: -2024-07-18, -20240718, -0613.
_DATED: Final = re.compile(r"[-@:](\d{4}(-?\d\d-?\d\d)?)", re.ASCII)


class Served(NamedTuple):
    """Who serves a request. Where nobody logged a provider, and no decision names one, it is ""."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of the contrast makes of the rows of a case."""

    #: None where it refuses.
    served: Served | None
    how: int
    #: With PRICED, and the most it may cost there.
    price: Price | None = None
    ceiling_nano: int | None = None
    #: The model that has no price at that time; the paid cost stands.
    unpriced: str | None = None
    #: The provider of the price, where nobody says that it is the one who serves, and others ask for another.
    guessed: str | None = None
    #: Nobody changes the name that was asked for, under which another model served.
    is_as_asked: bool = False
    #: The same, though today's routes would send it to a third: whether a route or the name did it, nobody logged.
    is_unclear: bool = False

    @property
    def keeps(self) -> bool:
        """Whether whoever served the rows is who serves them here."""
        return self.how == PAID and self.unpriced is None


@dataclass(frozen=True, slots=True)
class Case:
    """Rows alike in all but tokens, paid cost and latency. Without a price on either side the paid cost stands on both:
    against a priced one it would show a difference that nobody knows, and often as a saving."""

    #: Who served.
    by: Served
    #: The gateway's own cache answered, so that nobody was paid.
    is_cached: bool
    now: Side
    then: Side
    now_decision: RouteDecision
    then_decision: RouteDecision
    #: Of whoever served, and of whoever would under the proposed routes, at that time.
    listed: Price | None
    then_listed: Price | None

    @property
    def unpriced(self) -> set[str]:
        return {side.unpriced for side in (self.now, self.then) if side.unpriced is not None}

    @property
    def stands(self) -> bool:
        """Whether the paid cost does, on both sides, whatever was used."""
        return bool(self.unpriced) or self.now.is_unclear or self.then.is_unclear

    @property
    def is_rerouted(self) -> bool:
        return self.now.served != self.then.served

    @property
    def is_sent_elsewhere(self) -> bool:
        """Whether both sides name another model, or provider, whoever answers."""
        return (self.now_decision.target_model, self.now_decision.provider) != (
            self.then_decision.target_model,
            self.then_decision.provider,
        )

    @property
    def copied_to(self) -> str | None:
        """The model that gets a copy under the proposed routes and none today."""
        model = self.then_decision.shadow_model
        return None if model == self.now_decision.shadow_model else model

    @property
    def retires(self) -> tuple[str, date] | None:
        """The model that the rows are sent to by the proposed routes, if it will be retired, and from which day on."""
        price = self.then_listed
        if price is None or price.retires_on is None or self.then_decision.target_model is None:
            return None
        return price.model, price.retires_on


class Costs(NamedTuple):
    """Of the rows of a block."""

    now: Nano
    then: Nano
    #: Whether a price is missing or above its ceiling, or nothing says how much was used, so that the paid cost stands on
    #: both sides.
    stands: NDArray[np.bool_]
    #: Of these, those that something was paid for, but not by tokens: pictures, audio.
    no_tokens: NDArray[np.bool_]
    #: By model the rows on which it would cost more than a route allows.
    over_ceiling: dict[str, NDArray[np.bool_]]

    def with_hits(self, now: NDArray[np.bool_], then: NDArray[np.bool_]) -> "Costs":
        """The same where caches answer these rows, which then cost nothing. Where the paid cost stands because another
        is not known, it stands also against a hit on one side alone."""
        neither = now & then
        alone = ~self.stands
        return self._replace(
            now=np.where(neither | (now & alone), 0, self.now), then=np.where(neither | (then & alone), 0, self.then)
        )


class Pricing:
    """Numbers the cases of rows, and prices them."""

    def __init__(self, prices: PriceTable, now: Sequence[RouteDecision], then: Sequence[RouteDecision]) -> None:
        """`now` and `then` are the decisions that numbers stand for; they may grow."""
        self.cases: list[Case] = []
        self._prices = prices
        self._now, self._then = now, then
        #: By column. Each has its own, so that there are fewer possible combinations.
        self._names = {name: Names() for name in ("provider", "model", "requested_model")}
        self._served = Combinations()
        #: Of (model, requested model, today's decision), and what that says of who decided.
        self._sent = Combinations()
        self._origins: list[int] = []
        self._combinations = Combinations()
        starts = {microseconds_of(price.since) for price in prices.prices if price.since is not None}
        self._eras = np.array(sorted(starts), np.int64)
        self._tables = _Tables()
        #: Models that several providers list at different prices.
        figures: dict[str, dict[str, set[Price]]] = {}
        for price in prices.prices:
            alike = replace(price, provider="", max_input_tokens=None, max_output_tokens=None, retires_on=None)
            figures.setdefault(price.model, {}).setdefault(price.provider, set()).add(alike)
        self._differing = {
            model for model, listed in figures.items() if len({frozenset(each) for each in listed.values()}) > 1
        }

    def origins(self, block: Block, now: Nano) -> Nano:
        """By row who decided who served it. `ROUTED` where the log says so, unless what decides today leaves the model
        alone; or where today's decision sends it to the very model that did, which is not the one asked for, so that it
        will have been so also where the log says nothing. `UNCLEAR` where it sends it to a third."""
        asked = [self._codes_of(block.coded(name), self._names[name]) for name in ("model", "requested_model")]
        numbers = self._sent.of([*asked, Codes(now, _room(len(self._now)))])
        for model, requested, decision in self._sent.met[len(self._origins) :]:
            served, name = self._names["model"].met[model], self._names["requested_model"].met[requested]
            self._origins.append(_origin(served, name, self._now[decision]))
        origins = np.array(self._origins, np.int64).take(numbers)
        leaves_alone = np.array([_leaves_the_model_alone(decision) for decision in self._now])
        origins[(block.numbers("routed") > 0) & ~leaves_alone.take(now)] = ROUTED
        return origins

    def cases_of(self, block: Block, now: Nano, then: Nano, origins: Nano) -> Nano:
        """By row the number of its case, under decisions by their numbers. `origins` as they are in truth, see there,
        whatever decisions are tried."""
        asked = [self._codes_of(block.coded(name), names) for name, names in self._names.items()]
        served = self._served.of([*asked, Codes(2 * origins + (block.numbers("cached") > 0), 6)])
        numbers = self._combinations.of(
            [
                Codes(served, _room(len(self._served.met))),
                Codes(now, _room(len(self._now))),
                Codes(then, _room(len(self._then))),
                Codes(self._eras_of(block), len(self._eras) + 1),
            ]
        )
        for combination in self._combinations.met[len(self.cases) :]:
            self.cases.append(self._case(*combination))
            self._tables.add(self.cases[-1])
        return numbers

    def _eras_of(self, block: Block) -> Nano:
        """By row how many times prices changed before it. Times rise within a block, and few blocks see a change."""
        ts: Nano = block.numbers("ts")
        first, last = np.searchsorted(self._eras, (ts[0], ts[-1]), side="right")
        if first == last:
            return np.broadcast_to(np.int64(first), block.rows)
        return np.searchsorted(self._eras, ts, side="right")

    def _codes_of(self, column: Coded, names: Names) -> Codes:
        texts = [names.number(text) for text in column.vocabulary.texts]
        return Codes(column.per_row(texts, names.number("")), _room(len(names.met)))

    def _case(self, served: int, now: int, then: int, era: int) -> Case:
        *codes, how = self._served.met[served]
        origin, is_cached = how // 2, how % 2 > 0
        provider, model, requested = (names.met[code] for names, code in zip(self._names.values(), codes, strict=True))
        # A time inside the era: between two starts, prices do not change.
        at = time_of(int(self._eras[era - 1]) if era else int(self._eras[0]) - 1 if len(self._eras) else 0)
        by = Served(provider, model)
        decisions = self._now[now], self._then[then]
        now_side, then_side = (
            self._side(by, requested, each, at, origin=origin, is_cached=is_cached) for each in decisions
        )
        listed, then_listed = (
            None if who is None else self._prices.price(who.provider, who.model, at) for who in (by, then_side.served)
        )
        return Case(by, is_cached, now_side, then_side, *decisions, listed, then_listed)

    def _side(
        self, by: Served, requested: str, decision: RouteDecision, at: datetime, *, origin: int, is_cached: bool
    ) -> Side:
        if decision.refusal is not None:
            return Side(None, NOTHING)
        if is_cached and not decision.disable_cache:
            return Side(by, PAID)  # it answers whoever would be asked
        served = Served(decision.provider or by.provider, decision.model_for(requested))
        # The name asked for may stand for a group of models of the gateway, and may have fallen back: what came of it is
        # what served a row that no route touched.
        is_asked = origin != ROUTED and served.model == requested
        is_other = is_asked and not is_called(requested, by.model)
        # Where nobody logged who served the row, no provider is known to be another one.
        if (is_asked or is_called(served.model, by.model)) and by.provider in ("", served.provider):
            if is_other and origin == UNCLEAR:
                return Side(by, PAID, is_unclear=True)
            if not is_cached:
                return Side(by, PAID, is_as_asked=is_other)
            served = by  # who is paid now
        price = self._prices.price(served.provider, served.model, at)
        if price is None:
            return Side(served, PAID, unpriced=served.model)
        guessed = None
        if price.provider not in (decision.provider, served.provider) and served.model in self._differing:
            guessed = price.provider
        ceiling = None
        if decision.max_cost_usd is not None:
            ceiling = int(Decimal(str(decision.max_cost_usd)).scaleb(9))
        return Side(served, PRICED, price, ceiling, guessed=guessed)

    def listed(self, block: Block, numbers: Nano) -> Nano:
        """By row what it would have cost by the price of whoever served it, -1 where there is none."""
        present = np.flatnonzero(np.bincount(numbers, minlength=len(self.cases)))
        costs = self._tables.priced_as(LISTED, block, numbers, present, slice(None))
        costs[self._tables.is_listed.array.take(numbers) == 0] = -1
        return costs

    def costs(self, block: Block, numbers: Nano) -> Costs:
        """By row its cost on either side, for the cases that have these numbers."""
        paid: Nano = block.numbers("cost_nano")
        present = np.flatnonzero(np.bincount(numbers, minlength=len(self.cases)))
        now = self._tables.costs(NOW, block, numbers, present, paid)
        then = self._tables.costs(THEN, block, numbers, present, paid)
        stands = self._tables.stands.array.take(numbers) > 0
        over: dict[str, NDArray[np.bool_]] = {}
        for side, costs in ((NOW, now), (THEN, then)):
            ceilings = self._tables.ceilings[side].array
            capped = [int(case) for case in present if ceilings[case] >= 0]
            if not capped:
                continue
            limits = ceilings.take(numbers)
            above = (limits >= 0) & (costs > limits)
            for case in capped:
                found = self.cases[case]
                served = (found.now, found.then)[side].served
                assert served is not None
                rows = above & (numbers == case)
                if rows.any():
                    over[served.model] = over.get(served.model, rows) | rows
            stands |= above
        no_tokens = self._tables.priced.array.take(numbers) > 0
        if no_tokens.any():
            no_tokens &= (block.numbers("input_tokens") | block.numbers("output_tokens")) == 0
            no_tokens &= paid > 0
            stands |= no_tokens
        if stands.any():
            now, then = np.where(stands, paid, now), np.where(stands, paid, then)
        return Costs(now, then, stands, no_tokens, over)


def is_called(model: str, reported: str) -> bool:
    """Whether what a provider reported is this model, perhaps with the date of its release."""
    return reported == model or (reported.startswith(model) and _DATED.fullmatch(reported, len(model)) is not None)


def _origin(served: str, requested: str, now: RouteDecision) -> int:
    if now.target_model is None or is_called(requested, served) or now.target_model == requested:
        return UNTOUCHED
    return ROUTED if is_called(now.target_model, served) else UNCLEAR


def _leaves_the_model_alone(decision: RouteDecision) -> bool:
    """Whether something was decided, but not who serves."""
    return decision.reason in DECIDED and decision.target_model is None and decision.refusal is None


def _room(size: int) -> int:
    """A size with room to grow, so that tables are not made anew for every new member."""
    return 1 << max(size - 1, 1).bit_length()


class _Growing:
    """An array that more is appended to."""

    def __init__(self) -> None:
        self._all: Nano = np.zeros(16, np.int64)
        self._size = 0

    def append(self, value: int) -> None:
        if self._size == len(self._all):
            self._all = np.append(self._all, np.zeros_like(self._all))
        self._all[self._size] = value
        self._size += 1

    @property
    def array(self) -> Nano:
        return self._all[: self._size]


class _Tables:
    """The cases as arrays. A price per million tokens is cut into whole nano-dollars a token and millionths, so that no
    product of tokens and price leaves 64 bits."""

    def __init__(self) -> None:
        self.how = (_Growing(), _Growing())
        self.ceilings = (_Growing(), _Growing())
        self.stands = _Growing()
        #: Whether either side is priced, and the paid cost need not stand.
        self.priced = _Growing()
        self.is_listed = _Growing()
        self._whole = [[_Growing() for _ in range(3)] for _ in (NOW, THEN, LISTED)]
        self._rest = [[_Growing() for _ in range(3)] for _ in (NOW, THEN, LISTED)]

    def add(self, case: Case) -> None:
        self.stands.append(case.stands)
        self.priced.append(PRICED in (case.now.how, case.then.how) and not case.stands)
        for number, side in enumerate((case.now, case.then)):
            self.how[number].append(side.how)
            self.ceilings[number].append(-1 if side.ceiling_nano is None else side.ceiling_nano)
        self.is_listed.append(case.listed is not None)
        for number, price in enumerate((case.now.price, case.then.price, case.listed)):
            figures = (0, 0, 0)
            if price is not None:
                cached = price.cached_input_nano_per_million
                figures = (
                    price.input_nano_per_million,
                    price.input_nano_per_million if cached is None else cached,
                    price.output_nano_per_million,
                )
            for whole, rest, figure in zip(self._whole[number], self._rest[number], figures, strict=True):
                whole.append(figure // PER)
                rest.append(figure % PER)

    def costs(self, side: int, block: Block, numbers: Nano, present: NDArray[np.intp], paid: Nano) -> Nano:
        """What one side costs, ceilings aside."""
        kinds = set(self.how[side].array[present].tolist())
        if kinds <= {PAID}:
            return paid
        if kinds <= {NOTHING}:
            return np.zeros_like(paid)
        how = self.how[side].array.take(numbers)
        if kinds == {PRICED}:
            return self.priced_as(side, block, numbers, present, slice(None))
        costs = np.where(how == PAID, paid, 0)
        rows = np.flatnonzero(how == PRICED)
        if len(rows):
            costs[rows] = self.priced_as(side, block, numbers[rows], present, rows)
        return costs

    def priced_as(
        self, side: int, block: Block, numbers: Nano, present: NDArray[np.intp], rows: slice | NDArray[np.intp]
    ) -> Nano:
        """`Price.cost_nano` of many rows: rounded once, half to even."""
        tokens = block.numbers("input_tokens")[rows]
        cached = np.minimum(block.numbers("cached_tokens")[rows], tokens)
        amounts = (tokens - cached, cached, block.numbers("output_tokens")[rows])
        costs = _products(amounts, [part.array.take(numbers) for part in self._whole[side]])
        rests = [part.array for part in self._rest[side]]
        if any(part[present].any() for part in rests):
            more, rest = np.divmod(_products(amounts, [part.take(numbers) for part in rests]), PER)
            costs += more
            costs += (2 * rest > PER) | ((2 * rest == PER) & (costs & 1 == 1))
        return costs


def _products(amounts: Sequence[Nano], figures: Sequence[Nano]) -> Nano:
    total = amounts[0] * figures[0]
    for amount, figure in zip(amounts[1:], figures[1:], strict=True):
        total += amount * figure
    return total
