"""From price rows to the values that the replay computes with."""

from plans.replay.prices import PriceList
from routes.catalog.services import price_table
from routes.orgs.models import Organization


def price_list(org: Organization) -> PriceList:
    """The prices that hold for this organisation, as integers of nano-dollars per million tokens."""
    return PriceList(price_table(org).prices)
