"""`Conditions`: what a request must be like for a route to take it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

from routes.engine.frozen import FrozenDict
from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import ON_WRITE, UNLIMITED, Reading, below, shown
from routes.engine.times import TimeWindow, read_window

MAX_ATOMS = 64
MAX_LEVELS = 4

#: Always written by `to_dict`; the other keys are left out where they have their default.
_ALWAYS_WRITTEN = frozenset({"model_in", "input_tokens_lt", "input_tokens_gt", "tag_equals"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Both bounds are strict; None does not bound."""

    gt: int | float | None = None
    lt: int | float | None = None

    def __post_init__(self) -> None:
        for bound in (self.gt, self.lt):
            if bound is not None and (not isinstance(bound, int | float) or isinstance(bound, bool)):
                raise TypeError("A bound is None or a number.")
            if isinstance(bound, float) and not isfinite(bound):
                raise ValueError("A bound is finite.")
        if self.gt is None and self.lt is None:
            raise ValueError("A range has gt, lt or both.")

    def to_dict(self) -> dict[str, int | float]:
        return {key: bound for key, bound in (("gt", self.gt), ("lt", self.lt)) if bound is not None}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions are ANDed; an absent or empty one means any. Every bound is strict.

    `not` in JSON is `not_` here. Nested values may also be given as objects in the document's keys. Amounts are given
    in USD (int, float or Decimal) and kept as the JSON number of whole nano-dollars, rounded half to even once, here:
    what is compared are these integers. The constructor checks types (`TypeError`, `ValueError`), not
    texts, ranges or limits: `from_dict` and `to_dict` do.
    """

    model_in: tuple[str, ...] = ()
    model_matches: tuple[str, ...] = ()
    input_tokens_lt: int | None = None
    input_tokens_gt: int | None = None
    tag_equals: str | None = None
    has_images: bool | None = None
    has_audio: bool | None = None
    has_documents: bool | None = None
    has_tools: bool | None = None
    is_stream: bool | None = None
    prompt_contains_any_of: tuple[str, ...] = ()
    prompt_matches_any_of: tuple[str, ...] = ()
    estimated_cost_gt: int | float | None = None
    estimated_cost_lt: int | float | None = None
    metadata: FrozenDict[str, tuple[str, ...]] = FrozenDict()  # noqa: RUF009 (immutable, so it can be shared)
    headers: FrozenDict[str, tuple[str, ...]] = FrozenDict()  # noqa: RUF009
    numbers: FrozenDict[str, NumberRange] = FrozenDict()  # noqa: RUF009
    upstream_latency_ms_p95_gt: int | None = None
    time_window: TimeWindow | None = None
    any_of: tuple[Conditions, ...] = ()
    not_: Conditions | None = None
    #: The fields that have not their default, with their values, in the order of this list.
    given: tuple[tuple[str, Any], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = []
        for key, default in _DEFAULTS.items():
            value = getattr(self, key)
            if value is not default:
                built = _BUILT[key](key, value)
                if built is not value:
                    object.__setattr__(self, key, built)
                if built != default:
                    given.append((key, built))
        object.__setattr__(self, "given", tuple(given))

    @classmethod
    def from_dict(cls, raw: object) -> Conditions:
        """The conditions of a JSON object. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        return reading.result(read_conditions(raw, "", reading))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: `model_in`, `input_tokens_lt`, `input_tokens_gt` and `tag_equals` always, any
        other key only where it is not its default. Raises `InvalidRoute` for conditions that `from_dict` would refuse,
        save for the limits of length."""
        written = write_conditions(self)
        reading = Reading(UNLIMITED)
        read_conditions(written, "", reading)
        return reading.result(written)


# --- Built in code --------------------------------------------------------------------------------------------------


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(member, str) for member in value):
        raise TypeError(f"{key} is a sequence of str.")
    return value if type(value) is tuple else tuple(value)


def _named_texts(key: str, value: Any) -> FrozenDict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{key} is a mapping from str to sequences of str.")
    return FrozenDict({name: _texts(f"{key}[{name!r}]", texts) for name, texts in value.items()})


def _ranges(key: str, value: Any) -> FrozenDict[str, NumberRange]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{key} is a mapping from str to ranges.")
    return FrozenDict({name: NumberRange(**bounds) if isinstance(bounds, Mapping) else bounds
                       for name, bounds in value.items()})  # fmt: skip


def _scalar[T](wanted: type[T]) -> Callable[[str, Any], T]:
    def built(key: str, value: Any) -> T:
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(f"{key} is None or {wanted.__name__}, not {type(value).__name__}.")
        return value

    return built


def _window(key: str, value: Any) -> TimeWindow:
    window = TimeWindow.from_dict(value) if isinstance(value, Mapping) else value
    if not isinstance(window, TimeWindow):
        raise TypeError(f"{key} is None or TimeWindow.")
    return window


def _nested(key: str, value: Any) -> Conditions:
    conditions = Conditions.from_dict(value) if isinstance(value, Mapping) else value
    if not isinstance(conditions, Conditions):
        raise TypeError(f"{key} is Conditions, not {type(value).__name__}.")
    return conditions


_BUILT: dict[str, Callable[[str, Any], Any]] = {
    "model_in": _texts,
    "model_matches": _texts,
    "input_tokens_lt": _scalar(int),
    "input_tokens_gt": _scalar(int),
    "tag_equals": _scalar(str),
    "has_images": _scalar(bool),
    "has_audio": _scalar(bool),
    "has_documents": _scalar(bool),
    "has_tools": _scalar(bool),
    "is_stream": _scalar(bool),
    "prompt_contains_any_of": _texts,
    "prompt_matches_any_of": _texts,
    "estimated_cost_gt": lambda _, value: usd_number(nano_usd(value)),
    "estimated_cost_lt": lambda _, value: usd_number(nano_usd(value)),
    "metadata": _named_texts,
    "headers": _named_texts,
    "numbers": _ranges,
    "upstream_latency_ms_p95_gt": _scalar(int),
    "time_window": _window,
    "any_of": lambda key, value: tuple(_nested(key, member) for member in value),
    "not_": _nested,
}
#: Every field with its default, in the order in which they are written, compiled and explained.
_DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(Conditions) if each.init}


def json_key(name: str) -> str:
    """The key in JSON of a field of `Conditions`."""
    return "not" if name == "not_" else name


KEYS: tuple[str, ...] = tuple(map(json_key, _DEFAULTS))


# --- JSON -----------------------------------------------------------------------------------------------------------


def read_conditions(raw: object, path: str, reading: Reading) -> Conditions:
    """The conditions at this path of something bigger; issues go to `reading`."""
    before = reading.count
    conditions = _read(raw, path, reading, level=1)
    if reading.count == before and (atoms := count_atoms(conditions)) > MAX_ATOMS * reading.scale:
        most = MAX_ATOMS * reading.scale
        reading.add(
            path, "too_many", f"At most {most:,} conditions a route, nested ones included; these are {atoms:,}."
        )
    return conditions


def count_atoms(conditions: Conditions) -> int:
    """The keys with a value that is not their default, through `any_of` and `not`."""
    count = 0
    for key, value in conditions.given:
        if key == "any_of":
            count += sum(map(count_atoms, value))
        else:
            count += count_atoms(value) if key == "not_" else 1
    return count


def write_conditions(conditions: Conditions) -> dict[str, Any]:
    """The canonical JSON object, unchecked."""
    written: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        value = getattr(conditions, name)
        if name in _ALWAYS_WRITTEN or (value is not default and value != default):
            written[json_key(name)] = _written(value)
    return written


def _written(value: Any) -> Any:
    if isinstance(value, Conditions):
        return write_conditions(value)
    if isinstance(value, TimeWindow | NumberRange):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_written(member) for member in value]
    if isinstance(value, dict):
        return {name: _written(value[name]) for name in sorted(value)}
    return value


def _read(raw: object, path: str, reading: Reading, level: int) -> Conditions:
    if level > MAX_LEVELS * reading.scale:
        most = MAX_LEVELS * reading.scale
        reading.add(path, "too_deep", f"Conditions are nested in at most {most:,} levels.")
        return Conditions()
    values: dict[str, Any] = {}
    for key, value in reading.fields(raw, path, KEYS).items():
        where = below(path, key)
        if key == "not":
            if value is not None:
                values["not_"] = _read(value, where, reading, level + 1)
        elif key == "any_of":
            values[key] = _read_alternatives(value, where, reading, level + 1)
        elif key in _READ_LISTS:
            values[key] = _READ_LISTS[key](reading, value, where)
        elif value is not None:
            values[key] = _READ_SCALARS[key](reading, value, where)
    return Conditions(**values)


def _read_alternatives(raw: object, path: str, reading: Reading, level: int) -> tuple[Conditions, ...]:
    most = MAX_ATOMS * reading.scale
    if not isinstance(raw, list):
        reading.add(path, "wrong_type", f"This is a list of conditions, not {shown(raw)}.")
    elif len(raw) > most:
        reading.add(path, "too_many", f"At most {most:,} alternatives; this list has {len(raw):,}.")
    else:
        return tuple(_read(member, f"{path}[{index}]", reading, level) for index, member in enumerate(raw))
    return ()


def _read_patterns(reading: Reading, raw: object, path: str) -> tuple[str, ...]:
    before = reading.count
    patterns = reading.texts(raw, path)
    if reading.count == before and patterns and reading.scale != UNLIMITED:
        from routes.engine.regex import check_pattern  # only for those who use such patterns

        for index, pattern in enumerate(patterns):
            if reading.patterns.left < 0:
                reading.add(path, "too_many", "Compiled, all patterns together take more than a gateway has for them.")
                break
            problem, instructions = check_pattern(pattern)
            reading.patterns.left -= instructions
            if problem is not None:
                reading.add(f"{path}[{index}]", *problem)
    return patterns


def _read_named_texts(reading: Reading, raw: object, path: str) -> FrozenDict[str, tuple[str, ...]]:
    return _read_names(reading, raw, path, lambda name, _: name)


def _read_headers(reading: Reading, raw: object, path: str) -> FrozenDict[str, tuple[str, ...]]:
    def name_of(name: str, where: str) -> str | None:
        if name and not _HEADER_NAME.fullmatch(name):
            reading.add(where, "unsupported_value", "A header's name is in lower case: letters, digits and -.")
            return None
        return name

    return _read_names(reading, raw, path, name_of)


def _read_names(
    reading: Reading, raw: object, path: str, name_of: Callable[[str, str], str | None]
) -> FrozenDict[str, tuple[str, ...]]:
    def values(raw: object, where: str) -> tuple[str, ...]:
        before = reading.count
        texts = reading.texts(raw, where)
        if not texts and reading.count == before:
            reading.add(where, "no_effect", "Give at least one value, or leave the name out.")
        return texts

    return FrozenDict(reading.members(raw, path, values, name_of=name_of))


def _read_ranges(reading: Reading, raw: object, path: str) -> FrozenDict[str, NumberRange]:
    def range_of(raw: object, where: str) -> NumberRange | None:
        before = reading.count
        given = reading.fields(raw, where, ("gt", "lt"))
        bounds = {key: reading.number(bound, below(where, key)) for key, bound in given.items() if bound is not None}
        if not bounds and reading.count == before:
            reading.add(where, "no_effect", "Give gt, lt or both.")
        return NumberRange(**bounds) if reading.count == before else None

    found = reading.members(raw, path, range_of, name_of=lambda name, _: name)
    return FrozenDict({name: bounds for name, bounds in found.items() if bounds is not None})


def _read_window(reading: Reading, raw: object, path: str) -> TimeWindow | None:
    return read_window(raw, path, reading)


_READ_LISTS: dict[str, Callable[[Reading, object, str], Any]] = {
    "model_in": Reading.texts,
    "model_matches": Reading.texts,
    "prompt_contains_any_of": Reading.texts,
    "prompt_matches_any_of": _read_patterns,
    "metadata": _read_named_texts,
    "headers": _read_headers,
    "numbers": _read_ranges,
}
_READ_SCALARS: dict[str, Callable[[Reading, object, str], Any]] = {
    "input_tokens_lt": Reading.whole,
    "input_tokens_gt": Reading.whole,
    "tag_equals": Reading.text,
    "has_images": Reading.flag,
    "has_audio": Reading.flag,
    "has_documents": Reading.flag,
    "has_tools": Reading.flag,
    "is_stream": Reading.flag,
    "estimated_cost_gt": Reading.usd,
    "estimated_cost_lt": Reading.usd,
    "upstream_latency_ms_p95_gt": Reading.whole,
    "time_window": _read_window,
}
