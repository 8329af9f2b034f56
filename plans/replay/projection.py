"""The second pass: what each row costs, and how long it takes, under both sets of routes, added up."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block
from plans.replay.deciding.decisions import Decider
from plans.replay.deciding.facts import ESTIMATE, TOKENS, first_known
from plans.replay.evidence import Evidence
from plans.replay.latencies import NO_HISTORY, Histories
from plans.replay.pricing import Case, Costs, Pricing, Side
from plans.replay.question import Question
from plans.replay.series import Spans
from plans.replay.sums.exact import total, totals_by
from plans.replay.sums.partial import Partial
from plans.replay.sure import BINS, latency_bin
from plans.replay.survey import WHY, Survey

#: So many rows of each block are decided by the engines themselves as well.
_ASKED_ALWAYS = 2
_DAY = 86_400_000_000
#: Rows whose bill is compared with the price: all of the first, then one in so many.
_SAMPLED_WHOLE, _SAMPLED = 4_096, 64
#: A bill is off by more than a tenth of the price and a millionth of a dollar.
_OFF, _OFF_NANO = 10, 1_000
#: Instead of a history: the row's own latency stays; nobody answers.
_OWN, _NOBODY = -2, -3
type Ints = NDArray[np.int64]


class Projection:
    """Adds blocks, in any order, to a `Partial`."""

    def __init__(self, question: Question, survey: Survey, begun: Partial | None = None) -> None:
        """`begun`: sums to add to."""
        self._question = question
        self._survey = survey
        self._decider = Decider(question.current, question.proposed)
        self._pricing = Pricing(question.prices, self._decider.current.decisions, self._decider.proposed.decisions)
        self._evidence = Evidence(self._decider, self._pricing)
        self._histories = Histories(survey.latencies)
        #: By case: the history of whoever served, and those of whoever would on either side.
        self._own, self._now, self._then = (np.zeros(0, np.int64) for _ in range(3))
        #: A second thread, for what is neither awaited nor done by the interpreter: hashing.
        self._aside = ThreadPoolExecutor(1)
        self._partial = Partial(len(self._decider.proposed.routes) + 1) if begun is None else begun
        #: Rows by case that are not in the counts yet: there are many cases, and what they count as is found case by case.
        self._by_case = np.zeros(0, np.int64)
        #: The same of a sample: by case rows, those that are off, and the lower and upper 32 bits of what was paid and of
        #: what the price says.
        self._bills = np.zeros((6, 0), np.int64)
        #: By case the lower 32 bits and the rest of what was paid, and of by how much it costs less under today's routes
        #: than was paid, and under the proposed ones than under today's.
        self._spent = np.zeros((6, 0), np.int64)
        self._spans = Spans.of(question.window, survey)

    @property
    def partial(self) -> Partial:
        """The sums of all blocks so far."""
        for number in np.flatnonzero(self._by_case):
            case, rows = self._pricing.cases[number], int(self._by_case[number])
            self._count_case(case, rows)
            self._count_models(case, rows, self._spent[:, number].tolist())
        counts = self._partial.counts
        for number in np.flatnonzero(self._bills[0]):
            model = self._pricing.cases[number].by.model
            compared, off, *bits = self._bills[:, number].tolist()
            counts.compared[model] += compared
            counts.off[model] += off
            counts.billed[model] += bits[0] + (bits[1] << 32)
            counts.listed[model] += bits[2] + (bits[3] << 32)
        for sums in (self._by_case, self._bills, self._spent):
            sums[...] = 0
        return self._partial

    def add(self, block: Block) -> None:
        """Project the rows of one more block. Raises `LogChanged` where it is not the one that was surveyed."""
        self._survey.must_have(block)
        first = block.first
        partial, counts = self._partial, self._partial.counts
        digests = self._aside.submit(self._digests, block)
        counts.rows += block.rows
        why = self._survey.why_left_out(block)
        hits = self._survey.hits_of(block) if self._question.has_caches else None
        if why.any():
            for number, rows in enumerate(np.bincount(why, minlength=len(WHY)).tolist()):
                if number and rows:
                    counts.excluded[WHY[number]] += rows
            counted = np.flatnonzero(why == 0)
            block = block.taken(counted)
            hits = None if hits is None else (hits[0][counted], hits[1][counted])
        if block.rows:
            self._add(block, hits)
        for column, digest in digests.result().items():
            partial.digests[column][first] = digest

    def _digests(self, block: Block) -> dict[str, bytes]:
        return {column: block.digest(column) for column in self._question.columns}

    def _add(self, block: Block, hits: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None) -> None:
        partial, counts = self._partial, self._partial.counts
        decided = self._decider(block)
        known = len(self._pricing.cases)
        origins = self._pricing.origins(block, decided.now)
        numbers = self._pricing.cases_of(block, decided.now, decided.then, origins)
        self._decider.ask_the_engines(block, decided, _examples(numbers, known))
        costs = self._pricing.costs(block, numbers)
        if hits is not None:
            without = costs
            costs = without.with_hits(*hits)
            counts.cache_hits += int(np.count_nonzero(hits[1]))
            counts.current_hits += total(without.now) - total(costs.now)
        saved = costs.now - costs.then
        counts.sample_size += block.rows
        counts.paid += total(block.numbers("cost_nano"))
        self._add_over_time(block, costs)
        counts.repriced += int(np.count_nonzero(saved))
        if costs.over_ceiling:
            counts.too_dear += int(np.count_nonzero(np.logical_or.reduce(list(costs.over_ceiling.values()))))
        counts.no_tokens += int(np.count_nonzero(costs.no_tokens))
        counts.kept += int(np.count_nonzero(costs.stands))
        for model, rows in costs.over_ceiling.items():
            counts.over_ceiling[model] += int(np.count_nonzero(rows))
        by_case = np.bincount(numbers, minlength=len(self._pricing.cases))
        by_case[: len(self._by_case)] += self._by_case
        self._by_case = by_case
        self._add_spent(block, numbers, costs, saved)
        self._compare_bills(block, numbers)
        self._count_columns(block)
        self._evidence.add(block, decided, costs, counts, hits)
        baseline = first_known(block, ("baseline_cost_nano", "cost_nano"))
        counts.baseline += total(baseline)
        partial.baselines.add(decided.proposed.won, baseline)
        units = [(partial.clusters, partial.clusters.of_clusters(block))]
        partial.forget_days()
        if partial.days is not None:
            units.append((partial.days, partial.days.of_days(block.numbers("ts") // _DAY)))
        timed, bins = self._latencies(block, numbers)
        for sums, places in units:
            sums.add(decided.proposed.won, places, costs.now, costs.then, None if hits is None else hits[1])
            sums.add_latencies(places if len(timed) == len(places) else places.take(timed), bins)

    def _add_over_time(self, block: Block, costs: Costs) -> None:
        counts = self._partial.counts
        for number, first, end in self._spans.parts(block):
            rows = slice(first, end)
            current, projected = total(costs.now[rows]), total(costs.then[rows])
            counts.current += current
            counts.projected += projected
            counts.rows_at[number] += end - first
            counts.current_at[number] += current
            counts.projected_at[number] += projected

    def _add_spent(self, block: Block, numbers: Ints, costs: Costs, saved: Ints) -> None:
        """Few rows cost other than was paid, so only these are added up again."""
        cases, paid = len(self._pricing.cases), block.numbers("cost_nano")
        self._spent = np.pad(self._spent, ((0, 0), (0, cases - self._spent.shape[1])))
        self._spent[:2] += totals_by(numbers, paid, cases)
        for place, less in ((2, None if costs.now is paid else paid - costs.now), (4, saved)):
            rows = np.flatnonzero(less) if less is not None else ()
            if less is not None and len(rows):
                self._spent[place : place + 2] += totals_by(numbers.take(rows), less.take(rows), cases)

    def _compare_bills(self, block: Block, numbers: Ints) -> None:
        """Of some rows, what was paid and what the price says, where tokens were paid for."""
        ordinals = block.ordinals
        some = np.flatnonzero((ordinals < _SAMPLED_WHOLE) | (ordinals % _SAMPLED == 0))
        part, numbers = block.taken(some), numbers.take(some)
        paid, listed = part.numbers("cost_nano"), self._pricing.listed(part, numbers)
        tokens = part.numbers("input_tokens") | part.numbers("output_tokens")
        compared = np.flatnonzero((listed >= 0) & (tokens > 0) & (part.numbers("cached") == 0))
        numbers, paid, listed = numbers[compared], paid[compared], listed[compared]
        off = np.abs(paid - listed) > np.maximum(listed // _OFF, _OFF_NANO)
        self._bills = np.pad(self._bills, ((0, 0), (0, len(self._pricing.cases) - self._bills.shape[1])))
        low = np.int64(2**32 - 1)
        for sums, values in zip(
            self._bills, (np.ones_like(paid), off, paid & low, paid >> 32, listed & low, listed >> 32), strict=True
        ):
            np.add.at(sums, numbers, values)

    def _count_case(self, case: Case, rows: int) -> None:
        counts = self._partial.counts
        counts.rerouted += rows * case.is_rerouted
        counts.refused_now += rows * (case.now.served is None)
        counts.refused_then += rows * (case.then.served is None)
        counts.unpriceable += rows * case.stands
        counts.no_price += rows * bool(case.unpriced)
        counts.unclear += rows * (case.now.is_unclear or case.then.is_unclear)
        counts.as_asked += rows * (case.now.is_as_asked or case.then.is_as_asked)
        if case.is_cached:
            counts.cached_rerouted += rows * case.is_sent_elsewhere
            counts.cache_disabled += rows * (case.then_decision.disable_cache and not case.now_decision.disable_cache)
        for model in case.unpriced:
            counts.unknown_prices[model] += rows
        for model in {side.served.model for side in (case.now, case.then) if side.served and side.guessed}:
            counts.guessed[model] += rows
        if case.copied_to is not None:
            counts.copied[case.copied_to] += rows
        if case.retires is not None:
            counts.retiring["{} {}".format(*case.retires)] += rows

    def _count_models(self, case: Case, rows: int, spent: list[int]) -> None:
        counts = self._partial.counts
        paid, less, saved = (low + (high << 32) for low, high in zip(spent[::2], spent[1::2], strict=True))
        for served, cost, by_rows, by_cost in (
            (case.by, paid, counts.served, counts.served_paid),
            (case.now.served, paid - less, counts.served_now, counts.current_by_model),
            (case.then.served, paid - less - saved, counts.served_then, counts.projected_by_model),
        ):
            if served is not None:
                by_rows[served.model] += rows
                by_cost[served.model] += cost

    def _count_columns(self, block: Block) -> None:
        counts = self._partial.counts
        counts.no_baseline += int(np.count_nonzero(block.numbers("baseline_cost_nano") < 0))
        tokens = block.numbers(TOKENS[0]) < 0
        estimate = (block.numbers(ESTIMATE[0]) < 0) & (block.numbers(ESTIMATE[1]) >= 0)
        for name, from_bill in (("input_tokens", tokens), ("estimated_cost_usd", estimate)):
            if rows := int(np.count_nonzero(from_bill)):
                counts.from_bill[name] += rows
        counts.facts_from_bill += int(np.count_nonzero(tokens | estimate))
        if self._question.l1_ttl_seconds is not None:
            counts.no_digest += int(np.count_nonzero(block.texts("request_digest").lengths == 0))
        column = block.coded("synthetic")
        by_text = np.bincount(column.codes[column.codes >= 0])
        for text, rows in zip(column.vocabulary.texts, by_text.tolist(), strict=False):
            if rows:
                counts.synthetic.update(dict.fromkeys(json.loads(text), rows))
        for name, fact in self._decider.facts.items():
            if rows := int(np.count_nonzero(fact.unknown(block))):
                counts.unknown[name] += rows

    # --- Latencies ----------------------------------------------------------------------------------------------------

    def _latencies(self, block: Block, numbers: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows that take time under the proposed routes and whose time is known, and their bins."""
        self._place_cases()
        latencies = block.numbers("latency_ms")
        is_known = latencies >= 0
        self._partial.counts.no_latency += block.rows - int(np.count_nonzero(is_known))
        lacking = np.flatnonzero((self._then == NO_HISTORY) | (self._now == NO_HISTORY))
        if len(lacking):
            asked = is_known & (block.numbers("cached") == 0)
            by_case = np.bincount(numbers[asked], minlength=len(self._then))
            for number in lacking[by_case[lacking] > 0].tolist():
                self._partial.counts.own_latency += int(by_case[number])
                for model in self._without_history(number):
                    self._partial.counts.no_history[model] += int(by_case[number])
        bins = latency_bin(np.maximum(latencies, 0)).astype(np.intp)
        _, moved = self._moved(self._now, block, numbers, is_known, bins)
        self._partial.current_latencies += np.bincount(moved, minlength=BINS)
        return self._moved(self._then, block, numbers, is_known, bins)

    def _without_history(self, number: int) -> set[str]:
        case = self._pricing.cases[number]
        sides = (case.now, self._now[number]), (case.then, self._then[number])
        return {side.served.model for side, place in sides if place == NO_HISTORY and side.served is not None}

    def _place_cases(self) -> None:
        """Where the latencies of new cases are looked up."""
        for case in self._pricing.cases[len(self._own) :]:
            own = self._histories.own(*case.by)
            self._own = np.append(self._own, own)
            self._now = np.append(self._now, self._place(case.now, own))
            self._then = np.append(self._then, self._place(case.then, own))

    def _place(self, side: Side, own: int) -> int:
        if side.served is None:
            return _NOBODY
        if side.keeps or own == NO_HISTORY:
            return _OWN
        return self._histories.place(*side.served)

    def _moved(
        self, places: Ints, block: Block, numbers: Ints, is_known: NDArray[np.bool_], bins: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows that somebody answers in a known time, and their bins there."""
        if (places == _OWN).all():
            timed = np.flatnonzero(is_known)
            return timed, bins if len(timed) == len(bins) else bins[timed]
        place = places.take(numbers)
        others = np.flatnonzero((place >= 0) & is_known & (block.numbers("cached") == 0))
        if len(others):
            bins = bins.copy()
            own = self._own.take(numbers.take(others))
            ordinals = block.ordinals.take(others).astype(np.uint64)
            bins[others] = self._histories.moved(bins.take(others), own, place.take(others), ordinals)
        timed = np.flatnonzero(is_known & (place != _NOBODY))
        return timed, bins if len(timed) == len(bins) else bins.take(timed)


def _examples(numbers: Ints, known: int) -> list[int]:
    """Rows to ask the engines about: the first of every case that is new, and a few of each block."""
    rows = set(np.linspace(0, len(numbers) - 1, _ASKED_ALWAYS, dtype=np.intp).tolist())
    new = np.flatnonzero(numbers >= known)
    if len(new):
        rows.update(new[np.unique(numbers[new], return_index=True)[1]].tolist())
    return sorted(rows)
