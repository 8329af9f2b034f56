"""`Route`, `NewRoute` and `Action`: the values that people write and documents hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from routes.engine.conditions import Conditions, read_conditions, write_conditions
from routes.engine.ids import canonical_uuid
from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import MAX_NAME, ON_WRITE, UNLIMITED, Reading, below

MAX_PRIORITY = 2_147_483_647
DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a request that the route takes.

    `target_model` is the model to send, `fallbacks` the models to try after it, in order. `max_cost_usd` is given in
    USD (int, float or Decimal) and kept as the JSON number of whole nano-dollars, rounded half to even once, here.
    """

    target_model: str
    fallbacks: tuple[str, ...] = ()
    disable_cache: bool = False
    max_cost_usd: int | float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.fallbacks, str):
            raise TypeError("fallbacks is a sequence of str.")
        object.__setattr__(self, "fallbacks", tuple(self.fallbacks))
        if self.max_cost_usd is not None:
            object.__setattr__(self, "max_cost_usd", usd_number(nano_usd(self.max_cost_usd)))

    @classmethod
    def from_dict(cls, raw: object) -> Action:
        """The action of a JSON object. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        return reading.result(_read_action(raw, "", reading))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: `target_model` always, any other key only where it is not its default. Raises
        `InvalidRoute` for an action that `from_dict` would refuse, save for the limits of length."""
        written = _write_action(self)
        reading = Reading(UNLIMITED)
        _read_action(written, "", reading)
        return reading.result(written)


@dataclass(frozen=True, slots=True)
class NewRoute:
    """A route before it has an id. `then` and `when` may also be given as objects in the document's keys."""

    name: str
    then: Action
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    when: Conditions = Conditions()  # noqa: RUF009 (immutable, so it can be shared)

    def __post_init__(self) -> None:
        _read_parts(self)

    @classmethod
    def from_dict(cls, raw: object) -> NewRoute:
        """The route of a JSON object without `id`. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        values = _read_fields(raw, reading, required=("name", "then"))
        return cls(**reading.result(values))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: every key, as in `Route.to_dict`, without `id`."""
        written = _write_fields(self)
        reading = Reading(UNLIMITED)
        _read_fields(written, reading, required=("name", "then"))
        return reading.result(written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule. Higher `priority` is asked first; of equal ones the earlier in the list.

    `id` is a canonical UUID string (a `UUID` is taken as well; other text raises `ValueError`). `then` and `when` may
    also be given as objects in the document's keys.
    """

    id: str
    name: str
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    when: Conditions = Conditions()  # noqa: RUF009 (immutable, so it can be shared)
    then: Action

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", canonical_uuid(self.id))
        _read_parts(self)

    @classmethod
    def from_dict(cls, raw: object) -> Route:
        """The route of a JSON object; the id may be in upper case. Raises `InvalidRoute` with all issues."""
        return read_route(raw, ON_WRITE)

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: `id`, `name`, `priority`, `enabled`, `when` and `then` always, because people look
        for them; inside `when` and `then` defaults are left out as these say. Raises `InvalidRoute` for a route
        that `from_dict` would refuse, save for the limits of length."""
        written = write_route(self)
        read_route(written, UNLIMITED)
        return written


def read_route(raw: object, scale: float) -> Route:
    """The route of a JSON object, with the limits of length multiplied by `scale`. Raises `InvalidRoute`."""
    reading = Reading(scale)
    values = _read_fields(raw, reading, required=("id", "name", "then"))
    return Route(**reading.result(values))


def write_route(route: Route) -> dict[str, Any]:
    """The canonical JSON object, unchecked."""
    return {"id": route.id, **_write_fields(route)}


def _read_fields(raw: object, reading: Reading, required: tuple[str, ...]) -> dict[str, Any]:
    known = _ROUTE_KEYS if "id" in required else _ROUTE_KEYS[1:]
    values = reading.fields(raw, "", known, required)
    if "id" in values:
        values["id"] = _read_id(values["id"], reading)
    if "name" in values:
        values["name"] = reading.text(values["name"], "name", longest=MAX_NAME)
    if "priority" in values:
        values["priority"] = reading.whole(values["priority"], "priority", at_most=MAX_PRIORITY)
    if "enabled" in values:
        values["enabled"] = reading.flag(values["enabled"], "enabled")
    if "when" in values:
        values["when"] = read_conditions(values["when"], "when", reading)
    if "then" in values:
        values["then"] = _read_action(values["then"], "then", reading)
    return values


def _read_id(raw: object, reading: Reading) -> str:
    before = len(reading.issues)
    text = reading.text(raw, "id")
    if len(reading.issues) == before:
        try:
            return canonical_uuid(text)
        except ValueError:
            reading.add("id", "unsupported_value", "An id is a UUID.")
    return text


def _read_action(raw: object, path: str, reading: Reading) -> Action:
    values = reading.fields(raw, path, _ACTION_KEYS, ("target_model",))
    target = reading.text(values["target_model"], below(path, "target_model")) if "target_model" in values else ""
    where = below(path, "fallbacks")
    fallbacks = reading.texts(values.get("fallbacks", []), where)
    # `fallbacks` of the result lack members with issues, so the place of a member is looked up in what was given.
    if target and target in fallbacks:
        index = values["fallbacks"].index(target)
        reading.add(f"{where}[{index}]", "duplicate_primary_fallback", "The target itself is no fallback.")
    return Action(
        target_model=target,
        fallbacks=fallbacks,
        disable_cache=reading.flag(values.get("disable_cache", False), below(path, "disable_cache")),
        max_cost_usd=reading.optional(
            reading.usd, values.get("max_cost_usd"), below(path, "max_cost_usd"), above_zero=True
        ),
    )


def _write_fields(route: Route | NewRoute) -> dict[str, Any]:
    return {
        "name": route.name,
        "priority": route.priority,
        "enabled": route.enabled,
        "when": write_conditions(route.when),
        "then": _write_action(route.then),
    }


def _write_action(action: Action) -> dict[str, Any]:
    written: dict[str, Any] = {"target_model": action.target_model}
    if action.fallbacks:
        written["fallbacks"] = list(action.fallbacks)
    if action.disable_cache is not False:
        written["disable_cache"] = action.disable_cache
    if action.max_cost_usd is not None:
        written["max_cost_usd"] = action.max_cost_usd
    return written


def _read_parts(route: Route | NewRoute) -> None:
    if isinstance(route.when, Mapping):
        object.__setattr__(route, "when", Conditions.from_dict(route.when))
    if isinstance(route.then, Mapping):
        object.__setattr__(route, "then", Action.from_dict(route.then))


_ROUTE_KEYS = tuple(field.name for field in fields(Route))
_ACTION_KEYS = tuple(field.name for field in fields(Action))
