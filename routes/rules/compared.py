"""What differs between two contents, in words."""

import json
from typing import Any

from routes.paths.words import differences_of_services, line_of_service
from routes.rules.sentences import default_effect, differences, sentence
from routes.versions.difference import Content, changes_between, fields_between

#: So many are named in one sentence.
_NAMED = 5
#: Of a long list a sentence shows the beginning, of a split the shares, of what nobody can read nothing.
_UNSAID = "what the sentence leaves out differs: see by field"


def compared(
    was: Content, now: Content, *, changes: list[dict[str, Any]] | None = None, most: int | None = None
) -> list[dict[str, Any]]:
    """`[{"name", "change", "was", "is", "fields"}]`: a row for each route or service that differs, and for what happens to
    the rest. `fields` has what differs as the document has it: `[{"path", "was", "is"}]` in JSON. `changes` are what
    `changes_between` found, where that is known already; `most`: of the first so many alone."""
    before, after = ({route["id"]: route for route in content["routes"]} for content in (was, now))
    services = [{service["slug"]: service for service in content["services"]} for content in (was, now)]
    changes = changes_between(was, now) if changes is None else changes
    places = _Places(list(before), after, {change["route_id"] for change in changes if _place(change)})
    rows = []
    for change in changes[:most]:
        uid, name, fields = change["route_id"], change["name"], change["fields"]
        more: list[str] = []
        if "service" in change:
            old, new = (each.get(name) for each in services)
            left, right = line_of_service(old), line_of_service(new)
            more = differences_of_services(old, new) if old and new else []
            is_said = True
            name = f"Service {name}"
        elif uid is None:
            name = "Requests that no route takes"
            left, right = default_effect(was["default"]), default_effect(now["default"])
            fields = fields_between(was["default"] or {}, now["default"] or {})
            is_said = left != right
        else:
            old, new = before.get(uid), after.get(uid)
            left, right = _line(old), _line(new)
            more = differences(old, new) if old and new else []
            is_said = not (old and new) or not _acts_otherwise(fields) or sentence(old) != sentence(new)
        if place := _place(change):
            left, right = map(", ".join, zip((left, right), places.of(uid), strict=True))
            fields = [field for field in fields if field is not place]
        right = "; ".join([right, *more, *([] if is_said else [_UNSAID])])
        row = {"name": name, "change": change["change"], "was": left, "is": right}
        rows.append({**row, "fields": [_in_json(field) for field in fields]})
    return rows


def _line(route: dict[str, Any] | None) -> str:
    return "" if route is None else f"{sentence(route)}, priority {route['priority']}"


def _acts_otherwise(fields: list[dict[str, Any]]) -> bool:
    return any(field["path"].startswith(("/when", "/then")) for field in fields)


def _in_json(field: dict[str, Any]) -> dict[str, str]:
    was, now = (json.dumps(field[side], ensure_ascii=False) for side in ("was", "is"))
    return {"path": field["path"].removeprefix("/"), "was": was, "is": now}


def _place(change: dict[str, Any]) -> dict[str, Any] | None:
    """The field that says that the route moved."""
    return next((field for field in change["fields"] if field["path"] == "/position"), None)


class _Places:
    """When routes are asked, then and now."""

    def __init__(self, before: list[str], after: dict[str, dict[str, Any]], moved: set[str]) -> None:
        self._after = after
        self._numbers = tuple({uid: number for number, uid in enumerate(order)} for order in (before, after))
        self._stayed = [uid for uid in before if uid in after and uid not in moved]

    def of(self, uid: str) -> tuple[str, str]:
        """Of one that moved: by its number, or where others changed around it so that it has the same, by one that stayed
        and that it passed. Of any that moved there is one, else it would not have to."""
        was, now = (numbers[uid] for numbers in self._numbers)
        if was != now:
            return f"asked as number {was + 1}", f"asked as number {now + 1}"
        passed, was_first = next(
            (other, first)
            for other in self._stayed
            if (first := self._numbers[0][other] < was) != (self._numbers[1][other] < now)
        )
        name = f"“{self._after[passed]['name']}”"
        return (f"asked after {name}", f"asked before {name}")[:: 1 if was_first else -1]


def summed_up(changes: list[dict[str, Any]]) -> str:
    """One line of what `changes_between` found: “short” was changed, “eu” was added, 3 more."""
    told = [f"{_name(change)} was {change['change']}" for change in changes[:_NAMED]]
    more = [f"{len(changes) - _NAMED:,} more"] if len(changes) > _NAMED else []
    return ", ".join([*told, *more])


def _name(change: dict[str, Any]) -> str:
    if "service" in change:
        return f"the service “{change['name']}”"
    return "what happens to the rest" if change["route_id"] is None else f"“{change['name']}”"
