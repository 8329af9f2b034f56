"""`Conditions`: what a request must be like for a route to take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import ON_WRITE, UNLIMITED, Reading, below

#: Always written by `to_dict`; the other keys are left out where they have their default.
_ALWAYS_WRITTEN = frozenset({"model_in", "input_tokens_lt", "input_tokens_gt", "tag_equals"})


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions are ANDed; an absent or empty one means any. Every bound is strict.

    Amounts are given in USD (int, float or Decimal) and kept as the JSON number of whole nano-dollars, rounded half to
    even once, here; the `…_nano_usd` properties are what is compared. The constructor checks types (`TypeError`), not
    texts, ranges or limits: `from_dict` and `to_dict` do.
    """

    model_in: tuple[str, ...] = ()
    input_tokens_lt: int | None = None
    input_tokens_gt: int | None = None
    tag_equals: str | None = None
    has_images: bool | None = None
    has_audio: bool | None = None
    has_documents: bool | None = None
    prompt_contains_any_of: tuple[str, ...] = ()
    estimated_cost_gt: int | float | None = None
    estimated_cost_lt: int | float | None = None
    upstream_latency_ms_p95_gt: int | None = None

    def __post_init__(self) -> None:
        for key in KEYS:
            value = getattr(self, key)
            if key in _TEXTS:
                if isinstance(value, str) or not all(isinstance(member, str) for member in value):
                    raise TypeError(f"{key} is a sequence of str.")
                object.__setattr__(self, key, tuple(value))
            elif value is None:
                continue
            elif key in _USD:
                object.__setattr__(self, key, usd_number(nano_usd(value)))
            elif not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and _TYPES[key] is not bool):
                raise TypeError(f"{key} is None or {_TYPES[key].__name__}, not {type(value).__name__}.")

    @property
    def estimated_cost_gt_nano_usd(self) -> int | None:
        return None if self.estimated_cost_gt is None else nano_usd(self.estimated_cost_gt)

    @property
    def estimated_cost_lt_nano_usd(self) -> int | None:
        return None if self.estimated_cost_lt is None else nano_usd(self.estimated_cost_lt)

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


_TEXTS = frozenset({"model_in", "prompt_contains_any_of"})
_USD = frozenset({"estimated_cost_gt", "estimated_cost_lt"})
_TYPES: dict[str, type] = {
    "input_tokens_lt": int,
    "input_tokens_gt": int,
    "tag_equals": str,
    "has_images": bool,
    "has_audio": bool,
    "has_documents": bool,
    "upstream_latency_ms_p95_gt": int,
}
#: All keys, in the order in which they are written, compiled and explained.
KEYS: tuple[str, ...] = tuple(Conditions.__dataclass_fields__)


def read_conditions(raw: object, path: str, reading: Reading) -> Conditions:
    """The conditions at this path of something bigger; issues go to `reading`."""
    by_type: dict[type, Callable[..., Any]] = {int: reading.whole, str: reading.text, bool: reading.flag}
    values: dict[str, Any] = {}
    for key, value in reading.fields(raw, path, KEYS).items():
        where = below(path, key)
        if key in _TEXTS:
            values[key] = reading.texts(value, where)
        else:
            read = reading.usd if key in _USD else by_type[_TYPES[key]]
            values[key] = reading.optional(read, value, where)
    return Conditions(**values)


def write_conditions(conditions: Conditions) -> dict[str, Any]:
    """The canonical JSON object, unchecked."""
    written: dict[str, Any] = {}
    for key in KEYS:
        value = getattr(conditions, key)
        if key in _TEXTS:
            if value or key in _ALWAYS_WRITTEN:
                written[key] = list(value)
        elif value is not None or key in _ALWAYS_WRITTEN:
            written[key] = value
    return written
