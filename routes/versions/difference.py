"""What differs between two states of a document, by field."""

from typing import Any

from routes.engine.canonical import canonical_bytes

Content = dict[str, Any]
#: Of these members of a route, or a service, the fields are compared; every other value is compared whole.
_OPENED = ("when", "then", "meta", "timeouts")


def fields_between(was: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """`[{"path", "was", "is"}]` of two routes in the document's keys. `path` is a JSON pointer; a key that is missing on
    one side has null there, and where the other side has null too, that is a difference nevertheless."""
    found: list[dict[str, Any]] = []
    for key in dict.fromkeys([*was, *now]):
        left, right = was.get(key), now.get(key)
        if key in _OPENED and isinstance(left, dict) and isinstance(right, dict):
            for inner in dict.fromkeys([*left, *right]):
                found += _between(f"/{_escaped(key)}/{_escaped(inner)}", _at(left, inner), _at(right, inner))
        else:
            found += _between(f"/{_escaped(key)}", _at(was, key), _at(now, key))
    return found


def fields_between_services(was: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """The same of two services. A path is known by its pattern, methods and headers: one that is there before and after is
    told with its place now, one that is not any more with its place then. Where nothing but their order differs, that is
    `/paths`, with the patterns."""
    before, after = was["paths"], now["paths"]
    found = fields_between({**was, "paths": []}, {**now, "paths": []})
    left = [(index, path) for index, path in enumerate(before) if path not in after]
    by_what = {_known_by(path): (index, path) for index, path in left}
    told = set()
    for index, path in enumerate(after):
        if path in before:
            continue
        old = by_what.get(_known_by(path))
        if old is not None:
            told.add(old[0])
        found.append({"path": f"/paths/{index}", "was": old[1] if old else None, "is": path})
    found += [{"path": f"/paths/{index}", "was": path, "is": None} for index, path in left if index not in told]
    if before != after and [path for path in before if path in after] != [path for path in after if path in before]:
        order = [[path["pattern"] for path in paths] for paths in (before, after)]
        found.append({"path": "/paths", "was": order[0], "is": order[1]})
    return found


def _known_by(path: dict[str, Any]) -> bytes:
    return canonical_bytes([path.get(key) for key in ("pattern", "methods", "headers")])


def _at(members: dict[str, Any], key: str) -> tuple[Any, ...]:
    """The member in a tuple, which is empty where there is none."""
    return (members[key],) if key in members else ()


def _between(path: str, was: tuple[Any, ...], now: tuple[Any, ...]) -> list[dict[str, Any]]:
    # By their bytes: to Python 1 and True are equal, to whoever reads the document they are not. What is written alike has
    # the same, and that is found out in a tenth of the time.
    if repr(was) == repr(now) or canonical_bytes(was) == canonical_bytes(now):
        return []
    return [{"path": path, "was": was[0] if was else None, "is": now[0] if now else None}]


def _escaped(key: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


# --- Between two contents ---------------------------------------------------------------------------------------------


def changes_between(was: Content, now: Content) -> list[dict[str, Any]]:
    """What differs between two contents, route by route: `[{"route_id", "name", "change", "fields"}]` in the order of
    `now`, what was removed last.

    `change` is `added`, `removed`, `changed` or `moved`; `fields` as `fields_between` has them, and for a route that takes
    another place among those that both have, `/position` (0 is asked first). Of the routes whose order differs as few as
    possible are told as moved, rather those whose number is another one, and then those that changed. The action for
    requests that no route takes has null as its id and as its name. Services come last, by slug: one has null as its route
    id, its slug as its name, and again as `service`, which nothing else has.
    """
    before, after = ({route["id"]: route for route in content["routes"]} for content in (was, now))
    places = [{uid: place for place, uid in enumerate(routes)} for routes in (before, after)]
    differs = {uid: fields_between(before[uid], route) for uid, route in after.items() if uid in before}
    moved = _moved(
        [uid for uid in before if uid in after],
        [uid for uid in after if uid in before],
        {uid: (places[0][uid] == places[1][uid], not fields) for uid, fields in differs.items()},
    )
    found: list[dict[str, Any]] = []
    for uid, route in after.items():
        if uid not in before:
            found.append(_change(route, "added", []))
            continue
        fields = differs[uid]
        if fields or uid in moved:
            place = {"path": "/position", "was": places[0][uid], "is": places[1][uid]} if uid in moved else None
            found.append(_change(route, "changed" if fields else "moved", [*fields, *([place] if place else [])]))
    found += [_change(route, "removed", []) for uid, route in before.items() if uid not in after]
    if fields := _between("", (was["default"],), (now["default"],)):
        found.append({"route_id": None, "name": None, "change": "changed", "fields": fields})
    return found + _changes_of_services(was["services"], now["services"])


def _changes_of_services(was: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if was == now and canonical_bytes(was) == canonical_bytes(now):
        return []
    before, after = ({service["slug"]: service for service in services} for services in (was, now))
    found = []
    for slug in sorted({*before, *after}):
        fields: list[dict[str, Any]] = []
        if slug in before and slug in after:
            if not (fields := fields_between_services(before[slug], after[slug])):
                continue
            change = "changed"
        else:
            change = "added" if slug in after else "removed"
        found.append({"route_id": None, "service": slug, "name": slug, "change": change, "fields": fields})
    return found


def _change(route: dict[str, Any], change: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"route_id": route["id"], "name": route["name"], "change": change, "fields": fields}


def _moved(was: list[str], now: list[str], stays: dict[str, tuple[bool, bool]]) -> set[str]:
    """The fewest ids that have to change places to come from one order to the other: all but a longest common order. Of
    several such ones that in which most `stays` have their first member, and then their second."""
    place = {uid: index for index, uid in enumerate(was)}
    # For each place the best run that ends there or before it, in a Fenwick tree: how many ids it has, how many of them
    # with the first member and with the second, and the last of them.
    nothing = (0, 0, 0, "")
    best = [nothing] * (len(was) + 1)
    before: dict[str, str] = {}
    for uid in now:
        run, index = nothing, place[uid]
        while index:
            run, index = max(run, best[index]), index & (index - 1)
        before[uid] = run[3]
        first, second = stays[uid]
        run, index = (run[0] + 1, run[1] + first, run[2] + second, uid), place[uid] + 1
        while index <= len(was):
            best[index], index = max(best[index], run), index + (index & -index)
    run, index = nothing, len(was)
    while index:
        run, index = max(run, best[index]), index & (index - 1)
    kept, uid = set(), run[3]
    while uid:
        kept.add(uid)
        uid = before[uid]
    return set(was) - kept
