"""The price documents that gateways load, kept in memory by the edition of the prices."""

from collections import OrderedDict
from threading import Lock
from typing import Final
from uuid import UUID

from routes.catalog.models import PriceEdition
from routes.catalog.services import price_document
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization

#: Of so many organisations; the document of the published table has 300 KB.
KEPT: Final = 64


#: Of the organisation (None: of everybody) the ETag of a document, and the document.
_kept: OrderedDict[UUID | None, tuple[str, bytes]] = OrderedDict()
_lock = Lock()


class ServedPrices:
    """The price document of this organisation (None: of everybody) as it is sent. One query.

    `etag` names the editions that it is made of; None where nobody ever wrote a price.
    """

    def __init__(self, org: Organization | None) -> None:
        scopes = [PriceEdition.EVERYBODY, *([] if org is None else [str(org.pk)])]
        editions = PriceEdition.objects.in_bulk(scopes)
        self._org = org
        self._as_of = max((edition.changed_at for edition in editions.values()), default=None)
        names = [editions[scope].edition.hex for scope in scopes if scope in editions]
        self.etag = f'"{".".join(names)}"' if names else None

    def read(self) -> bytes:
        """The document, whose `as_of` is when the prices last changed. One more query where it is not in memory. Raises
        `DocumentRejected` like `price_document`."""
        if self.etag is None:
            return canonical_bytes(price_document(self._org))
        key = None if self._org is None else self._org.pk
        with _lock:
            etag, data = _kept.get(key, ("", b""))
            if etag == self.etag:
                _kept.move_to_end(key)
                return data
        # They may be newer than the edition: then the next question finds another edition, and the prices again.
        data = canonical_bytes(price_document(self._org, as_of=self._as_of))
        with _lock:
            _kept[key] = self.etag, data
            _kept.move_to_end(key)
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
        return data
