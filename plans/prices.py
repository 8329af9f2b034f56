"""From price rows to the values that the replay computes with."""

from decimal import Decimal

from plans.replay.prices import Price, PriceList
from routes.catalog.services import prices_for
from routes.orgs.models import Organization


def price_list(org: Organization) -> PriceList:
    """The prices that hold for this organisation, as integers of nano-dollars per million tokens."""
    return PriceList(
        [
            Price(
                provider=row.provider,
                model=row.model,
                since=row.since,
                input_nano_per_million=_nano(row.input_usd_per_million),
                output_nano_per_million=_nano(row.output_usd_per_million),
                cached_input_nano_per_million=(
                    None if row.cached_input_usd_per_million is None else _nano(row.cached_input_usd_per_million)
                ),
                negotiated=row.org_id is not None,
            )
            for row in prices_for(org)
        ]
    )


def _nano(usd: Decimal) -> int:
    return int(usd * 1_000_000_000)  # exact: the columns have nine decimals
