"""What one fact of a request may still be, after some literals were required of it.

Each class is such a set of values. `met(literal, steps)` is the set in which the literal holds as well, None once that
is certainly empty. `example(steps)` is a value of the set, and raises `Doubt` where it is not known whether there is
one. The unknown is in none of them: only facts of which something is required are looked at, and what is unknown
satisfies neither a literal nor its opposite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor, inf, nextafter
from typing import Any, Protocol, Self

from routes.engine.compiled.rows import Literal
from routes.engine.linting.globs import common, cost, filled, lies_inside, unused_character
from routes.engine.linting.steps import Doubt, Steps
from routes.engine.meaning import pattern_matches
from routes.engine.money import nano_usd, usd_number


class Fact(Protocol):
    """A set of values of one fact."""

    def met(self, literal: Literal, steps: Steps) -> Self | None: ...

    def example(self, steps: Steps) -> Any: ...


@dataclass(frozen=True, slots=True)
class Texts:
    """Of a tag, or of a key of the metadata: one of `allowed`; where that is None, any text but `denied`, or absent."""

    allowed: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()

    def met(self, literal: Literal, steps: Steps) -> Texts | None:
        values: frozenset[str] = literal.value
        steps.spend(len(values) // 64)
        if self.allowed is not None:
            allowed = self.allowed & values if literal.want else self.allowed - values
        elif literal.want:
            allowed = values - self.denied
        else:
            return self if values <= self.denied else Texts(None, self.denied | values)
        if allowed == self.allowed:
            return self
        return Texts(allowed) if allowed else None

    def example(self, steps: Steps) -> str | None:
        """The first by the alphabet, or None for absent."""
        return None if self.allowed is None else min(self.allowed)


@dataclass(frozen=True, slots=True)
class Models:
    """Of the model: one of `allowed`; where that is None, any text that one of `globs` matches, and none of `against`,
    and that is not in `denied`.

    `open` are pattern lists, of each of which one must match as well, and which were too many to be worked in: with
    them it is open whether there is such a text.
    """

    allowed: frozenset[str] | None = None
    globs: tuple[str, ...] = ("*",)
    against: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    open: tuple[tuple[str, ...], ...] = ()

    def met(self, literal: Literal, steps: Steps) -> Models | None:
        if literal.kind == "pattern":
            return self._matching(literal.value, literal.want, steps)
        values: frozenset[str] = literal.value
        steps.spend(len(values) // 64)
        if self.allowed is not None:
            allowed = self.allowed & values if literal.want else self.allowed - values
            if len(allowed) == len(self.allowed):
                return self
        elif literal.want:
            allowed = frozenset(filter(self._fits, values))
        else:
            return self if values <= self.denied else self._without(values)
        return Models(allowed) if allowed else None

    def _matching(self, patterns: tuple[str, ...], want: bool, steps: Steps) -> Models | None:
        steps.spend(len(patterns) // 16)
        if self.allowed is not None:
            allowed = frozenset(model for model in self.allowed if _matches_any(patterns, model) is want)
            if len(allowed) == len(self.allowed):
                return self
            return Models(allowed) if allowed else None
        if want:
            steps.spend(sum(cost(glob, pattern) for glob in self.globs for pattern in patterns) // 256)
            return _matching_one(self, patterns)
        if self.against.issuperset(patterns):
            return self
        left = tuple(glob for glob in self.globs if not _lies_inside_any(glob, patterns))
        return replace(self, globs=left, against=self.against.union(patterns)) if left else None

    def _without(self, values: frozenset[str]) -> Models | None:
        # What a star matches is without end: it cannot be denied one by one. What is left of a glob without is itself.
        left = tuple(glob for glob in self.globs if glob not in values or "*" in glob)
        return replace(self, globs=left, denied=self.denied | values) if left else None

    def _fits(self, model: str) -> bool:
        return (
            model not in self.denied
            and _matches_any(self.globs, model)
            and not _matches_any(self.against, model)
            and all(_matches_any(patterns, model) for patterns in self.open)
        )

    def example(self, steps: Steps) -> str:
        if self.allowed is not None:
            return min(self.allowed)
        letter = unused_character((*self.globs, *self.against, *self.denied))
        for glob in self.globs:
            # Short texts first, for people; the letter that no pattern knows is certain, but for the open ones.
            for text in ("", "1", "other", letter):
                if (model := filled(glob, text)) and self._fits(model):
                    return model
        raise Doubt("pattern")


#: So many globs describe one set of models; beyond, the patterns stay open.
MAX_GLOBS = 256


@lru_cache(maxsize=4096)
def _matching_one(models: Models, patterns: tuple[str, ...]) -> Models | None:
    """The models that one of the patterns matches. A few families are compared again and again."""
    found: set[str] = set()
    for glob in models.globs:
        for pattern in patterns:
            both = common(glob, pattern)
            if both is None or len(found) > MAX_GLOBS:
                return models if patterns in models.open else replace(models, open=(*models.open, patterns))
            found.update(both)
    globs = (glob for glob in sorted(found) if "*" in glob or glob not in models.denied)
    left = tuple(glob for glob in globs if not _lies_inside_any(glob, models.against))
    return replace(models, globs=left) if left else None


def _matches_any(patterns: Iterable[str], model: str) -> bool:
    return any(pattern_matches(pattern, model) for pattern in patterns)


def _lies_inside_any(glob: str, patterns: Iterable[str]) -> bool:
    return any(lies_inside(glob, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Flag:
    """True, false, or (None) either."""

    value: bool | None = None

    def met(self, literal: Literal, steps: Steps) -> Flag | None:
        if self.value is None:
            return Flag(literal.value)
        return self if self.value is literal.value else None

    def example(self, steps: Steps) -> bool:
        return bool(self.value)


# --- Numbers --------------------------------------------------------------------------------------------------------

type Number = int | float


def following(value: Number) -> Number:
    """The smallest number above this one of those that a fact can be: integers, and floats that are finite."""
    whole = floor(value) + 1
    try:
        near = float(value)
    except OverflowError:
        return whole
    if near <= value:
        near = nextafter(near, inf)
    return near if near < whole else whole


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers from `low` (inside) to `high` (not); None does not bound. Literals compare with `>=` and `<` alone."""

    low: Number | None = None
    high: Number | None = None

    def met(self, literal: Literal, steps: Steps) -> Self | None:
        comparison, bound = literal.value
        low, high = self.low, self.high
        if comparison == ">=":
            if low is not None and bound <= low:
                return self
            if high is not None and bound >= high:
                return None
            return type(self)(bound, high)
        if high is not None and bound >= high:
            return self
        if low is not None and bound <= low:
            return None
        return type(self)(low, bound)

    def example(self, steps: Steps) -> Number:
        """A round one, near what bounds it."""
        if self.low is None:
            return 0 if self.high is None or self.high > 0 else _last_below(self.high)
        for digits in range(18):  # numbers too large to be a float are integers, and found without digits
            scaled: int = ceil(self.low * 10**digits)
            value: Number = scaled if digits == 0 else scaled / 10**digits
            if self.low <= value and (self.high is None or value < self.high):
                return value
        return self.low


