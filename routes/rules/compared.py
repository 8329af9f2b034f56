"""What differs between two contents, in words."""

from typing import Any

from routes.rules.sentences import default_effect, differences, sentence
from routes.versions.difference import Content, changes_between

#: So many are named in one sentence.
_NAMED = 5


def compared(was: Content, now: Content) -> list[dict[str, str]]:
    """`[{"name", "change", "was", "is"}]`: a row for each route that differs, and for what happens to the rest."""
    before, after = ({route["id"]: route for route in content["routes"]} for content in (was, now))
    rows = []
    for change in changes_between(was, now):
        uid, fields = change["route_id"], {field["path"]: field for field in change["fields"]}
        if uid is None:
            left, right = default_effect(was["default"]), default_effect(now["default"])
            rows.append({"name": "Requests that no route takes", "change": "changed", "was": left, "is": right})
            continue
        old, new = before.get(uid), after.get(uid)
        left, right = _line(old), [_line(new)]
        if place := fields.get("/position"):
            left = f"{left}, asked as number {place['was'] + 1}"
            right[0] += f", asked as number {place['is'] + 1}"
        right += differences(old, new) if old and new else []
        rows.append({"name": change["name"], "change": change["change"], "was": left, "is": "; ".join(right)})
    return rows


def _line(route: dict[str, Any] | None) -> str:
    return "" if route is None else f"{sentence(route)}, priority {route['priority']}"


def summed_up(changes: list[dict[str, Any]]) -> str:
    """One line of what `changes_between` found: “short” was changed, “eu” was added, 3 more."""
    told = [f"{_name(change)} was {change['change']}" for change in changes[:_NAMED]]
    more = [f"{len(changes) - _NAMED:,} more"] if len(changes) > _NAMED else []
    return ", ".join([*told, *more])


def _name(change: dict[str, Any]) -> str:
    return "what happens to the rest" if change["route_id"] is None else f"“{change['name']}”"
