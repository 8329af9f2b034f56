"""The price table. Only writer of `ModelPrice`."""

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from audit.services import record
from routes.catalog.models import ModelPrice
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


def prices_for(org: Organization) -> QuerySet[ModelPrice]:
    """Everybody's prices and those negotiated for this organisation."""
    return ModelPrice.objects.filter(Q(org=None) | Q(org=org)).order_by("provider", "model", "since", "pk")
