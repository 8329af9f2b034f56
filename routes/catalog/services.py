"""The price table. Only writer of `ModelPrice` and `PriceEdition`."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from audit.services import Receipt, plain, record
from routes.catalog.comparison import ImportPlan, PriceChange, compare
from routes.catalog.listed import FACTS, FIGURES, PriceList
from routes.catalog.models import ModelPrice, PriceEdition
from routes.engine.prices import MAX_PRICES, Price, PriceTable
from routes.errors import RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.transactions import repeated

SHIPPED = Path(__file__).with_name("prices.json")
#: So many models whose facts were changed in place are named in the log's entry; all of them are counted there.
MAX_RECORDED = 200


class PricesChanged(RoutesError):
    """What would be imported is not what was shown; `plan` is what would be imported now."""

    code = "prices_changed"

    def __init__(self, plan: ImportPlan) -> None:
        super().__init__("The prices changed after they were compared. Look at what would change now.")
        self.plan = plan


class UnknownProvider(RoutesError):
    """The file has no prices of a provider that was asked for."""

    code = "unknown_provider"


class SinceTaken(RoutesError):
    """A model has another price that starts at exactly this time, and history is not overwritten."""

    code = "since_taken"


class TooManyPrices(RoutesError):
    """A gateway would not load so many prices."""

    code = "too_many_prices"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did. `receipt` is None where nothing was different, and nothing was recorded."""

    plan: ImportPlan
    receipt: Receipt | None


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
        _lock_table()
        known = set(ModelPrice.objects.filter(org=None, since=None).values_list("provider", "model"))
        new = [
            ModelPrice(**price, source=source)
            for price in _shipped()["prices"]
            if (price["provider"], price["model"]) not in known
        ]
        if new:
            ModelPrice.objects.bulk_create(new)
            _name_edition(None)
            record(
                None,
                by=by,
                action="prices.imported",
                target=("prices", "shipped"),
                payload={"source": source, "added": len(new)},
            )
    return len(new)


# --- Importing ------------------------------------------------------------------------------------------------------


def plan_import(
    file: PriceList,
    *,
    org: Organization | None = None,
    since: datetime | None = None,
    providers: Collection[str] = (),
) -> ImportPlan:
    """What importing this file would change now: everybody's prices, or for an organisation those negotiated with it.

    `since` (aware) is when changed prices start, None: the moment of the import; `compare` says what it means to those
    that are added. `providers` restricts. Raises `UnknownProvider`, `SinceTaken` and `TooManyPrices`. Changes nothing.
    """
    if missing := sorted(set(providers) - set(file.providers)):
        has = ", ".join(file.providers[:20]) or "none"
        raise UnknownProvider(f"There are no prices of {', '.join(missing)} in this file. It has: {has}.")
    everybody = ModelPrice.objects.filter(org=None)
    plan = compare(
        file,
        everybody if org is None else ModelPrice.objects.filter(org=org),
        org_id=None if org is None else org.pk,
        at=timezone.now() if since is None else since,
        since=since,
        providers=set(providers),
        priced_for_all=set() if org is None else set(everybody.values_list("provider", "model")),
    )
    taken = ["/".join(change.key) for change in plan.changed if change.row and change.since == change.row.since]
    if taken:
        more = f" and {len(taken) - 1:,} more" if len(taken) > 1 else ""
        raise SinceTaken(f"{taken[0]}{more} has another price from exactly this time on. Choose another time.")
    _check_count(plan, org)
    return plan


