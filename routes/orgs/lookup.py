"""Where URLs of upstreams lead: what is said of addresses, and of names, which are looked up for it.

A gateway judges every address again when it connects: what a name leads to may change.
"""

import socket
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from routes.engine.egress import PrivateUpstream, forbidden_reason, literal_address

#: So long a page or a caller waits for all names together.
SECONDS: Final = 2.0
#: So many names are looked up at a time.
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


def refused(url: str, private_upstreams: Iterable[PrivateUpstream]) -> str | None:
    """Why no gateway asks the address that stands in this URL; None where one would, or where a name stands there."""
    place = host_and_port(url)
    if place is None or (address := literal_address(place[0])) is None:
        return None
    return forbidden_reason(address, place[1], tuple(private_upstreams))


def names_of(urls: Iterable[str]) -> list[str]:
    """The names, not addresses, to which these URLs lead, each once, in their order."""
    places = (host_and_port(url) for url in urls)
    return list(dict.fromkeys(place[0] for place in places if place is not None and literal_address(place[0]) is None))


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

    def told(self, url: str, private_upstreams: Iterable[PrivateUpstream]) -> tuple[str, str] | None:
        """A code and a sentence where it is odd to where the name in this URL leads."""
        place = host_and_port(url)
        if place is None or literal_address(place[0]) is not None:
            return None
        return self._told(*place, tuple(private_upstreams))

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
