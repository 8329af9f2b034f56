"""Storing request logs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError

from audit.models import AuditEntry
from plans.logs import services
from plans.logs.columns import COLUMNS
from plans.logs.formats import Item, Refusal, Row
from plans.logs.models import RequestLog, RequestLogQuerySet
from plans.logs.services import ImportRefused, ImportReport, Progress, import_rows, import_steps
from routes.orgs.models import Organization
from tests.build import BY, an_org

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, tzinfo=UTC)
CSV_HEADER = "request_id,ts,model,input_tokens,output_tokens,tag,synthetic\n"
TRACE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def a_row(n: int, **values: Any) -> Row:
    fixed = {"request_id": f"r{n}", "ts": START + timedelta(seconds=n), "model": "m", "requested_model": "m"}
    return Row(n, {**fixed, "input_tokens": n, "output_tokens": 1, **values})


def store(org: Organization, items: list[Item], on_error: Any = "skip", **options: Any) -> ImportReport:
    return import_rows(org, lambda: items, on_error=on_error, by=BY, **options)


def test_skip_stores_the_good_rows_and_names_the_others(org: Organization) -> None:
    report = store(org, [a_row(1), Refusal(2, "why"), a_row(3)])
    assert report == ImportReport(read=3, imported=2, repeated=0, refused=[(2, "why")], refused_total=1)
    assert set(RequestLog.objects.of(org).values_list("request_id", flat=True)) == {"r1", "r3"}


def test_abort_stores_nothing_and_names_every_line(org: Organization) -> None:
    # The bad line comes long after the first thousand rows.
    items = [*(a_row(n) for n in range(1, 2101)), Refusal(2101, "why"), Refusal(2102, "too")]
    with pytest.raises(ImportRefused) as caught:
        store(org, items, on_error="abort")
    assert caught.value.code == "import_refused"
    assert caught.value.report.refused == [(2101, "why"), (2102, "too")]
    assert not RequestLog.objects.exists()
    assert not AuditEntry.objects.filter(action="logs.imported").exists()


def test_a_hundred_refusals_are_named_and_all_are_counted(org: Organization) -> None:
    report = store(org, [Refusal(n, "why") for n in range(1, 251)])
    assert (len(report.refused), report.refused_total, report.refused[-1]) == (100, 250, (100, "why"))


def test_importing_again_changes_nothing_and_counts_the_repeats(org: Organization) -> None:
    items: list[Item] = [a_row(n) for n in range(1, 2502)]
    assert store(org, items, "abort") == ImportReport(read=2501, imported=2501)
    before = list(RequestLog.objects.order_by("pk").values())
    again: list[Item] = [a_row(n, model="other") for n in range(1, 2502)]
    assert store(org, again, "abort") == ImportReport(read=2501, repeated=2501)
    assert list(RequestLog.objects.order_by("pk").values()) == before
    assert AuditEntry.objects.filter(org_id=org.pk, action="logs.imported").count() == 1


def test_an_interrupted_import_is_completed_by_repeating_it(org: Organization) -> None:
    def breaks() -> Iterator[Item]:
        yield from (a_row(n) for n in range(1, 2502))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        import_rows(org, breaks, on_error="skip", by=BY)
    assert RequestLog.objects.of(org).count() == 2000
    report = store(org, [a_row(n) for n in range(1, 2502)])
    assert (report.imported, report.repeated) == (501, 2000)


@pytest.mark.parametrize("distance", [1, 1500])
def test_an_id_that_comes_twice_is_stored_once_as_it_came_first(org: Organization, distance: int) -> None:
    items: list[Item] = [a_row(n) for n in range(1, distance + 1)]
    items.append(a_row(9999, request_id="r1", model="second"))
    report = store(org, items)
    assert (report.imported, report.repeated) == (distance, 1)
    assert RequestLog.objects.get(request_id="r1").model == "m"


def test_another_organisation_may_have_the_same_ids_and_is_untouched(org: Organization) -> None:
    other = an_org("other")
    store(other, [a_row(1, model="theirs")])
    before = list(RequestLog.objects.of(other).values())
    assert store(org, [a_row(1), a_row(2)]).imported == 2
    assert list(RequestLog.objects.of(other).values()) == before
    assert AuditEntry.objects.filter(org_id=other.pk, action="logs.imported").count() == 1


def test_what_breaks_another_constraint_is_an_error_and_no_repeat(org: Organization) -> None:
    with pytest.raises(IntegrityError):
        store(org, [a_row(1, cost_usd=Decimal(-1))])
    assert not RequestLog.objects.exists()


def test_rows_that_another_import_stored_meanwhile_count_as_repeated(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(org, [a_row(2)])
    looks: list[bool] = []

    def sees_nothing_at_first(rows: RequestLogQuerySet, of: Organization) -> RequestLogQuerySet:
        looks.append(True)
        return rows.none() if len(looks) == 1 else rows.filter(org=of)

    monkeypatch.setattr(RequestLogQuerySet, "of", sees_nothing_at_first)
    assert store(org, [a_row(1), a_row(2), a_row(3)]) == ImportReport(read=3, imported=2, repeated=1)
    assert len(looks) > 1
    assert RequestLog.objects.filter(org=org).count() == 3


def entries(org: Organization) -> list[tuple[str, dict[str, Any]]]:
    said = AuditEntry.objects.filter(org_id=org.pk, action__startswith="logs.").order_by("seq")
    return [(entry.action, json.loads(bytes(entry.payload))) for entry in said]


def test_an_import_of_one_transaction_has_one_entry_and_a_longer_one_two(org: Organization) -> None:
    store(org, [a_row(n) for n in range(1, 1001)], source="short.csv")
    figures = {"imported": 1000, "repeated": 0, "refused": 0, "actor_name": "test"}
    assert entries(org) == [("logs.imported", {"source": "short.csv", **figures})]
    began = AuditEntry.objects.filter(org_id=org.pk).count()
    store(org, [a_row(n) for n in range(1, 3501)], source="long.csv")
    assert entries(org)[1:] == [
        ("logs.import_began", {"source": "long.csv", "actor_name": "test"}),
        (
            "logs.imported",
            {"source": "long.csv", **figures, "imported": 2500, "repeated": 1000, "began_at": began},
        ),
    ]


@pytest.mark.parametrize("rows", [900, 1_200])
def test_no_row_stays_without_an_entry(org: Organization, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr(services, "record", refuse)
    with pytest.raises(RuntimeError, match="no log"):
        store(org, [a_row(n) for n in range(1, rows + 1)])
    assert not RequestLog.objects.exists()


def test_nothing_of_the_last_thousand_stays_without_the_last_entry(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = services.record

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if kwargs["action"] == "logs.imported":
            raise RuntimeError("no log")
        return really(*args, **kwargs)

    monkeypatch.setattr(services, "record", refuse)
    with pytest.raises(RuntimeError, match="no log"):
        store(org, [a_row(n) for n in range(1, 1201)])
    assert RequestLog.objects.of(org).count() == 1000
    assert [action for action, _ in entries(org)] == ["logs.import_began", "logs.import_interrupted"]


@pytest.mark.parametrize("how", ["closed", "broken"])
def test_an_import_that_stops_half_way_says_how_far_it_came(org: Organization, how: str) -> None:
    def breaks() -> Iterator[Item]:
        yield Refusal(1, "why")
        yield from (a_row(n) for n in range(1, 2502))
        raise OSError("the disk is gone")

    steps = import_steps(org, breaks, on_error="skip", by=BY, source="a.csv")
    if how == "closed":
        while next(steps).imported < 1000:
            pass
        steps.close()
    else:
        with pytest.raises(OSError, match="the disk is gone"):
            list(steps)
    stored = RequestLog.objects.of(org).count()
    assert stored == (1000 if how == "closed" else 2000)
    (began, _), (interrupted, payload) = entries(org)
    assert (began, interrupted) == ("logs.import_began", "logs.import_interrupted")
    assert (payload["imported"], payload["refused"], payload["source"]) == (stored, 1, "a.csv")


def test_an_import_that_stops_before_the_first_row_says_nothing(org: Organization) -> None:
    steps = import_steps(org, lambda: [Refusal(n, "") for n in range(1500)], on_error="skip", by=BY)
    next(steps)
    steps.close()
    assert entries(org) == []


def test_progress_is_told_every_thousand(org: Organization) -> None:
    told: list[Progress] = []
    items: list[Item] = [Refusal(1, ""), *(a_row(n) for n in range(2, 2501))]
    with pytest.raises(ImportRefused):
        store(org, items, "abort", progress=told.append)
    assert told == [Progress("checked", 1000, 0, 0, 1), Progress("checked", 2000, 0, 0, 1)]
    told.clear()
    store(org, items, progress=told.append)
    assert told == [Progress("imported", 1000, 0, 0, 1), Progress("imported", 2000, 1000, 0, 1)]


def test_every_column_is_stored_as_it_is(org: Organization) -> None:
    values: dict[str, Any] = {
        "kind": "fallback", "provider": "openai", "cached_tokens": 3, "max_output_tokens": 9,
        "cost_usd": Decimal("1.000000001"), "baseline_cost_usd": Decimal(2), "cached": True, "cache_layer": "l1",
        "matched_route_id": UUID(int=7), "reason": "matched", "variant": "1", "decided_version": 2**63 - 1,
        "latency_ms": 5, "upstream_latency_ms": 4, "status": 429, "tag": "é", "metadata": {"a": [1, 2.5, None, "é"]},
        "cluster_key": "c", "request_digest": "sha256:" + "0" * 64, "finish_reason": "stop", "has_images": True,
        "has_audio": False, "has_documents": None, "has_tools": True, "is_stream": False,
        "embedding": b"\x00\x00\x80?", "fact_input_tokens": 1, "fact_estimated_cost_usd": Decimal("0.5"),
        "fact_sticky_key": "s", "fact_upstream_latency_ms_p95": 6, "synthetic": ["tag"],
    }  # fmt: skip
    row = a_row(1, **values)
    assert set(row.values) == set(COLUMNS), "a column that is not tried here"
    store(org, [row, a_row(2), a_row(3, metadata={})])
    one, two, three = RequestLog.objects.of(org).order_by("request_id")
    for name, value in row.values.items():
        stored = getattr(one, name)
        assert (bytes(stored) if name == "embedding" else stored) == value, name
    fresh = RequestLog(org=org)
    for name in values:
        assert getattr(two, name) == getattr(fresh, name), name
    assert (two.metadata, three.metadata) == (None, {})
    assert RequestLog.objects.filter(metadata__isnull=True).count() == 1
