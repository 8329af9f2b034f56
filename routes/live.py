"""What is live, kept in memory: the document of an organisation's newest version, its bytes and its engine.

For the doors of this application. A version's content never changes, so what is kept is never stale: whoever asks has read
the organisation's row, which names the version. Gateways have the engine's own cache.
"""

from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import Final

from routes import engine
from routes.document import document_of
from routes.orgs.models import Organization

#: Of so many organisations; each has up to 4 MiB of bytes.
KEPT: Final = 64


class Live:
    """One version as it is served."""

    def __init__(self, document: engine.Document) -> None:
        self.document = document

    @cached_property
    def data(self) -> bytes:
        """What a gateway loads."""
        return self.document.to_bytes()

    @cached_property
    def engine(self) -> engine.Engine:
        return engine.Engine.from_document(self.document)


#: By what the document says of its organisation, the least recently used first.
_kept: OrderedDict[tuple[str, int, str, str], Live] = OrderedDict()
_lock = Lock()


def live(org: Organization) -> Live:
    """The organisation's newest version; one query where it is not in memory."""
    key = (str(org.pk), org.version, org.slug, org.status)
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
            return found
    document = document_of(org)
    found = Live(document)
    # It may be newer than what the caller read of the organisation; it is kept as what it is.
    key = (key[0], document.version, *key[2:])
    with _lock:
        found = _kept.setdefault(key, found)
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found
