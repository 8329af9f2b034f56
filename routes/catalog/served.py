"""The price documents that gateways load, kept in memory by the edition of the prices."""

from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple
from uuid import UUID

from routes.catalog.models import PriceEdition
from routes.catalog.services import price_document
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization

#: Of so many organisations; the document of the published table has 300 KB.
KEPT: Final = 64


class ServedPrices(NamedTuple):
    """A price document as it is sent, and its ETag; None where nobody ever wrote a price."""

    etag: str | None
    data: bytes


#: Of the organisation (None: of everybody) the editions that the document was made of, and the document.
_kept: OrderedDict[UUID | None, ServedPrices] = OrderedDict()
_lock = Lock()


def served_prices(org: Organization | None) -> ServedPrices:
    """The price document of this organisation (None: of everybody). One query where it is in memory, two where not.

    Its `as_of` is when the prices last changed. Raises `DocumentRejected` like `price_document`.
    """
    scopes = [PriceEdition.EVERYBODY, *([] if org is None else [str(org.pk)])]
    editions = PriceEdition.objects.in_bulk(scopes)
    if not editions:
        return ServedPrices(None, canonical_bytes(price_document(org)))
    etag = f'"{".".join(editions[scope].edition.hex for scope in scopes if scope in editions)}"'
    key = None if org is None else org.pk
    with _lock:
        found = _kept.get(key)
        if found is not None and found.etag == etag:
            _kept.move_to_end(key)
            return found
    # They may be newer than the edition: then the next question finds another edition, and the prices again.
    as_of = max(edition.changed_at for edition in editions.values())
    found = ServedPrices(etag, canonical_bytes(price_document(org, as_of=as_of)))
    with _lock:
        _kept[key] = found
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found
