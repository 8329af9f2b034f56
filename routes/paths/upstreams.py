"""Where the targets of a service lead: addresses that no gateway would ask are refused, names are looked up for a warning.

A gateway judges every address again when it connects: what a name leads to may change, and is nothing to refuse a change
for.
"""

import socket
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from routes.engine.egress import PrivateUpstream, forbidden_reason, literal_address
from routes.engine.errors import Issue

#: So long a page or a caller waits for all names together.
SECONDS: Final = 2.0
#: So many names of one service are looked up.
MOST: Final = 32
#: Of the whole process: lookups that hang hold their threads until the system gives up.
_free = threading.BoundedSemaphore(64)


def host_and_port(target_url: str) -> tuple[str, int] | None:
    """Where a target leads; None for what is no target."""
    try:
        parts = urlsplit(target_url)
        if not parts.hostname:
            return None
        return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def literals_refused(
    service: dict[str, Any], private_upstreams: Iterable[PrivateUpstream], *, before: dict[str, Any] | None = None
) -> list[Issue]:
    """What is wrong with the targets of a service, in the document's keys, that are addresses and no names. Those that it
    had before do not count: whoever changes something else need not mend what another list allowed."""
    known = {path.get("target_url") for path in (before or {}).get("paths", ())}
    allowed = tuple(private_upstreams)
    issues: list[Issue] = []
    for index, path in enumerate(service["paths"]):
        place = None if path["target_url"] in known else host_and_port(path["target_url"])
        if place is None or (address := literal_address(place[0])) is None:
            continue
        if (reason := forbidden_reason(address, place[1], allowed)) is not None:
            where = f"paths[{index}].target_url"
            issues.append({"path": where, "code": "egress_denied", "message": f"No gateway asks this. {reason}"})
    return issues


def names_in(paths: Any) -> list[str]:
    """The names, not addresses, to which these paths lead, as far as they are paths: each once, in their order."""
    found: dict[str, None] = {}
    for path in paths if isinstance(paths, list) else ():
        target = path.get("target_url") if isinstance(path, dict) else None
        place = host_and_port(target) if isinstance(target, str) else None
        if place is not None and literal_address(place[0]) is None:
            found[place[0]] = None
    return list(found)


class Lookup:
    """What names lead to, looked up all at once; outside a transaction, because somebody waits.

    Of a name that had no answer in time, or that is beyond the first `MOST`, nothing is known.
    """

    def __init__(self, names: Sequence[str], *, seconds: float = SECONDS) -> None:
        #: By name: its addresses, none where there is no such name.
        self.addresses: dict[str, list[str]] = {}
        self._done = threading.Condition()
        self._names = frozenset(names)
        asked = [name for name in names[:MOST] if self._ask(name)]
        deadline = time.monotonic() + seconds
        with self._done:
            while len(self.addresses) < len(asked) and (left := deadline - time.monotonic()) > 0:
                self._done.wait(left)
            self.addresses = dict(self.addresses)  # what comes later comes too late

    def _ask(self, name: str) -> bool:
        free = _free
        if not free.acquire(blocking=False):
            return False
        # Not waited for at the end of the process: nothing breaks off a lookup.
        threading.Thread(target=self._look, args=(name, self.addresses, free), daemon=True).start()
        return True

    def _look(self, name: str, found: dict[str, list[str]], free: threading.Semaphore) -> None:
        try:
            addresses = addresses_of(name)
        finally:
            free.release()
        with self._done:
            found[name] = addresses
            self._done.notify()

    def findings(self, service: dict[str, Any], private_upstreams: Iterable[PrivateUpstream]) -> list[dict[str, Any]]:
        """What is odd about those of these names to which a service leads: `[{"code", "severity", "path", "message"}]`."""
        allowed = tuple(private_upstreams)
        found = []
        for index, path in enumerate(service["paths"]):
            place = host_and_port(path["target_url"])
            if place is None or literal_address(place[0]) is not None:
                continue
            if told := self._told(place[0], place[1], allowed):
                where = f"paths[{index}].target_url"
                found.append({"code": told[0], "severity": "warning", "path": where, "message": told[1]})
        return found

    def _told(self, name: str, port: int, allowed: tuple[PrivateUpstream, ...]) -> tuple[str, str] | None:
        addresses = self.addresses.get(name)
        if name not in self._names:
            return None
        if addresses is None:
            return "upstream_not_looked_up", f"What the name {name} leads to could not be found out in time."
        if not addresses:
            return "upstream_unknown", f"The name {name} leads nowhere: requests to it would fail."
        reasons = [reason for address in addresses if (reason := forbidden_reason(address, port, allowed))]
        if reasons:
            return "upstream_forbidden", f"The name {name} would not be asked. {reasons[0]}"
        return None


def addresses_of(name: str) -> list[str]:
    """What the system's resolver says, as text without zones; nothing where it knows no such name."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers))
