"""The price table. Only writer of `ModelPrice`."""

import json
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.services import record
from routes.catalog.models import ModelPrice
from routes.engine.prices import Price, PriceTable
from routes.orgs.models import Organization

SHIPPED = Path(__file__).with_name("prices.json")


@cache
def _shipped() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"), parse_float=Decimal)
    return table


def shipped_source() -> str:
    """Where the shipped figures come from, and of which day they are."""
    table = _shipped()
    return f"{table['source']}, {table['as_of']}"


def install_shipped_prices(*, by: Any) -> int:
    """Add the shipped prices that are not in the table yet; answers how many. Existing prices stay as they are.

    They have no start, so they price traffic of any time.
    """
    source = shipped_source()
    with transaction.atomic():
        known = set(ModelPrice.objects.filter(org=None, since=None).values_list("provider", "model"))
        new = [
            ModelPrice(**price, source=source)
            for price in _shipped()["prices"]
            if (price["provider"], price["model"]) not in known
        ]
        if new:
            ModelPrice.objects.bulk_create(new)
            record(
                None,
                by=by,
                action="prices.imported",
                target=("prices", "shipped"),
                payload={"source": source, "added": len(new)},
            )
    return len(new)


def prices_for(org: Organization | None) -> QuerySet[ModelPrice]:
    """Everybody's prices and those negotiated for this organisation; for None everybody's alone."""
    return ModelPrice.objects.filter(Q(org=None) | Q(org=org)).order_by("provider", "model", "since", "pk")


def price_table(org: Organization | None, *, as_of: datetime | None = None) -> PriceTable:
    """The prices that hold for this organisation (None: for everybody), to look up and to compute with. One query.

    `as_of` says when they were read: now, unless given.
    """
    return PriceTable(
        [
            Price(
                provider=row.provider,
                model=row.model,
                input_nano_per_million=_nano(row.input_usd_per_million),
                output_nano_per_million=_nano(row.output_usd_per_million),
                cached_input_nano_per_million=(
                    None if row.cached_input_usd_per_million is None else _nano(row.cached_input_usd_per_million)
                ),
                since=row.since,
                negotiated=row.org_id is not None,
                max_input_tokens=row.max_input_tokens,
                max_output_tokens=row.max_output_tokens,
                retires_on=row.retires_on,
            )
            for row in prices_for(org)
        ],
        org_id=None if org is None else org.id,
        as_of=timezone.now() if as_of is None else as_of,
    )


def price_document(org: Organization | None, *, as_of: datetime | None = None) -> dict[str, Any]:
    """The price document of this organisation (None: of everybody), which `PriceTable.from_document` loads in a gateway.

    Its digest changes only with the prices. Raises `DocumentRejected`, and names the row, where a row of the table is
    none that a gateway would load: a negative price for cached input, say, which no constraint refuses.
    """
    return price_table(org, as_of=as_of).to_document()


def _nano(usd: Decimal) -> int:
    return int(usd * 1_000_000_000)  # exact: the columns have nine decimals
