"""Each route against those that are asked before it: never matched, never reached, tied."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import Any

from routes.engine.compiled.rows import rows_of
from routes.engine.linting import findings
from routes.engine.linting.boxes import (
    Box,
    Key,
    Region,
    boxes_of,
    context_with_unknowns,
    fact_of,
    met_all,
    takes,
    tests_of,
    witness_in,
)
from routes.engine.linting.cover import Cover, cover, fewest
from routes.engine.linting.findings import MAX_NAMED, Finding
from routes.engine.linting.index import Index
from routes.engine.linting.steps import Doubt, OutOfSteps, Reason, Steps
from routes.engine.values import Route

STEPS_PER_ROUTE = 20_000
#: Of all routes together, so that whoever waits for the findings waits for seconds; a thousand ordinary routes take about
#: 40,000. Once they are spent each route has a few left, enough for most.
STEPS_IN_ALL, STEPS_AFTER = 1_000_000, 100


def each_with_overlaps(routes: Sequence[Route], about: Collection[str] | None) -> Iterator[tuple[Route, Overlaps]]:
    """Each route of these ids, None for all, with what was found of it; given are the enabled routes in the order in which
    they are asked."""
    return _Asked(routes).each(about)


@dataclass(slots=True)
class Overlaps:
    """What was found of one route. `boxes` hold every request that it takes; none: it never matches."""

    boxes: list[Box]
    steps: Steps
    findings: list[Finding] = field(default_factory=list)


class _Asked:
    """Enabled routes in the order in which they are asked, looked at one after the other."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._index = Index()
        #: The bits of the boxes of higher priority than the present route.
        self._higher = 0
        #: Earlier routes of too many alternatives: they are not known to cover anything.
        self._inexact: list[Route] = []

    def each(self, about: Collection[str] | None) -> Iterator[tuple[Route, Overlaps]]:
        left = None if about is None else sum(route.id in about for route in self._routes)
        in_all = STEPS_IN_ALL
        for position, route in enumerate(self._routes):
            if left == 0:
                return
            if position and self._routes[position - 1].priority != route.priority:
                self._higher = self._index.all()
            given = max(min(STEPS_PER_ROUTE, in_all), STEPS_AFTER)
            steps = Steps(given)
            try:
                boxes = boxes_of(route, position, steps)
            except OutOfSteps:  # by patterns alone; then it may take anything
                boxes = [Box(position, (), {}, frozenset(), is_exact=False)]
            if about is None or route.id in about:
                yield route, self._overlaps(route, boxes, steps)
                left = None if left is None else left - 1
            if not _are_exact(boxes):
                self._inexact.append(route)
            for box in boxes:
                self._index.add(box)
            in_all -= given - steps.left

    def _overlaps(self, route: Route, boxes: list[Box], steps: Steps) -> Overlaps:
        overlaps = Overlaps(boxes, steps)
        if boxes:
            overlaps.findings += self._of_reach(route, boxes, steps)
            overlaps.findings += self._of_ties(route, boxes, steps)
        else:
            overlaps.findings.append(findings.never_matches(route, _contradicted(route)))
        return overlaps

    # --- Never reached ----------------------------------------------------------------------------------------------

    def _of_reach(self, route: Route, boxes: list[Box], steps: Steps) -> list[Finding]:
        inexact = [] if _are_exact(boxes) else [route]
        witness, doubt = None, None
        for box in boxes:
            try:
                witness = _witness(box.region, inexact, [], steps)
                break
            except Doubt as why:
                doubt = doubt or why.reason
        try:
            covered = self._cover(boxes, inexact, steps)
        except OutOfSteps:
            covered = Cover(None, undecided="budget")
        if covered.is_covered:
            by = [self._routes[index] for index in sorted(covered.by)]
            return [findings.shadowed(route, by, witness)]
        if witness is None and doubt is not None:
            return [findings.never_matches_undecided(route, doubt)]
        return [] if covered.undecided is None else [findings.shadowed_undecided(route, covered.undecided)]

    def _cover(self, boxes: list[Box], inexact: list[Route], steps: Steps) -> Cover:
        """Whether earlier routes cover these boxes; if so, by as few as can be told. Raises `OutOfSteps`."""
        regions = []
        for box in boxes:
            near = self._index.near(box.region, self._index.knowing_no_more(box.known))
            regions.append((box.region, [other for other in near if other.is_exact]))

        def is_left(region: Region) -> None:
            _witness(region, inexact, self._inexact, steps)

        covered = cover(regions, steps, is_left)
        return Cover(True, fewest(regions, covered.by, steps)) if covered.is_covered else covered

    # --- Ties -------------------------------------------------------------------------------------------------------

    def _of_ties(self, route: Route, boxes: list[Box], steps: Steps) -> list[Finding]:
        tied: list[Route] = []
        open_: list[Route] = []
        witness: dict[str, Any] | None = None
        reason: Reason | None = None
        try:
            for index, pairs in groupby(self._near_of_same_priority(boxes), key=lambda pair: pair[0]):
                doubt: Reason | None = None
                for _, box, other in pairs:
                    steps.spend(1 + (len(box.tests) + len(other.region)) // 8)
                    both = met_all(other.region, box.tests, steps)
                    if both is None:
                        continue
                    inexact = [self._routes[each.index] for each in (other,) if not each.is_exact]
                    inexact += [] if box.is_exact else [route]
                    try:
                        found = _witness(both, inexact, [], steps)
                    except OutOfSteps:
                        raise
                    except Doubt as why:
                        doubt = doubt or why.reason
                        continue
                    witness = found if witness is None else witness
                    tied.append(self._routes[index])
                    break
                else:
                    if doubt is not None:
                        open_.append(self._routes[index])
                        reason = reason or doubt
                if len(tied) > MAX_NAMED:
                    break
        except OutOfSteps:
            open_, reason = [], "budget"
        result = []
        if tied:
            result.append(findings.tie(route, tied[:MAX_NAMED], len(tied) > MAX_NAMED, witness))
        if reason is not None:
            result.append(findings.tie_undecided(route, open_[:MAX_NAMED], len(open_) > MAX_NAMED, reason))
        return result

    def _near_of_same_priority(self, boxes: list[Box]) -> Iterator[tuple[int, Box, Box]]:
        """(index of an earlier route, a box of ours, one of its boxes that may overlap it), by that index."""
        among = self._index.all() & ~self._higher
        return merge(*(self._near(box, among) for box in boxes), key=lambda pair: pair[0])

    def _near(self, box: Box, among: int) -> Iterator[tuple[int, Box, Box]]:
        for other in self._index.near(box.region, among):
            yield other.index, box, other


def _are_exact(boxes: Sequence[Box]) -> bool:
    return all(box.is_exact for box in boxes)


def _witness(region: Region, by: Sequence[Route], not_by: Sequence[Route], steps: Steps) -> dict[str, Any]:
    """A request of the region that is taken by all of `by`, and with all else unknown by none of `not_by`: routes that
    are no boxes. Raises `Doubt`."""
    witness = witness_in(region, steps)
    if by or not_by:
        steps.spend(16 * (len(by) + len(not_by)))
        try:
            context = context_with_unknowns(region, witness)
            is_so = all(takes(route, context) for route in by) and not any(takes(route, context) for route in not_by)
        except (ImportError, LookupError, ValueError):  # of patterns and zones that cannot be asked here
            is_so = False
        if not is_so:
            raise Doubt("budget")
    return witness


def _contradicted(route: Route) -> Key | None:
    """The fact on which the only alternative of a route contradicts itself."""
    steps = Steps(STEPS_PER_ROUTE)
    rows = rows_of(route)
    if len(rows) != 1:
        return None
    region: Region = {}
    *others, last = tests_of(rows[0])
    for test in others:
        fact = fact_of(region, test.key).met(test.literal, steps)
        if fact is None:
            return test.key
        region = {**region, test.key: fact}
    return last.key
