"""Whether boxes cover a region: exact, by cutting the region to pieces, with every step counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from routes.engine.linting.boxes import Box, Key, Region, Test, fact_of
from routes.engine.linting.facts import Fact
from routes.engine.linting.steps import Doubt, OutOfSteps, Reason, Steps


@dataclass(frozen=True, slots=True)
class Cover:
    """Whether regions are covered: `is_covered` None is undecided, with the reason. Where it is True, `by` are routes, by
    index, that do it together; fewer may."""

    is_covered: bool | None
    by: frozenset[int] = frozenset()
    undecided: Reason | None = None


#: Regions, each with the boxes that may cover it: they require something only of facts that are known in it.
type Regions = Sequence[tuple[Region, Sequence[Box]]]


def cover(regions: Regions, steps: Steps, is_left: Callable[[Region], None]) -> Cover:
    """Whether all these regions are covered by their boxes.

    `is_left` is asked of a region that no box touches: it raises `Doubt` where it is not known whether there is a
    request in it. Raises `OutOfSteps`.
    """
    by: set[int] = set()
    undecided: Reason | None = None
    for each in regions:
        pieces = [each]
        while pieces:
            left = _narrowed(*pieces.pop(), by, steps)
            if left is None:
                continue
            piece, touching = left
            if touching:
                pieces += _cut(piece, touching, by, steps)
                continue
            try:
                is_left(piece)
            except OutOfSteps:
                raise
            except Doubt as doubt:
                # Another piece may still show a request for certain.
                undecided = undecided or doubt.reason
            else:
                return Cover(False)
    return Cover(True, frozenset(by)) if undecided is None else Cover(None, undecided=undecided)


def _narrowed(
    region: Region, boxes: Sequence[Box], by: set[int], steps: Steps
) -> tuple[Region, list[tuple[Box, list[Test]]]] | None:
    """The region without what can be taken away in one piece, and the boxes that still touch it, with the tests that
    hold only in a part; None where a box covers it."""
    left = dict(region)
    waiting: Sequence[Box] = boxes
    while True:
        touching: list[tuple[Box, list[Test]]] = []
        has_changed = False
        for box in waiting:
            steps.spend(1 + len(box.tests) // 8)
            open_tests = _open_tests(left, box, steps)
            if open_tests is None:
                continue
            if not open_tests:
                by.add(box.index)
                return None
            if len(open_tests) == 1:
                key, _, opposite = open_tests[0]
                rest = fact_of(left, key).met(opposite, steps)
                assert rest is not None
                left[key] = rest
                by.add(box.index)
                has_changed = True
            else:
                touching.append((box, open_tests))
        if not has_changed and touching:
            # Where the region is uncovered at all, it is so here, too: these boxes take nothing of these values.
            untouched = _untouched(left, touching, steps)
            left.update(untouched)
            has_changed = bool(untouched)
        if not has_changed:
            return left, touching
        waiting = [box for box, _ in touching]


def _open_tests(region: Region, box: Box, steps: Steps) -> list[Test] | None:
    """The box's tests that hold in a part of the region only; None where one holds nowhere in it."""
    open_tests = []
    for test in box.tests:
        fact = fact_of(region, test.key)
        if fact.met(test.literal, steps) is None:
            return None
        if fact.met(test.opposite, steps) is not None:
            open_tests.append(test)
    return open_tests


def _untouched(region: Region, touching: Sequence[tuple[Box, list[Test]]], steps: Steps) -> dict[Key, Fact]:
    """One fact with the values of which no box takes any, if there is such a fact."""
    by_key: dict[Key, list[Test]] = {}
    for _, tests in touching:
        for test in tests:
            by_key.setdefault(test.key, []).append(test)
    for key, tests in by_key.items():
        fact: Fact | None = fact_of(region, key)
        steps.spend(1 + len(tests) // 4)
        for test in tests:
            fact = fact.met(test.opposite, steps) if fact is not None else None
        if fact is not None and _has_example(fact, steps):
            return {key: fact}
    return {}


def _has_example(fact: Fact, steps: Steps) -> bool:
    try:
        fact.example(steps)
    except OutOfSteps:
        raise
    except Doubt:
        return False
    return True


def _cut(
    region: Region, touching: Sequence[tuple[Box, list[Test]]], by: set[int], steps: Steps
) -> list[tuple[Region, Sequence[Box]]]:
    """The region without the box of which the fewest tests are open, in pieces that do not overlap."""
    chosen, tests = min(touching, key=lambda each: len(each[1]))
    by.add(chosen.index)
    others = [box for box, _ in touching if box is not chosen]
    pieces: list[tuple[Region, Sequence[Box]]] = []
    inside: dict[Key, Fact] = dict(region)
    for key, literal, opposite in tests:
        fact = fact_of(inside, key)
        outside, within = fact.met(opposite, steps), fact.met(literal, steps)
        if outside is not None:
            pieces.append(({**inside, key: outside}, others))
        if within is None:
            break
        inside[key] = within
    return pieces


def fewest(regions: Regions, by: frozenset[int], steps: Steps) -> frozenset[int]:
    """Of routes that together cover the regions, as few as can be told with these steps: the first one that does it
    alone, whether it is among them or not, else those of them of which none can be spared."""
    try:
        for index in sorted(frozenset.intersection(*(frozenset(box.index for box in boxes) for _, boxes in regions))):
            if all(
                _covers_alone([box for box in boxes if box.index == index], region, steps) for region, boxes in regions
            ):
                return frozenset((index,))
        # The last ones are spared first: what is asked first takes the requests.
        for index in sorted(by, reverse=True):
            fewer = by - {index}
            some = [(region, [box for box in boxes if box.index in fewer]) for region, boxes in regions]
            if cover(some, steps, _nothing).is_covered:
                by = fewer
    except OutOfSteps:
        pass
    return by


def _covers_alone(boxes: list[Box], region: Region, steps: Steps) -> bool:
    if len(boxes) > 1:
        return cover([(region, boxes)], steps, _nothing).is_covered is True
    steps.spend(1 + sum(len(box.tests) for box in boxes) // 8)
    return all(fact_of(region, test.key).met(test.opposite, steps) is None for box in boxes for test in box.tests)


def _nothing(region: Region) -> None:
    """Whatever is left counts, also where nothing may be in it."""
