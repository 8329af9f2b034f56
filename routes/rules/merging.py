"""Two people changed one route: what both did, field by field, and one route that has both."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from routes import engine
from routes.engine.canonical import canonical_bytes
from routes.rules.forms.rows import GROUPS
from routes.rules.sentences import condition, effect, moment

#: Where a value is in a route: its key, and of conditions and of what people know of it the key within.
Place = tuple[str, ...]

#: In the order of the page.
_LABELS: Final[dict[Place, str]] = {
    ("name",): "Name", ("priority",): "Priority", ("enabled",): "Enabled", ("paused",): "Paused",
    ("active_from",): "Active from", ("active_until",): "Active until",
    **{("when", key): kind.title for _, kinds in GROUPS for kind in kinds for key in kind.keys},
    ("when", "any_of"): "Alternatives", ("when", "not"): "Exception", ("then",): "What happens to the requests",
}  # fmt: skip
_DEFAULTS: Final[dict[Place, Any]] = {("paused",): False, ("when", "model_in"): []}
#: What stands where a key is missing, which null does not mean of what programs keep.
_NOTHING: Final = object()
#: Of these objects each member is changed by itself. An action is one thing: half of one and half of another is none.
_OPENED: Final = ("when", "meta")


@dataclass(frozen=True, slots=True)
class Difference:
    """What somebody else changed, in words, and what is in the merged route."""

    label: str
    #: What it was when one looked; "" where that is not known any more.
    was: str
    theirs: str
    mine: str
    #: `theirs` was taken over, `mine` is kept although they changed it too, or `both` made the same of it.
    kept: Literal["theirs", "mine", "both"]


def merged(
    base: dict[str, Any] | None, theirs: dict[str, Any], mine: dict[str, Any]
) -> tuple[dict[str, Any], list[Difference]]:
    """`mine` with what `theirs` changed of `base` and I did not, without an id, and all that they changed. Routes in the
    document's keys and their canonical form; without `base`, or where no engine would read both together, it is `mine`."""
    left, right, own = (None if base is None else _flat(base)), _flat(theirs), _flat(mine)
    found, taken = [], {}
    places = {place: number for number, place in enumerate(_LABELS)}
    for place in sorted({*right, *(left or ()), *own}, key=lambda place: (places.get(place, len(places)), place)):
        was, other, me = (_at(values, place) for values in (left or {}, right, own))
        if _same(other, me if left is None else was):
            continue
        kept: Literal["theirs", "mine", "both"] = "mine"
        if _same(other, me):
            kept = "both"
        elif left is not None and _same(me, was):
            kept, taken[place] = "theirs", other
        before = "" if left is None else _in_words(place, was)
        found.append(Difference(_label(place), before, _in_words(place, other), _in_words(place, me), kept))
    try:
        together = engine.NewRoute.from_dict(_unflat({**own, **taken})).to_dict()
    except engine.errors.InvalidRoute:
        together = engine.NewRoute.from_dict(_unflat(own)).to_dict()
        found = [replace(one, kept="mine") for one in found]
    return together, found


def _flat(route: dict[str, Any]) -> dict[Place, Any]:
    found: dict[Place, Any] = {}
    for key, value in route.items():
        if key in _OPENED and isinstance(value, dict):
            found |= {(key, inner): member for inner, member in value.items() if key != "when" or member is not None}
        elif key != "id":
            found[key,] = value
    return found


def _unflat(values: dict[Place, Any]) -> dict[str, Any]:
    route: dict[str, Any] = {"when": {}}
    for place, value in values.items():
        if value is _NOTHING:
            continue
        if len(place) == 2:
            route.setdefault(place[0], {})[place[1]] = value
        else:
            route[place[0]] = value
    return route


def _at(values: dict[Place, Any], place: Place) -> Any:
    """What stands there, or holds where nothing does."""
    return values.get(place, _DEFAULTS.get(place, _NOTHING))


def _same(one: Any, other: Any) -> bool:
    if one is _NOTHING or other is _NOTHING:
        return one is other
    return canonical_bytes(one) == canonical_bytes(other)


def _label(place: Place) -> str:
    return _LABELS.get(place) or place[-1].replace("_", " ").capitalize()


def _in_words(place: Place, value: Any) -> str:
    if value is _NOTHING:
        return "no such condition" if place[0] == "when" else "none"
    if place == ("then",):
        return effect(value)
    if place == ("when",):
        return condition(value)  # which no engine reads
    if place[0] == "when":
        return "no such condition" if value == [] else condition({place[1]: value})
    if place[0].startswith("active_"):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if place == ("meta", "labels"):
        return ", ".join(f"{name} = {inner}" for name, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