@dataclass(frozen=True, slots=True)
class Whole(Line):
    """Of integers: tokens."""

    def example(self, steps: Steps) -> Number:
        if self.low is not None:
            return self.low
        return 0 if self.high is None else self.high - 1


@dataclass(frozen=True, slots=True)
class NanoUsd(Line):
    """Of integers: an amount in nano-dollars."""

    def example(self, steps: Steps) -> Number:
        """In whole dollars, else in as few decimals as it can be. Beyond millions of dollars, which only conditions
        built in code have, no JSON number may be fine enough."""
        amount = self._roundest()
        if nano_usd(usd_number(amount)) != amount:
            raise Doubt("budget")
        return amount

    def _roundest(self) -> int:
        if self.low is None:
            return 0 if self.high is None or self.high > 0 else _last_below(self.high)
        for digits in range(9, 0, -1):
            amount = -(-int(self.low) // int(10**digits)) * int(10**digits)
            if self.high is None or amount < self.high:
                return amount
        return int(self.low)


def _last_below(bound: Number) -> int:
    return ceil(bound) - 1


# --- Headers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Headers:
    """Of one header, which may have several values at once: one of each of `some`, and none of `denied`."""

    some: tuple[frozenset[str], ...] = ()
    denied: frozenset[str] = frozenset()

    def met(self, literal: Literal, steps: Steps) -> Headers | None:
        if literal.name != literal.name.lower():
            # Only conditions that were built in code have such a name. A context has none: the header is never sent.
            return None if literal.want else self
        values: frozenset[str] = literal.value
        if literal.want:
            if any(each <= values for each in self.some):
                return self
            values -= self.denied
            return Headers((*self.some, values), self.denied) if values else None
        if values <= self.denied:
            return self
        some = tuple(each - values for each in self.some)
        return Headers(some, self.denied | values) if all(some) else None

    def example(self, steps: Steps) -> list[str]:
        values: list[str] = []
        for each in self.some:
            if each.isdisjoint(values):
                values.append(min(each))
        return values
