"""`Route` and `NewRoute`: the values that people write and documents hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from routes.engine.action import Action, read_action, write_action
from routes.engine.conditions import Conditions, read_conditions, write_conditions
from routes.engine.frozen import FrozenDict, frozen
from routes.engine.ids import canonical_uuid
from routes.engine.meta import read_meta, write_meta
from routes.engine.reading import MAX_NAME, ON_WRITE, UNLIMITED, Patterns, Reading

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

MAX_PRIORITY = 2_147_483_647
DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class NewRoute:
    """A route before it has an id; otherwise as `Route`."""

    name: str
    then: Action
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    when: Conditions = Conditions()  # noqa: RUF009 (immutable, so it can be shared)
    paused: bool = False
    active_from: datetime | None = None
    active_until: datetime | None = None
    meta: FrozenDict[str, Any] = FrozenDict()  # noqa: RUF009

    def __post_init__(self) -> None:
        _read_parts(self)

    def with_id(self, id: str | UUID) -> Route:
        """The route, once it has an id."""
        return Route(id=canonical_uuid(id), **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_dict(cls, raw: object) -> NewRoute:
        """The route of a JSON object without `id`. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        values = _read_fields(raw, reading, required=("name", "then"))
        return cls(**reading.result(values))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object, as `Route.to_dict` writes it, without `id`."""
        written = _write_fields(self)
        reading = Reading(UNLIMITED)
        _read_fields(written, reading, required=("name", "then"))
        return reading.result(written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule. Higher `priority` is asked first; of equal ones the earlier in the list.

    `id` is a canonical UUID string (a `UUID` is taken as well; other text raises `ValueError`). A disabled route is not
    asked; a paused one is asked and, where it wins, leaves the request unchanged. From `active_from` (inside) to
    `active_until` (not), aware times, it is active; outside, or for a request of unknown time, it does not match.
    `meta` holds what people want to know of it (`description`, `owner`, `labels`, `link`, names that start with `x-`);
    decisions ignore it. `then` and `when` may also be given as objects in the document's keys.
    """

    id: str
    name: str
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    paused: bool = False
    active_from: datetime | None = None
    active_until: datetime | None = None
    when: Conditions = Conditions()  # noqa: RUF009 (immutable, so it can be shared)
    then: Action
    meta: FrozenDict[str, Any] = FrozenDict()  # noqa: RUF009

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", canonical_uuid(self.id))
        _read_parts(self)

    @classmethod
    def from_dict(cls, raw: object) -> Route:
        """The route of a JSON object; the id may be in upper case. Raises `InvalidRoute` with all issues."""
        return read_route(raw, ON_WRITE)

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: `id`, `name`, `priority`, `enabled`, `when` and `then` always, because people look
        for them; the others, and what is inside `when` and `then`, only where it is not the default. Raises
        `InvalidRoute` for a route that `from_dict` would refuse, save for the limits of length."""
        written = write_route(self)
        read_route(written, UNLIMITED)
        return written


def read_route(raw: object, scale: float, patterns: Patterns | None = None) -> Route:
    """The route of a JSON object, with the limits of length multiplied by `scale`. Raises `InvalidRoute`. `patterns` is
    shared by routes that are read together."""
    reading = Reading(scale, patterns)
    values = _read_fields(raw, reading, required=("id", "name", "then"))
    return Route(**reading.result(values))


def write_route(route: Route) -> dict[str, Any]:
    """The canonical JSON object, unchecked."""
    return {"id": route.id, **_write_fields(route)}


def canonical_route(raw: object) -> dict[str, Any]:
    """The canonical JSON object of this one: `Route.from_dict(raw).to_dict()` at half the price, for what was just read
    need not be read again. Raises `InvalidRoute` with all issues."""
    return write_route(read_route(raw, ON_WRITE))


def _read_fields(raw: object, reading: Reading, required: tuple[str, ...]) -> dict[str, Any]:
    known = _ROUTE_KEYS if "id" in required else _ROUTE_KEYS[1:]
    values = reading.fields(raw, "", known, required)
    if "id" in values:
        values["id"] = _read_id(values["id"], reading)
    if "name" in values:
        values["name"] = reading.text(values["name"], "name", longest=MAX_NAME)
    if "priority" in values:
        values["priority"] = reading.whole(values["priority"], "priority", at_most=MAX_PRIORITY)
    for key in ("enabled", "paused"):
        if key in values:
            values[key] = reading.flag(values[key], key)
    for key in ("active_from", "active_until"):
        if key in values:
            values[key] = reading.optional(reading.time, values[key], key)
    start, end = values.get("active_from"), values.get("active_until")
    if start is not None and end is not None and end <= start:
        reading.add("active_until", "conflict", "active_until is after active_from.")
    if "meta" in values:
        values["meta"] = read_meta(values["meta"], "meta", reading)
    if "when" in values:
        values["when"] = read_conditions(values["when"], "when", reading)
    if "then" in values:
        values["then"] = read_action(values["then"], "then", reading)
    return values


def _read_id(raw: object, reading: Reading) -> str:
    before = reading.count
    text = reading.text(raw, "id")
    if reading.count == before:
        try:
            return canonical_uuid(text)
        except ValueError:
            reading.add("id", "unsupported_value", "An id is a UUID.")
    return text


def _write_fields(route: Route | NewRoute) -> dict[str, Any]:
    written: dict[str, Any] = {"name": route.name, "priority": route.priority, "enabled": route.enabled}
    if route.paused is not False:
        written["paused"] = route.paused
    if route.active_from is not None or route.active_until is not None:
        from routes.engine.times import write_time

        for key in ("active_from", "active_until"):
            if (time := getattr(route, key)) is not None:
                written[key] = write_time(time)
    written["when"] = write_conditions(route.when)
    written["then"] = write_action(route.then)
    if route.meta:
        written["meta"] = write_meta(route.meta)
    return written


def _read_parts(route: Route | NewRoute) -> None:
    if isinstance(route.when, Mapping):
        object.__setattr__(route, "when", Conditions.from_dict(route.when))
    if isinstance(route.then, Mapping):
        object.__setattr__(route, "then", Action.from_dict(route.then))
    if type(route.meta) is not FrozenDict:
        object.__setattr__(route, "meta", frozen(dict(route.meta)))
    if route.active_from is not None or route.active_until is not None:
        from routes.engine.times import utc

        for key in ("active_from", "active_until"):
            if (time := getattr(route, key)) is not None:
                object.__setattr__(route, key, utc(time))


_ROUTE_KEYS = tuple(field.name for field in fields(Route))
