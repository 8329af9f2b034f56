"""Prices in a real browser: a table is compared, looked at and imported, light, dark and on a phone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from routes.catalog.models import ModelPrice
from routes.orgs.models import Organization
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import COLORS, LEVELS, accessible, shot
from tests.build import a_person, an_org, usual_prices
from tests.routes.catalog.build import entry, table

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    org = an_org(environment="production")
    usual_prices()
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "provider": "openai",
        "output_usd_per_million": 8,
        "source": "LiteLLM price table, t.json",
    }
    ModelPrice.objects.create(model="gpt-4o", input_usd_per_million=2, since=now - timedelta(days=30), **fields)
    ModelPrice.objects.create(model="gpt-4o", input_usd_per_million=1, since=now + timedelta(days=30), **fields)
    retiring = {"retires_on": (now + timedelta(days=20)).date(), **fields}
    ModelPrice.objects.create(model="o1", input_usd_per_million="1.234567891", org=org, **retiring)
    ModelPrice.objects.create(model="o1", input_usd_per_million=15, **retiring)
    return org


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model_prices_and_context_window.json"
    more = {
        f"fireworks_ai/accounts/fireworks/models/a-model-with-a-long-name-{number}": entry(
            "9e-7", "9e-7", litellm_provider="fireworks_ai"
        )
        for number in range(12)
    }
    path.write_bytes(
        table(
            **{
                "gpt-4o": entry("2.5e-6", "6e-6", cache_read_input_token_cost=1.25e-6, supports_vision=True),
                "gpt-4o-mini": entry("1.5e-7", "6e-7", deprecation_date="2027-10-01", max_input_tokens="128000"),
                "azure/eu/gpt-4o": entry("2.75e-6", litellm_provider="azure"),
                "gpt-broken": entry("-1"),
                "n" * 300: entry(),
                "dall-e-3": entry(None, None, mode="image_generation", output_cost_per_image=0.04),
                **more,
            }
        )
    )
    return path


def look(someone: Visitor, name: str) -> None:
    """Light, dark and on a phone."""
    page = someone.page
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        someone.check()
        accessible(page, COLORS if dark else LEVELS)
        shot(page, f"{name}{'-phone' if width == 390 else ''}{'-dark' if dark else ''}")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


def test_a_table_is_compared_looked_at_and_imported(
    org: Organization, file: Path, visitor: Callable[[Any], Visitor]
) -> None:
    root = visitor(a_person("root", is_superuser=True))
    page = root.visit(f"/admin/o/{org.slug}/prices/")
    look(root, "prices-history")
    page.get_by_role("link", name="Add or import prices").click()
    page.get_by_role("button", name="Show what would change").click()
    says(page, "Choose a file, or type the price of a model.")
    look(root, "prices-import-refused")

    page.get_by_label("Price table").set_input_files(file)
    page.get_by_label("Whose prices these are").select_option("everybody")
    page.get_by_label("Only these providers").fill("opneai")
    page.get_by_role("button", name="Show what would change").click()
    says(page, "There are no prices of opneai in this file.")
    says(page, "model_prices_and_context_window.json is kept.")
    page.get_by_label("Only these providers").fill("")
    page.get_by_role("button", name="Show what would change").click()
    says(page, "1 changed, 13 added, 1 with other facts")
    says(page, "Input 2 → 2.5 +25.0%")
    says(page, "input_cost_per_token is below 0: -1")
    says(page, "openai/o1")
    look(root, "prices-compared")
    page.get_by_role("button", name="Import these prices").click()
    says(page, "1 changed, 13 added, 1 with other facts. Audit receipt: entry")
    assert ModelPrice.objects.filter(model="gpt-4o", provider="openai").count() == 4

    page.get_by_label("Model or provider").fill("openai gpt-4o")
    page.get_by_role("button", name="Search").click()
    assert page.locator("tbody tr").count() == 5
    assert page.locator("tbody tr").first.inner_text().split("\t")[2] == "2.5"
    look(root, "prices-found")
    page.get_by_label("Model or provider").fill("nothing like it")
    page.get_by_role("button", name="Search").click()
    says(page, "No model or provider fits")
    root.check()


def test_an_admin_imports_negotiated_prices_and_is_offered_no_others(
    org: Organization, file: Path, visitor: Callable[[Any], Visitor]
) -> None:
    ada = visitor(a_person("ada", org, "admin"))
    page = ada.visit(f"/admin/o/{org.slug}/prices/import/")
    assert page.get_by_label("Whose prices these are").locator("option").count() == 1
    page.get_by_label("Price table").set_input_files(file)
    page.get_by_label("Only these providers").fill("openai")
    page.get_by_label("In force since (UTC)").fill("2030-01-01T00:00")
    page.get_by_role("button", name="Show what would change").click()
    says(page, "0 changed, 2 added")
    says(page, "Other providers, left out 13")
    assert page.get_by_label("In force since (UTC)").input_value() == "2030-01-01T00:00"
    page.get_by_role("button", name="Import these prices").click()
    says(page, "0 changed, 2 added, 0 with other facts. Audit receipt: entry")
    rows = ModelPrice.objects.filter(org=org, model__startswith="gpt")
    assert {row.since for row in rows} == {datetime(2030, 1, 1, tzinfo=UTC)}
    ada.check()


def test_who_may_not_import_is_not_offered_to(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    arno = visitor(a_person("arno", org, "approver"))
    page = arno.visit(f"/admin/o/{org.slug}/prices/")
    assert page.get_by_role("link", name="Add or import prices").count() == 0
    arno.check()
