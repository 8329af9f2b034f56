"""`Action`: what happens to a request that a route takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import ON_LOAD, ON_WRITE, UNLIMITED, Reading, below, shown

MAX_ARMS = 10
MAX_WEIGHT = 10_000
MAX_CODE = 64


@dataclass(frozen=True, slots=True)
class SplitArm:
    """One arm of a split: a model and its integer weight, 1 to 10,000."""

    target_model: str
    weight: int

    def to_dict(self) -> dict[str, Any]:
        return {"target_model": self.target_model, "weight": self.weight}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of a model's: an HTTP status from 400 to 499, a stable code, a sentence for the client."""

    status: int
    code: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        return {"status": self.status, "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a request that the route takes.

    `target_model` is the model to send, None for a route that only modifies; `provider` says who serves it; `fallbacks`
    are the models to try after it, in order. `traffic_pct` is the share, in percent, that takes the route, the rest
    passes unchanged. `split` chooses the target by weight instead of `target_model`. `refuse` stands alone.
    `max_cost_usd` is given in USD (int, float or Decimal) and kept as the JSON number of whole nano-dollars, rounded
    half to even once, here. Arms and refusal may also be given as objects in the document's keys.

    The constructor checks types and the structure that a decision needs (`TypeError`, `ValueError`); `from_dict` and
    `to_dict` check the rest.
    """

    target_model: str | None = None
    provider: str | None = None
    fallbacks: tuple[str, ...] = ()
    disable_cache: bool = False
    max_cost_usd: int | float | None = None
    traffic_pct: int | None = None
    split: tuple[SplitArm, ...] = ()
    shadow_model: str | None = None
    refuse: Refusal | None = None

    def __post_init__(self) -> None:
        if isinstance(self.fallbacks, str):
            raise TypeError("fallbacks is a sequence of str.")
        object.__setattr__(self, "fallbacks", tuple(self.fallbacks))
        if self.max_cost_usd is not None:
            object.__setattr__(self, "max_cost_usd", usd_number(nano_usd(self.max_cost_usd)))
        if self.traffic_pct is not None and (
            isinstance(self.traffic_pct, bool) or not isinstance(self.traffic_pct, int)
        ):
            raise TypeError("traffic_pct is None or int.")
        if self.split:
            arms = tuple(SplitArm(**arm) if isinstance(arm, Mapping) else arm for arm in self.split)
            if not all(isinstance(arm.weight, int) and not isinstance(arm.weight, bool) for arm in arms):
                raise TypeError("A weight is int.")
            if not all(arm.weight > 0 for arm in arms):
                raise ValueError("A weight is at least 1.")
            object.__setattr__(self, "split", arms)
        else:
            object.__setattr__(self, "split", ())
        if isinstance(self.refuse, Mapping):
            object.__setattr__(self, "refuse", Refusal(**self.refuse))

    @classmethod
    def from_dict(cls, raw: object) -> Action:
        """The action of a JSON object. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        return reading.result(read_action(raw, "", reading))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: only the keys that have not their default. Raises `InvalidRoute` for an action
        that `from_dict` would refuse, save for the limits of length."""
        written = write_action(self)
        reading = Reading(UNLIMITED)
        read_action(written, "", reading)
        return reading.result(written)


KEYS: tuple[str, ...] = tuple(Action.__dataclass_fields__)
#: Any of these makes a route that has no target do something.
_EFFECTS = ("fallbacks", "disable_cache", "max_cost_usd", "shadow_model")


def write_action(action: Action) -> dict[str, Any]:
    """The canonical JSON object, unchecked."""
    written: dict[str, Any] = {}
    for key, field in Action.__dataclass_fields__.items():
        value = getattr(action, key)
        if value is None or value is field.default or value == field.default:
            continue
        if key == "split":
            value = [arm.to_dict() for arm in value]
        elif key == "refuse":
            value = value.to_dict()
        written[key] = list(value) if isinstance(value, tuple) else value
    return written


def read_action(raw: object, path: str, reading: Reading) -> Action:
    """The action at this path of something bigger; issues go to `reading`."""
    before = reading.count
    given = reading.fields(raw, path, KEYS)
    if reading.count > before and not given:
        return Action()  # it was no object at all, or had no key that we know
    values: dict[str, Any] = {}
    for key in ("target_model", "provider", "shadow_model"):
        if given.get(key) is not None:
            values[key] = reading.text(given[key], below(path, key))
    if "fallbacks" in given:
        values["fallbacks"] = reading.texts(given["fallbacks"], below(path, "fallbacks"))
    if "disable_cache" in given:
        values["disable_cache"] = reading.flag(given["disable_cache"], below(path, "disable_cache"))
    if given.get("max_cost_usd") is not None:
        values["max_cost_usd"] = reading.usd(given["max_cost_usd"], below(path, "max_cost_usd"), above_zero=True)
    if given.get("traffic_pct") is not None:
        values["traffic_pct"] = reading.whole(given["traffic_pct"], below(path, "traffic_pct"), at_most=100)
    if given.get("split") is not None:
        values["split"] = _read_split(given["split"], below(path, "split"), reading)
    if given.get("refuse") is not None:
        values["refuse"] = _read_refusal(given["refuse"], below(path, "refuse"), reading)
    _check_whole(given, values, path, reading)
    return Action(**values)


def load_action(raw: object) -> Action:
    """The action of a document. Raises `InvalidRoute`."""
    reading = Reading(ON_LOAD)
    return reading.result(read_action(raw, "", reading))


def _read_split(raw: object, path: str, reading: Reading) -> tuple[SplitArm, ...]:
    if not isinstance(raw, list):
        reading.add(path, "wrong_type", f"This is a list of arms, not {shown(raw)}.")
        return ()
    if not raw:
        return ()  # as good as absent
    if not 2 <= len(raw) <= MAX_ARMS:
        code = "too_many" if len(raw) > MAX_ARMS else "out_of_range"
        reading.add(path, code, f"A split has 2 to {MAX_ARMS} arms; this has {len(raw):,}.")
        return ()
    arms: list[SplitArm] = []
    for index, member in enumerate(raw):
        where = f"{path}[{index}]"
        given = reading.fields(member, where, ("target_model", "weight"), ("target_model", "weight"))
        model = reading.text(given["target_model"], below(where, "target_model")) if "target_model" in given else ""
        weight = 1
        if "weight" in given:
            weight = reading.whole(given["weight"], below(where, "weight"), at_least=1, at_most=MAX_WEIGHT)
        if model and any(arm.target_model == model for arm in arms):
            reading.add(below(where, "target_model"), "duplicate_value", f"{shown(model)} has an arm already.")
        arms.append(SplitArm(model, weight))
    return tuple(arms)


def _read_refusal(raw: object, path: str, reading: Reading) -> Refusal | None:
    before = reading.count
    keys = ("status", "code", "message")
    given = reading.fields(raw, path, keys, keys)
    status = 400
    if "status" in given:
        status = reading.whole(given["status"], below(path, "status"), at_least=400, at_most=499)
    code = reading.text(given["code"], below(path, "code"), longest=MAX_CODE) if "code" in given else ""
    message = reading.text(given["message"], below(path, "message")) if "message" in given else ""
    return Refusal(status, code, message) if reading.count == before else None


def _check_whole(given: dict[str, Any], values: dict[str, Any], path: str, reading: Reading) -> None:
    """What the parts, each good in itself, are together."""

    def is_set(key: str) -> bool:
        value = given.get(key)
        return value is not None and value is not False and value != []  # a share of 0 is set

    if is_set("refuse"):
        for key in KEYS:
            if key != "refuse" and is_set(key):
                reading.add(below(path, key), "conflict", "A route that refuses does nothing else.")
        return
    if is_set("split") and is_set("target_model"):
        reading.add(below(path, "target_model"), "conflict", "The split chooses the target; leave one of them out.")
    if is_set("provider") and not is_set("target_model"):
        reading.add(below(path, "provider"), "conflict", "A provider serves the target_model; there is none here.")
    if not is_set("split") and not is_set("target_model") and not any(map(is_set, _EFFECTS)):
        reading.add(
            below(path, "target_model"),
            "no_effect",
            f"This route does nothing: give target_model, split, refuse, or one of {', '.join(_EFFECTS)}.",
        )
    # The fallbacks that were read lack members with issues, so the place of one is looked up in what was given.
    target = values.get("target_model")
    if target and target in values.get("fallbacks", ()):
        index = given["fallbacks"].index(target)
        reading.add(
            f"{below(path, 'fallbacks')}[{index}]", "duplicate_primary_fallback", "The target itself is no fallback."
        )
