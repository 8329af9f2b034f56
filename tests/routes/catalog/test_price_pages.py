"""The pages of prices: what there is to look at, and importing a file after looking at what it changes."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audit.models import AuditEntry
from routes.catalog import admin, forms
from routes.catalog.history import histories, priced_models
from routes.catalog.models import ModelPrice
from routes.orgs.models import Organization
from tests.build import a_person, an_org
from tests.routes.catalog.build import entry, own, table

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def signed_in(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def admin_of(org: Organization) -> Client:
    return signed_in(a_person("ada", org, "admin"))


@pytest.fixture
def staff(org: Organization) -> Client:
    return signed_in(a_person("root", is_superuser=True))


URL = "/admin/o/acme/prices/import/"


def sent(raw: bytes | list[Any], **fields: str) -> dict[str, Any]:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return {"file": SimpleUploadedFile("prices.json", raw), "whose": "negotiated", **fields}


def hidden(html: str) -> dict[str, str]:
    """The fields of the form that confirms."""
    form = html[html.index('class="toolbar confirm"') :]
    found = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form[: form.index("</form>")])
    return {name: unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}


def text_of(response: Any) -> str:
    return unescape(response.content.decode())


# --- Importing ------------------------------------------------------------------------------------------------------


def test_a_file_is_shown_and_then_imported(org: Organization, admin_of: Client) -> None:
    raw = table(a=entry(), b=entry("1e-6"), bad=entry("-1"), picture=entry(mode="image_generation"))
    shown = admin_of.post(URL, sent(raw))
    assert shown.status_code == 200
    html = text_of(shown)
    assert "0 changed, 2 added, 0 with other facts" in html
    assert "input_cost_per_token is below 0: -1" in html
    assert not ModelPrice.objects.exists(), "looking changes nothing"
    fields = hidden(shown.content.decode())
    done = admin_of.post(URL, fields, follow=True)
    assert done.redirect_chain == [("/admin/o/acme/prices/", 302)]
    assert "0 changed, 2 added, 0 with other facts. Audit receipt: entry" in text_of(done)
    row = ModelPrice.objects.get(model="b")
    assert (row.org, row.source) == (org, "LiteLLM price table, prices.json")
    entry_of = AuditEntry.objects.get(action="prices.imported")
    assert (entry_of.org_id, entry_of.actor_type) == (org.pk, "user")
    again = admin_of.post(URL, fields, follow=True)
    assert "Nothing was different." in text_of(again)
    assert AuditEntry.objects.filter(action="prices.imported").count() == 1


def test_the_changes_are_shown_with_what_was(staff: Client) -> None:
    rows = [own("gpt-4o", 2, 10), own("gone"), own("fact")]
    staff.post(URL, hidden(staff.post(URL, sent(rows, whose="everybody")).content.decode()))
    rows = [own("gpt-4o", 2.5, 8), own("fact", supports_images=True, max_input_tokens=128000)]
    html = text_of(staff.post(URL, sent(rows, whose="everybody", since="2026-12-01T00:00")))
    assert "1 changed, 0 added, 1 with other facts" in html
    assert 'Input 2 → <strong>2.5</strong> <span class="badge badge-warn">+25.0%</span>' in html
    assert 'Output 10 → <strong>8</strong> <span class="badge badge-ok">−20.0%</span>' in html
    assert "2026-12-01 00:00" in html
    assert "Images – → <strong>yes</strong>" in html
    assert "Input tokens at most – → <strong>128,000</strong>" in html
    assert "openai/gone" in html


def test_everybody_s_prices_are_for_installation_staff(org: Organization, admin_of: Client, staff: Client) -> None:
    assert "Everybody" not in admin_of.get(URL).content.decode()
    refused = admin_of.post(URL, sent([own()], whose="everybody"))
    assert refused.status_code == 422
    assert "everybody is not one of the available choices" in text_of(refused)
    confirm = hidden(staff.post(URL, sent([own()], whose="everybody")).content.decode())
    assert admin_of.post(URL, confirm).status_code == 422, "a confirmation of somebody else's is none"
    assert not ModelPrice.objects.exists()
    assert staff.post(URL, confirm).status_code == 302
    assert ModelPrice.objects.get().org is None


@pytest.mark.parametrize("role", ["viewer", "editor", "approver"])
def test_others_look_at_prices_and_import_none(org: Organization, role: str) -> None:
    client = signed_in(a_person("vera", org, role))
    assert "prices/import" not in client.get("/admin/o/acme/prices/").content.decode()
    assert client.get(URL).status_code == 403
    assert client.post(URL, sent([own()])).status_code == 403
    assert not ModelPrice.objects.exists()


def test_an_admin_of_another_organisation_finds_nothing(org: Organization) -> None:
    client = signed_in(a_person("eve", an_org("other"), "admin"))
    assert client.get(URL).status_code == client.post(URL, sent([own()])).status_code == 404
    assert not ModelPrice.objects.exists()


def test_a_confirmation_for_one_organisation_is_none_for_another(org: Organization) -> None:
    ada = a_person("ada", org, "admin")
    from routes.orgs.members import add_member

    add_member(an_org("other"), ada, role="admin", by=ada)
    client = signed_in(ada)
    confirm = hidden(client.post(URL, sent([own()])).content.decode())
    elsewhere = client.post("/admin/o/other/prices/import/", confirm)
    assert "The prices changed after they were compared" in text_of(elsewhere)
    assert not ModelPrice.objects.exists()


def test_what_changed_meanwhile_is_shown_anew_and_nothing_is_lost(admin_of: Client, org: Organization) -> None:
    confirm = hidden(admin_of.post(URL, sent([own(input=3)])).content.decode())
    ModelPrice.objects.create(
        org=org, provider="openai", model="gpt-4o", input_usd_per_million=2, output_usd_per_million=10
    )
    answer = admin_of.post(URL, confirm)
    assert "Nothing was imported." in text_of(answer)
    assert "1 changed, 0 added" in text_of(answer)
    assert ModelPrice.objects.count() == 1
    admin_of.post(URL, hidden(answer.content.decode()))
    assert ModelPrice.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"since": "soon"}, "since", "Enter a valid date/time."),
        ({"providers": "opneai"}, "providers", "There are no prices of opneai in this file. It has: openai."),
        ({"whose": "nobody"}, "whose", "not one of the available choices"),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_the_file_is_kept(
    admin_of: Client, fields: dict[str, str], field: str, why: str
) -> None:
    refused = admin_of.post(URL, sent([own("kept-one")], **fields))
    assert refused.status_code == 422
    assert why in str(refused.context["form"].errors[field])
    html = refused.content.decode()
    assert "prices.json is kept" in html
    kept = re.search(r'name="kept" value="([^"]+)"', html)
    assert kept is not None
    shown = admin_of.post(URL, {"kept": unescape(kept[1]), "whose": "negotiated"})
    assert "kept-one" in shown.content.decode()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{}", "This is no price table"),
        (b"\xff", "not text in UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b" " * (forms.MAX_BYTES + 1), "more than 8,388,608 bytes"),
    ],
)
def test_what_is_no_price_table_is_said_at_the_field(admin_of: Client, raw: bytes, why: str) -> None:
    refused = admin_of.post(URL, sent(raw))
    assert refused.status_code == 422
    assert why in str(refused.context["form"].errors["file"])


@pytest.mark.parametrize("kept", ["", "nonsense", "x:y:z", "\0", "." * 1000])
def test_without_a_file_one_is_asked_for(admin_of: Client, kept: str) -> None:
    refused = admin_of.post(URL, {"whose": "negotiated", "kept": kept, "expected": "sha256:0"})
    assert refused.status_code == 422
    assert refused.context["form"].errors


def test_a_kept_file_is_only_for_whom_it_was_kept(admin_of: Client, staff: Client) -> None:
    kept = hidden(admin_of.post(URL, sent([own()])).content.decode())["kept"]
    refused = staff.post(URL, {"whose": "negotiated", "kept": kept})
    assert "has expired. Choose it again." in text_of(refused)


def test_a_file_too_large_to_travel_is_for_the_command(admin_of: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_KEPT", 100)
    refused = admin_of.post(URL, sent([own()]))
    assert "manage.py import_prices" in str(refused.context["form"].errors["file"])


def test_long_lists_are_cut(admin_of: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "SHOWN", 3)
    html = text_of(admin_of.post(URL, sent([own(f"model-{number}") for number in range(10)])))
    assert "10 added" in html
    assert "… and 7 more" in html
    assert "model-1" in html
    assert "model-5" not in html.replace(hidden(html)["kept"], "")


def test_names_of_a_file_are_shown_as_text(admin_of: Client) -> None:
    html = admin_of.post(URL, sent([own("<script>alert(1)</script>"), own("<b>", -1)])).content.decode()
    assert "<script>alert" not in html
    assert "<b>" not in html


# --- Looking --------------------------------------------------------------------------------------------------------


def price(model: str, input: float = 1, **columns: Any) -> ModelPrice:
    return ModelPrice.objects.create(
        **{"provider": "openai", "model": model, "output_usd_per_million": 1, "input_usd_per_million": input, **columns}
    )


def states(org: Organization) -> list[tuple[float, str]]:
    return [
        (float(dated.row.input_usd_per_million), dated.state)
        for item in histories(org, priced_models(org), at=NOW)
        for dated in item.prices
    ]


def test_of_every_model_the_price_in_force_comes_first_and_then_its_history(org: Organization) -> None:
    price("m", 1)
    price("m", 2, since=NOW - timedelta(days=20))
    price("m", 3, since=NOW)
    price("m", 4, since=NOW + timedelta(days=1))
    assert states(org) == [(3, "in force"), (4, "later"), (2, "past"), (1, "past")]


def test_a_negotiated_price_overrules_everybody_s(org: Organization) -> None:
    price("m", 1)
    price("m", 2, org=org)
    price("m", 3, org=an_org("other"))
    price("m", 4, org=org, since=NOW + timedelta(days=1))
    assert states(org) == [(2, "in force"), (4, "later"), (1, "overruled")]


def test_what_is_in_force_on_the_page_is_what_a_replay_takes(org: Organization) -> None:
    from routes.catalog.services import price_table

    price("m", 1, since=NOW - timedelta(days=9))
    price("m", 2, org=org, since=NOW + timedelta(days=1))
    price("n", 3, provider="azure", since=NOW + timedelta(days=1))
    for item in histories(org, priced_models(org), at=NOW):
        found = price_table(org).price(item.provider, item.model, NOW)
        first = item.prices[0]
        assert (found is not None) == (first.state == "in force")
        if found:
            assert found.input_nano_per_million == first.row.input_usd_per_million * 10**9


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (None, None),
        (NOW.date(), "retired"),
        (date(2026, 11, 22), "soon"),
        (date(2027, 2, 19), "soon"),
        (date(2027, 2, 20), None),
    ],
)
def test_who_retires_is_pointed_out(org: Organization, day: date | None, said: str | None) -> None:
    price("m", retires_on=day)
    (item,) = histories(org, priced_models(org), at=NOW)
    assert item.retirement == said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["azure/gpt-4o", "openai/gpt-4.1", "openai/gpt-4o"]),
        ("gpt-4o", ["azure/gpt-4o", "openai/gpt-4o"]),
        ("OPENAI", ["openai/gpt-4.1", "openai/gpt-4o"]),
        ("openai/gpt-4o", ["openai/gpt-4o"]),
        ("4o  azure", ["azure/gpt-4o"]),
        ("%", []),
        ("\0", ["azure/gpt-4o", "openai/gpt-4.1", "openai/gpt-4o"]),
    ],
)
def test_models_are_found_by_words_of_their_names(admin_of: Client, words: str, found: list[str]) -> None:
    price("gpt-4o")
    price("gpt-4o", provider="azure")
    price("gpt-4.1")
    answer = admin_of.get("/admin/o/acme/prices/", {"q": words})
    assert [f"{item.provider}/{item.model}" for item in answer.context["models"]] == found
    assert ("No model or provider fits" in text_of(answer)) == (not found)


def test_a_long_table_has_pages_at_the_same_few_queries(
    admin_of: Client, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    price("m0")
    with django_assert_max_num_queries(15) as first:
        admin_of.get("/admin/o/acme/prices/")
    for number in range(1, 120):
        price(f"m{number:03}")
        price(f"m{number:03}", since=NOW - timedelta(days=1))
    with django_assert_num_queries(len(first)):
        page = admin_of.get("/admin/o/acme/prices/", {"page": "2", "q": "m"})
    assert "Models 51 to 100 of 120" in page.content.decode()
    assert len(page.context["models"]) == 50
    for odd in ("0", "-1", "nine", "9" * 5_000, "99"):
        assert admin_of.get("/admin/o/acme/prices/", {"page": odd}).status_code == 200


# --- Typed ----------------------------------------------------------------------------------------------------------

TYPED = {
    "provider": "openai",
    "model": "gpt-4o",
    "input": "2.25",
    "cached_input": "",
    "output": "9",
    "whose": "negotiated",
}


def test_the_price_of_one_model_may_be_typed(org: Organization, admin_of: Client) -> None:
    shown = admin_of.post(URL, TYPED)
    assert shown.status_code == 200
    assert "0 changed, 1 added" in text_of(shown)
    done = admin_of.post(URL, hidden(shown.content.decode()), follow=True)
    assert "price list, typed by ada" in text_of(done)
    row = ModelPrice.objects.get()
    assert (row.org, row.provider, row.model) == (org, "openai", "gpt-4o")
    assert (row.input_usd_per_million, row.cached_input_usd_per_million) == (Decimal("2.25"), None)
    again = admin_of.post(URL, {**TYPED, "output": "8", "cached_input": "0.000000001"})
    assert "1 changed, 0 added" in text_of(again), "what is typed counts before what was kept"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"model": ""}, "The price of a model needs this"),
        ({"output": ""}, "The price of a model needs this"),
        ({"input": "two"}, "Enter a number"),
        ({"input": "20000"}, "is another unit"),
        ({"input": "-1"}, "is below 0"),
        ({"model": 'm", "model": "n'}, "0 changed, 1 added"),
        (dict.fromkeys(TYPED, "") | {"whose": "negotiated"}, "Choose a file, or type the price of a model"),
    ],
)
def test_what_is_wrong_with_a_typed_price_is_said_and_all_is_kept(
    admin_of: Client, typed: dict[str, str], said: str
) -> None:
    page = text_of(admin_of.post(URL, {**TYPED, **typed}))
    assert said in page
    assert '<details class="more typed" open>' in page or "Choose a file, or" in page
    assert not ModelPrice.objects.exists()
