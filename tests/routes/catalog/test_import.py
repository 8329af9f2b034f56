"""Importing prices: what is shown is what is done, history stays, and the log has one entry."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from audit.models import AuditEntry
from audit.services import payload_of
from routes.catalog import services
from routes.catalog.comparison import FieldChange, ImportPlan
from routes.catalog.formats import read_prices
from routes.catalog.models import ModelPrice
from routes.catalog.services import (
    PricesChanged,
    SinceTaken,
    TooManyPrices,
    UnknownProvider,
    import_prices,
    install_shipped_prices,
    plan_import,
    price_table,
)
from routes.orgs.models import Organization
from tests.build import BY, an_org
from tests.paths import shared
from tests.routes.catalog.build import DECEMBER, LONG_AGO, cost, do, entry, litellm, own, own_list

pytestmark = pytest.mark.django_db


def rows(**where: Any) -> list[tuple[str, Decimal, datetime | None]]:
    """(model, input, since) of everybody's rows, in the table's order from the first to the last."""
    found = ModelPrice.objects.filter(**{"org": None, **where}).order_by("provider", "model", "pk")
    return [(row.model, row.input_usd_per_million, row.since) for row in found]


def everything() -> tuple[Any, ...]:
    return list(ModelPrice.objects.order_by("pk").values()), AuditEntry.objects.count()


# --- Comparing ------------------------------------------------------------------------------------------------------


def test_a_plan_lists_what_is_added_changed_and_left_alone_and_changes_nothing() -> None:
    do(own_list(own("same"), own("dearer", 2, 10), own("cheaper", 10, 10), own("gone"), own("fact")))
    was = everything()
    plan = plan_import(
        litellm(
            same=entry(),
            dearer=entry("2.5e-6"),
            cheaper=entry("1e-6"),
            new=entry(deprecation_date="2027-01-01"),
            fact=entry(supports_vision=True),
            bad=entry("-1"),
            picture=entry(mode="image_generation"),
        )
    )
    assert [change.model for change in plan.changed] == ["cheaper", "dearer"], "the largest change first"
    assert plan.changed[0].fields == (FieldChange("input_usd_per_million", Decimal(10), Decimal(1)),)
    assert [field.percent for change in plan.changed for field in change.fields] == [-90, 25]
    assert [change.model for change in plan.added] == ["new"]
    assert FieldChange("retires_on", None, date(2027, 1, 1)) in plan.added[0].fields
    assert [(change.model, change.facts) for change in plan.facts] == [("fact", {"supports_images": True})]
    assert plan.unlisted == (("openai", "gone"),)
    assert [refused.name for refused in plan.refused] == ["bad"]
    assert (plan.unchanged, plan.file.not_by_tokens, plan.left_out) == (1, 1, 0)
    assert everything() == was


def test_a_price_that_is_gone_from_the_file_is_a_change_and_a_fact_that_is_gone_is_none() -> None:
    do(own_list(own(cached_input_usd_per_million=1, max_input_tokens=7, retires_on="2027-01-01", supports_audio=False)))
    (change,) = plan_import(own_list(own())).changed
    assert change.fields == (FieldChange("cached_input_usd_per_million", Decimal(1), None),)
    assert change.fields[0].percent is None


def test_from_free_to_priced_comes_before_any_percentage() -> None:
    do(own_list(own("free", 0, 0), own("a", 1), own("b", 1)))
    plan = plan_import(own_list(own("free", 1, 1), own("a", 1000), own("b", 2)))
    assert [change.model for change in plan.changed] == ["free", "a", "b"]


def test_providers_restrict_and_others_are_counted() -> None:
    do(own_list(own("gone"), own("kept", provider="azure")))
    file = litellm(a=entry(), b=entry(litellm_provider="azure"), c=entry("-1", litellm_provider="azure"))
    plan = plan_import(file, providers=["openai"])
    assert [change.key for change in plan.added] == [("openai", "a")]
    assert (plan.left_out, plan.unlisted, plan.refused) == (1, (("openai", "gone"),), ())
    with pytest.raises(UnknownProvider, match=r"no prices of opneai in this file. It has: azure, openai\.") as refused:
        plan_import(file, providers=["azure", "opneai"])
    assert refused.value.code == "unknown_provider"


def test_a_file_is_silent_about_providers_that_it_does_not_have() -> None:
    do(own_list(own("m", provider="anthropic")))
    assert plan_import(own_list(own())).unlisted == ()


def test_an_entry_that_is_refused_is_not_called_gone() -> None:
    do(own_list(own("m")))
    assert plan_import(own_list(own("other"), own("m", -1))).unlisted == ()


def test_the_table_meets_the_prices_that_are_shipped() -> None:
    install_shipped_prices(by=BY)
    file = litellm(**{"gpt-4o": entry(), "gemini/gemini-2.5-pro": entry("1.25e-6", litellm_provider="gemini")})
    plan = plan_import(file, providers=["openai", "gemini"])
    assert plan.added == ()
    assert {change.key for change in (*plan.changed, *plan.facts)} <= {
        ("openai", "gpt-4o"),
        ("gemini", "gemini-2.5-pro"),
    }


def test_the_shared_list_adds_a_thousand_models_and_then_nothing(django_assert_max_num_queries: Any) -> None:
    file = read_prices(shared("data/model-prices.json").read_bytes())
    install_shipped_prices(by=BY)
    with django_assert_max_num_queries(30):
        done = do(file)
    assert done.plan.counts["added"] > 1_000
    assert done.plan.counts["refused"] == 0
    assert not plan_import(file).changes
    assert len(price_table(None).prices) > 1_100


# --- History --------------------------------------------------------------------------------------------------------


def test_traffic_from_before_keeps_its_price_and_later_traffic_has_the_new_one() -> None:
    do(own_list(own(input=2)))
    do(own_list(own(input=3)), since=DECEMBER)
    assert cost("gpt-4o", LONG_AGO) == cost("gpt-4o", DECEMBER - timedelta(microseconds=1)) == 2 * 10**9
    assert cost("gpt-4o", DECEMBER) == cost("gpt-4o", DECEMBER + timedelta(days=900)) == 3 * 10**9
    assert rows() == [("gpt-4o", 2, None), ("gpt-4o", 3, DECEMBER)]


def test_without_a_time_a_change_starts_now() -> None:
    do(own_list(own(input=2)))
    before = datetime.now(UTC)
    do(own_list(own(input=3)))
    after = datetime.now(UTC)
    (_, (_, _, since)) = rows()
    assert since is not None
    assert before <= since <= after
    assert (cost("gpt-4o", before), cost("gpt-4o", after)) == (2 * 10**9, 3 * 10**9)


def test_a_new_model_is_priced_at_any_time_unless_a_time_is_given() -> None:
    do(own_list(own("always")))
    do(own_list(own("always"), own("from december")), since=DECEMBER)
    assert rows() == [("always", Decimal("2.5"), None), ("from december", Decimal("2.5"), DECEMBER)]
    assert cost("always", LONG_AGO) is not None
    assert cost("from december", LONG_AGO) is None


def test_a_new_row_keeps_the_facts_of_the_old_one_and_takes_those_that_are_new() -> None:
    do(own_list(own(input=2, max_input_tokens=7, supports_tools=True, batch_input_usd_per_million=1)))
    do(own_list(own(input=3, supports_tools=False)))
    old, new = ModelPrice.objects.order_by("pk")
    assert (old.max_input_tokens, old.supports_tools, old.batch_input_usd_per_million) == (7, True, 1)
    assert (new.max_input_tokens, new.supports_tools, new.batch_input_usd_per_million) == (7, False, None)
    assert new.source == "test"


def test_facts_change_in_place_and_what_they_were_is_in_the_log() -> None:
    do(own_list(own(max_input_tokens=7)))
    do(own_list(own(max_input_tokens=8, retires_on="2027-01-01", supports_audio=True)))
    row = ModelPrice.objects.get()
    assert (row.max_input_tokens, row.retires_on, row.supports_audio, row.since) == (8, date(2027, 1, 1), True, None)
    last = AuditEntry.objects.filter(action="prices.imported").latest("seq")
    (said,) = (payload_of(last) or {})["facts_changed"]
    assert said["fields"] == {
        "max_input_tokens": [7, 8],
        "retires_on": [None, "2027-01-01"],
        "supports_audio": [None, True],
    }


def test_facts_are_of_the_model_and_change_in_prices_that_are_yet_to_come_too() -> None:
    do(own_list(own(input=2, max_input_tokens=7)))
    do(own_list(own(input=3)), since=datetime(2099, 1, 1, tzinfo=UTC))
    do(own_list(own(input=2, max_input_tokens=8)))
    assert list(ModelPrice.objects.order_by("pk").values_list("max_input_tokens", flat=True)) == [8, 8]
    do(own_list(own(input=1, max_input_tokens=9)))
    assert list(ModelPrice.objects.order_by("pk").values_list("max_input_tokens", flat=True)) == [8, 9, 9]


def test_a_comparison_is_with_what_is_in_force_then_and_says_what_takes_over() -> None:
    later = DECEMBER + timedelta(days=30)
    do(own_list(own(input=2)))
    do(own_list(own(input=3)), since=later)
    assert not plan_import(own_list(own(input=3)), since=later + timedelta(days=1)).changes
    (change,) = plan_import(own_list(own(input=3)), since=DECEMBER).changed
    assert (change.since, change.until) == (DECEMBER, later)
    do(own_list(own(input=5)), since=DECEMBER)
    assert [cost("gpt-4o", at) for at in (LONG_AGO, DECEMBER, later)] == [2 * 10**9, 5 * 10**9, 3 * 10**9]


def test_another_price_from_exactly_the_same_time_is_refused() -> None:
    do(own_list(own(input=2), own("b", 2)))
    do(own_list(own(input=3), own("b", 3)), since=DECEMBER)
    was = everything()
    with pytest.raises(SinceTaken, match="openai/b and 1 more has another price from exactly this time on") as refused:
        do(own_list(own(input=4), own("b", 5)), since=DECEMBER)
    assert refused.value.code == "since_taken"
    assert everything() == was
    assert do(own_list(own(input=3)), since=DECEMBER).receipt is None, "the same prices again are no conflict"


def test_importing_a_file_again_changes_and_records_nothing() -> None:
    file = litellm(a=entry(cache_read_input_token_cost=1e-6, supports_vision=True), b=entry("1.5000020000000002e-05"))
    assert do(file).receipt is not None
    was = everything()
    again = do(file)
    assert (again.receipt, again.plan.changes, again.plan.unchanged) == (None, (), 2)
    assert do(file, since=DECEMBER).receipt is None
    assert everything() == was


def test_what_is_gone_from_the_file_stays() -> None:
    do(own_list(own("a"), own("b")))
    do(own_list(own("a", 9)))
    assert cost("b", DECEMBER) is not None


# --- What was shown is what is done ---------------------------------------------------------------------------------


def test_what_was_shown_is_done() -> None:
    do(own_list(own(input=2)))
    file = own_list(own(input=3), own("new"))
    assert do(file, expected=plan_import(file).digest).plan.counts["changed"] == 1


ELSE: dict[str, Callable[[], dict[str, Any]]] = {
    "another file": lambda: {"file": own_list(own(input=4))},
    "another time": lambda: {"since": DECEMBER},
    "another organisation": lambda: {"org": an_org("other")},
    "other providers": lambda: {"file": own_list(own(input=3), own("m", provider="azure")), "providers": ["openai"]},
    "another price in the table": lambda: do(own_list(own(input=7)), since=DECEMBER - timedelta(days=99)) and {},
    "a fact in the table": lambda: do(own_list(own(input=2, max_input_tokens=9))) and {},
    "a price that will take over": lambda: do(own_list(own(input=7)), since=datetime(2099, 1, 1, tzinfo=UTC)) and {},
}


@pytest.mark.parametrize("what", ELSE)
def test_what_was_not_shown_is_refused_and_shown(what: str) -> None:
    do(own_list(own(input=2, max_input_tokens=8)))
    file = own_list(own(input=3, max_input_tokens=10))
    digest = plan_import(file).digest
    given: dict[str, Any] = {"file": file, **(ELSE[what]() or {})}
    was = everything()
    with pytest.raises(PricesChanged) as refused:
        import_prices(by=BY, source="test", expected=digest, **given)
    assert refused.value.code == "prices_changed"
    assert isinstance(refused.value.plan, ImportPlan)
    assert everything() == was
    import_prices(by=BY, source="test", expected=refused.value.plan.digest, **given)


def test_a_change_elsewhere_is_no_reason_to_refuse(org: Organization) -> None:
    file = own_list(own())
    digest = plan_import(file).digest
    do(own_list(own("other")))
    do(own_list(own(input=1)), org=org)
    assert do(file, expected=digest).receipt is not None


def test_an_import_that_was_done_already_is_nothing_to_refuse() -> None:
    file = own_list(own())
    digest = plan_import(file).digest
    do(file, expected=digest)
    assert do(file, expected=digest).receipt is None


# --- The log, and limits --------------------------------------------------------------------------------------------


def test_one_entry_says_what_was_imported() -> None:
    do(own_list(own("a"), own("b"), own("gone")))
    file = litellm(a=entry("1e-6"), b=entry(supports_vision=True), c=entry(), d=entry("-1"))
    done = do(file, since=DECEMBER, providers=["openai"])
    last = AuditEntry.objects.filter(action="prices.imported").latest("seq")
    assert done.receipt is not None
    assert (last.seq, last.target_type, last.target_id) == (done.receipt.seq, "prices", "everybody")
    payload = payload_of(last) or {}
    assert payload.pop("facts_changed")[0]["model"] == "b"
    assert payload == {
        "source": "test", "file": file.digest, "since": "2026-12-01T00:00:00.000000Z", "providers": ["openai"],
        "changed": 1, "added": 1, "facts": 1, "unchanged": 0, "unlisted": 1, "refused": 1, "not_by_tokens": 0,
        "repeated": 0, "rounded": 0, "left_out": 0, "actor_name": "test",
    }  # fmt: skip


def test_the_entry_of_a_large_import_still_says_what_it_was() -> None:
    many = [own("m" * 190 + str(n), max_input_tokens=7) for n in range(1_000)]
    do(own_list(*many))
    do(own_list(*({**row, "max_input_tokens": 8, "supports_audio": True} for row in many)))
    payload = payload_of(AuditEntry.objects.latest("seq")) or {}
    assert payload["facts"] == 1_000
    assert len(payload["facts_changed"]) == services.MAX_RECORDED


def test_without_its_entry_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    do(own_list(own(input=2), own("fact")))
    was = everything()

    def fails(*args: Any, **options: Any) -> None:
        raise RuntimeError("the log is away")

    monkeypatch.setattr(services, "record", fails)
    with pytest.raises(RuntimeError):
        do(own_list(own(input=3), own("new"), own("fact", max_input_tokens=1)))
    assert everything() == was


def test_no_more_prices_than_a_gateway_loads(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    do(own_list(own("a"), own("b")))
    do(own_list(own("a", 1)), org=org)
    monkeypatch.setattr(services, "MAX_PRICES", 4)
    do(own_list(own("a"), own("c")))
    with pytest.raises(TooManyPrices, match="There would be 5 prices") as refused:
        do(own_list(own("d")))
    assert refused.value.code == "too_many_prices"
    with pytest.raises(TooManyPrices):
        do(own_list(own("d")), org=org)
    do(own_list(own("d")), org=an_org("other"))
    do(own_list(own("a", max_input_tokens=1)))  # a fact adds no row


@pytest.mark.django_db(transaction=True)
def test_of_two_who_import_at_once_the_second_finds_nothing_to_do() -> None:
    do(own_list(own(input=2)))
    file = own_list(own(input=3), own("new"))
    both = threading.Barrier(2)
    done: list[services.Imported] = []

    def one() -> None:
        try:
            both.wait()
            done.append(do(file))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(imported.receipt is None for imported in done) == [False, True]
    assert [model for model, _, _ in rows()] == ["gpt-4o", "gpt-4o", "new"]
    assert AuditEntry.objects.filter(action="prices.imported").count() == 2
