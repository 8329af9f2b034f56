from decimal import Decimal

import pytest

from audit.models import AuditEntry
from plans.prices import price_list
from routes.catalog.models import ModelPrice
from routes.catalog.services import install_shipped_prices, prices_for
from routes.orgs.models import Organization
from tests.build import BY, an_org

pytestmark = pytest.mark.django_db


def test_shipped_prices_are_added_once_named_by_source_and_logged() -> None:
    added = install_shipped_prices(by=BY)
    assert added == ModelPrice.objects.count() > 20
    assert install_shipped_prices(by=BY) == 0
    entry = AuditEntry.objects.get(action="prices.imported")
    assert entry.org_id is None
    price = ModelPrice.objects.get(provider="openai", model="gpt-4o")
    assert (price.input_usd_per_million, price.output_usd_per_million) == (Decimal("2.5"), Decimal(10))
    assert price.since is None
    assert "2026" in price.source


def test_a_price_that_is_there_stays_as_it_is() -> None:
    ModelPrice.objects.create(
        provider="openai", model="gpt-4o", input_usd_per_million=Decimal(7), output_usd_per_million=Decimal(8)
    )
    install_shipped_prices(by=BY)
    assert ModelPrice.objects.get(provider="openai", model="gpt-4o").input_usd_per_million == 7


def test_negotiated_prices_are_only_for_their_organisation(org: Organization) -> None:
    other = an_org("other")
    fields = {"provider": "p", "model": "m", "output_usd_per_million": Decimal(1)}
    ModelPrice.objects.create(input_usd_per_million=Decimal("0.0375"), **fields)
    ModelPrice.objects.create(input_usd_per_million=Decimal("0.01"), org=org, **fields)
    assert prices_for(other).count() == 1
    assert prices_for(org).count() == 2
    nano = [price.input_nano_per_million for price in price_list(other).prices]
    assert nano == [37_500_000]
