"""A service and its paths as people read them: "GET /users/* → https://users.example", "3 paths to users.example".

Everything is given in the document's keys. What no engine could read is left out, never an error: rows may have been
written by hand.
"""

from typing import Any, Final

from routes.orgs.lookup import host_and_port

#: So many hosts are named in one line, and so many paths that differ.
_NAMED: Final = 3
_FEW: Final = 8
#: The timeouts by key, as forms and sentences call them.
TIMEOUTS: Final = {
    "connect_seconds": "to connect",
    "first_byte_seconds": "until the answer begins",
    "idle_seconds": "between two parts of it",
}


def upstreams_of(service: dict[str, Any]) -> list[str]:
    """The hosts to which the paths of a service lead, each once, in their order."""
    places = (host_and_port(str(path.get("target_url"))) for path in _paths(service))
    return list(dict.fromkeys(place[0] for place in places if place is not None))


def upstreams_in_short(service: dict[str, Any]) -> str:
    hosts = upstreams_of(service)
    more = f" and {len(hosts) - _NAMED:,} more" if len(hosts) > _NAMED else ""
    return ", ".join(hosts[:_NAMED]) + more


def paths_counted(service: dict[str, Any]) -> str:
    count = len(_paths(service))
    return f"{count:,} path{'' if count == 1 else 's'}" if count else "no paths"


def line_of_service(service: dict[str, Any] | None) -> str:
    """One line: how many paths, to which hosts, whether it is served. Empty for none."""
    if service is None:
        return ""
    hosts = upstreams_in_short(service)
    waits = timeouts_in_words(service.get("timeouts") or {})
    return (
        f"{paths_counted(service)}{f' to {hosts}' if hosts else ''}{f', waits {waits}' if waits else ''}"
        f"{'' if service.get('enabled', True) else ', disabled'}"
    )


def timeouts_in_words(timeouts: dict[str, Any]) -> str:
    """Of those that are set: "2 s to connect, 30 s until the answer begins"."""
    return ", ".join(f"{timeouts[key]} s {words}" for key, words in TIMEOUTS.items() if key in timeouts)


def path_in_words(path: dict[str, Any]) -> str:
    """Which requests a path takes and where they go."""
    off = "" if path.get("enabled", True) else " (disabled)"
    return f"{asked_in_words(path)} → {path.get('target_url')}{off}"


def asked_in_words(path: dict[str, Any]) -> str:
    """Which requests a path takes: "GET or POST /users/:id with x-beta: 1"."""
    methods = " or ".join(map(str, path.get("methods") or ()))
    headers = "".join(
        f" with {name}: {' or '.join(map(str, values))}" for name, values in (path.get("headers") or {}).items()
    )
    return f"{methods}{' ' if methods else ''}{path.get('pattern')}{headers}"


def differences_of_services(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed in the paths, one text each: "/a/*: https://x → https://y", "added: …", "removed: …"."""
    before, after = _paths(was), _paths(now)
    gone = [path for path in before if path not in after]
    new = [path for path in after if path not in before]
    told = []
    for path in new:
        old = next((each for each in gone if asked_in_words(each) == asked_in_words(path)), None)
        if old is None:
            told.append(f"added: {path_in_words(path)}")
            continue
        gone.remove(old)
        told.append(f"{asked_in_words(path)}: {_effect(old)} → {_effect(path)}")
    told += [f"removed: {path_in_words(path)}" for path in gone]
    if not told and before != after:
        told = ["its paths stand in another order"]
    return told[:_FEW] + ([f"{len(told) - _FEW:,} more: see by field"] if len(told) > _FEW else [])


def _effect(path: dict[str, Any]) -> str:
    return f"{path.get('target_url')}{'' if path.get('enabled', True) else ' (disabled)'}"


def _paths(service: dict[str, Any]) -> list[dict[str, Any]]:
    paths = service.get("paths")
    return [path for path in paths if isinstance(path, dict)] if isinstance(paths, list) else []