@repeated
def import_prices(
    file: PriceList,
    *,
    by: Any,
    source: str,
    org: Organization | None = None,
    since: datetime | None = None,
    providers: Collection[str] = (),
    expected: str | None = None,
) -> Imported:
    """Do what `plan_import` says, in one transaction with one entry in the log, and keep history.

    A changed price becomes a new row that starts at `since` (None: now), with the facts of the old one and what the file
    says anew; the old row stays, so traffic from before keeps its price. Facts that no cost depends on change in the row
    itself and in those that follow: they are of the model and not of a time, and a second row with the same price would
    make history say that it changed; what they were is in the log. What the file has no longer stays. The same file
    again changes nothing and records nothing.

    `expected` is the digest of the plan that somebody saw. Raises `PricesChanged` where it would be another one now,
    `OrganizationFrozen`, and what `plan_import` raises. `source` says where the figures come from, for people.
    """
    with transaction.atomic():
        if org is not None:
            locked(org.pk)
        _lock_table()
        plan = plan_import(file, org=org, since=since, providers=providers)
        if not plan.changes:
            return Imported(plan, None)
        if expected is not None and expected != plan.digest:
            raise PricesChanged(plan)
        ModelPrice.objects.bulk_create(
            [_new_row(change, org, source) for change in (*plan.changed, *plan.added)], batch_size=500
        )
        ModelPrice.objects.bulk_update(_rows_with_new_facts(plan), FACTS, batch_size=100)
        _name_edition(org)
        receipt = record(
            plan.org_id,
            by=by,
            action="prices.imported",
            target=("prices", "everybody" if org is None else "negotiated"),
            payload={
                "source": source,
                "file": file.digest,
                "since": since,
                "providers": list(plan.providers),
                **plan.counts,
                "facts_changed": [
                    {
                        "provider": change.provider,
                        "model": change.model,
                        "fields": {field.field: [plain(field.old), plain(field.new)] for field in change.fields},
                    }
                    for change in plan.facts[:MAX_RECORDED]
                ],
            },
        )
    return Imported(plan, receipt)


def _lock_table() -> None:
    """Make writers of prices wait for each other, and readers not. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {ModelPrice._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def _name_edition(org: Organization | None) -> None:
    """Say that the prices of this scope are others now."""
    PriceEdition.objects.update_or_create(
        scope=PriceEdition.EVERYBODY if org is None else str(org.pk),
        defaults={"edition": uuid4(), "changed_at": timezone.now()},
    )


def _check_count(plan: ImportPlan, org: Organization | None) -> None:
    """Raises `TooManyPrices` where some organisation's gateways would have more than a price document may hold."""
    new = len(plan.changed) + len(plan.added)
    if not new:
        return
    counts = dict(ModelPrice.objects.order_by().values_list("org").annotate(rows=Count("pk")))
    everybody = counts.pop(None, 0)
    own = max(counts.values(), default=0) if org is None else counts.get(org.pk, 0)
    if everybody + own + new > MAX_PRICES:
        raise TooManyPrices(
            f"There would be {everybody + own + new:,} prices, with those of former times; gateways load"
            f" {MAX_PRICES:,}. Import fewer providers."
        )


def _new_row(change: PriceChange, org: Organization | None, source: str) -> ModelPrice:
    """The row that a changed or an added price becomes."""
    was = {} if change.row is None else {name: getattr(change.row, name) for name in FIGURES + FACTS}
    return ModelPrice(
        org=org,
        provider=change.provider,
        model=change.model,
        since=change.since,
        source=source,
        **{**was, **{field.field: field.new for field in change.fields}},
    )


def _rows_with_new_facts(plan: ImportPlan) -> list[ModelPrice]:
    """The rows of which only facts change, and those that follow any of which a fact changes."""
    rows = []
    for change in plan.changes:
        in_place = (*((change.row,) if change.kind == "facts" and change.row else ()), *change.later)
        for row in in_place if change.facts else ():
            for name, value in change.facts.items():
                setattr(row, name, value)
            rows.append(row)
    return rows


# --- Reading --------------------------------------------------------------------------------------------------------


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


def listed_table(listed: PriceList) -> PriceTable:
    """The prices of a file as a table of their own, in force since ever; nothing is stored."""
    return PriceTable(
        Price(
            provider=price.provider,
            model=price.model,
            input_nano_per_million=_nano(price.figures["input_usd_per_million"] or Decimal(0)),
            output_nano_per_million=_nano(price.figures["output_usd_per_million"] or Decimal(0)),
            cached_input_nano_per_million=None if cached is None else _nano(cached),
            retires_on=retires_on if isinstance(retires_on, date) else None,
        )
        for price in listed.prices
        for cached in (price.figures["cached_input_usd_per_million"],)
        for retires_on in (price.facts.get("retires_on"),)
    )


def price_document(org: Organization | None, *, as_of: datetime | None = None) -> dict[str, Any]:
    """The price document of this organisation (None: of everybody), which `PriceTable.from_document` loads in a gateway.

    Its digest changes only with the prices. Raises `DocumentRejected`, and names the row, where a row of the table is
    none that a gateway would load: a negative price for cached input, say, which no constraint refuses.
    """
    return price_table(org, as_of=as_of).to_document()


def _nano(usd: Decimal) -> int:
    return int(usd * 1_000_000_000)  # exact: the columns have nine decimals
