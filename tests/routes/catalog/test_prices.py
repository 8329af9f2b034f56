from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from audit.models import AuditEntry
from routes.catalog.models import ModelPrice
from routes.catalog.services import install_shipped_prices, price_document, price_table, prices_for
from routes.engine.canonical import canonical_bytes
from routes.engine.errors import DocumentRejected
from routes.engine.prices import PriceTable
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
    nano = [price.input_nano_per_million for price in price_table(other).prices]
    assert nano == [37_500_000]


# --- The price document ---------------------------------------------------------------------------------------------

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def a_price(model: str = "m", input: str = "1", output: str = "1", **columns: Any) -> ModelPrice:
    return ModelPrice.objects.create(
        **{"provider": "p", "model": model, **columns},
        input_usd_per_million=Decimal(input),
        output_usd_per_million=Decimal(output),
    )


def loaded(org: Organization | None) -> PriceTable:
    """What a gateway has of these prices."""
    return PriceTable.from_document(canonical_bytes(price_document(org)))


def test_a_gateway_loads_the_prices_as_the_rows_have_them(org: Organization) -> None:
    a_price(
        "full", "0.0375", "999999.999999999", org=org,
        cached_input_usd_per_million=Decimal("0.000000001"), max_input_tokens=128_000, max_output_tokens=16_384,
        since=NOW.astimezone(timezone(timedelta(hours=2))) + timedelta(microseconds=1), retires_on=date(2027, 3, 31),
    )  # fmt: skip
    a_price("plain", "8.2", "10")
    table = loaded(org)
    assert table.prices == price_table(org).prices
    full, plain = table.prices
    assert (full.input_nano_per_million, full.output_nano_per_million) == (37_500_000, 999_999_999_999_999)
    assert full.cached_input_nano_per_million == 1
    assert (full.max_input_tokens, full.max_output_tokens, full.retires_on) == (128_000, 16_384, date(2027, 3, 31))
    assert (full.since, full.negotiated) == (NOW + timedelta(microseconds=1), True)
    assert (plain.input_nano_per_million, plain.since, plain.negotiated) == (8_200_000_000, None, False)
    assert (plain.cached_input_nano_per_million, plain.max_input_tokens, plain.retires_on) == (None, None, None)
    assert table.digest() == price_table(org).digest()


def test_the_shipped_prices_are_a_document(org: Organization) -> None:
    added = install_shipped_prices(by=BY)
    table = loaded(org)
    assert len(table.prices) == added
    assert table.estimate("gpt-4o", 1_000, 500, NOW) == 0.0075


def test_a_document_has_everybody_s_prices_and_its_organisation_s_own_alone(org: Organization) -> None:
    other = an_org("other")
    a_price(input="3")
    a_price(input="2", org=org)
    a_price(input="1", org=other)
    assert [loaded(whose).estimate("m", 10**6, 0, NOW) for whose in (org, other, None)] == [2, 1, 3]
    assert [len(loaded(whose).prices) for whose in (org, other, None)] == [2, 2, 1]
    assert [loaded(whose).org_id for whose in (org, other, None)] == [str(org.id), str(other.id), None]


def test_a_document_says_when_it_was_read(org: Organization) -> None:
    assert price_document(org, as_of=NOW)["as_of"] == "2026-05-01T00:00:00.000000Z"
    before = datetime.now(UTC)
    as_of = loaded(org).as_of
    assert as_of is not None
    assert before <= as_of <= datetime.now(UTC)


def test_the_digest_of_a_document_changes_with_its_prices_and_not_with_time(org: Organization) -> None:
    a_price()
    first = price_document(org, as_of=NOW)["digest"]
    a_price(org=an_org("other"))
    assert price_document(org, as_of=NOW + timedelta(days=1))["digest"] == first
    ModelPrice.objects.filter(org=None).update(max_output_tokens=1)
    assert price_document(org, as_of=NOW)["digest"] != first


def test_a_document_costs_one_query_however_many_prices(org: Organization, django_assert_num_queries: Any) -> None:
    for number in range(5):
        a_price(f"m{number}", org=org if number % 2 else None)
    with django_assert_num_queries(1):
        price_document(org)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"cached_input_usd_per_million": Decimal(-1)}, "cached_input_usd_per_million: From 0"),
        ({"provider": " "}, r"prices\[0\]\.provider: This text is blank"),
        ({"model": "m\n"}, r"prices\[0\]\.model: Control characters"),
    ],
)
def test_a_row_that_no_gateway_would_load_is_refused_by_name(
    org: Organization, columns: dict[str, Any], match: str
) -> None:
    a_price(**columns)
    with pytest.raises(DocumentRejected, match=match):
        price_document(org)
