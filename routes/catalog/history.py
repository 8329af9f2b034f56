"""What each model costs, cost and will cost, to look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import QuerySet, Value
from django.db.models.functions import Concat

from routes.catalog.listed import Key
from routes.catalog.models import ModelPrice
from routes.catalog.services import prices_for
from routes.orgs.models import Organization

_EVER = datetime.min.replace(tzinfo=UTC)
#: A model that retires within so many days is pointed out.
SOON_DAYS = 90


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """A price and what it is at a time: `in force`, `later`, `past`, or `overruled` by one that is negotiated."""

    row: ModelPrice
    state: str


@dataclass(frozen=True, slots=True)
class PricedModel:
    """The prices of a model, first the one in force where there is one, then the others from the latest to the first.

    `retirement` is None, `retired` or `soon` (within 90 days), by the price in force.
    """

    provider: str
    model: str
    prices: tuple[DatedPrice, ...]
    retirement: str | None


def priced_models(org: Organization, words: str = "") -> QuerySet[ModelPrice, Key]:
    """(provider, model) of everything with a price here, whose `provider/model` holds all of these words, in order."""
    rows = prices_for(org).annotate(name=Concat("provider", Value("/"), "model"))
    for word in words.split()[:10]:
        rows = rows.filter(name__icontains=word)
    return rows.order_by("provider", "model").values_list("provider", "model").distinct()


def histories(org: Organization, keys: Iterable[Key], *, at: datetime) -> list[PricedModel]:
    """The models with all their prices, as they are at `at` (aware), in the order of `keys`. One query."""
    found: dict[Key, list[ModelPrice]] = {key: [] for key in keys}
    rows = prices_for(org).filter(
        provider__in={provider for provider, _ in found}, model__in={model for _, model in found}
    )
    for row in rows:
        if (row.provider, row.model) in found:
            found[row.provider, row.model].append(row)
    return [_history(key, rows, at) for key, rows in found.items() if rows]


def _history(key: Key, rows: list[ModelPrice], at: datetime) -> PricedModel:
    # From the weakest to the strongest, as `PriceTable` has them.
    rows = sorted(rows, key=lambda row: (row.org_id is not None, row.since or _EVER))
    begun = {kind: [r for r in rows if (r.org_id is not None) == kind and _has_begun(r, at)] for kind in (False, True)}
    listed = []
    for row in reversed(rows):
        kind: Any = row.org_id is not None
        state = "in force"
        if not _has_begun(row, at):
            state = "later"
        elif begun[kind][-1] is not row:
            state = "past"
        elif not kind and begun[True]:
            state = "overruled"
        listed.append(DatedPrice(row, state))
    listed.sort(key=lambda price: price.state != "in force")
    return PricedModel(*key, tuple(listed), _retirement(listed[0].row.retires_on, at.astimezone(UTC).date()))


def _has_begun(row: ModelPrice, at: datetime) -> bool:
    return row.since is None or row.since <= at


def _retirement(day: date | None, today: date) -> str | None:
    if day is None or (day - today).days > SOON_DAYS:
        return None
    return "retired" if day <= today else "soon"
