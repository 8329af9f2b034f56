"""Storing request logs, through the service and the command."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from audit.models import AuditEntry
from plans.logs import services
from plans.logs.formats import Item, Refusal, Row
from plans.logs.models import RequestLog, RequestLogQuerySet
from plans.logs.services import ImportRefused, ImportReport, import_rows
from routes.orgs.models import Organization
from tests.build import BY, an_org, usual_prices
from tests.paths import shared

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, tzinfo=UTC)
CSV_HEADER = "request_id,ts,model,input_tokens,output_tokens,tag,synthetic\n"
TRACE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def a_row(n: int, **values: Any) -> Row:
    fixed = {"request_id": f"r{n}", "ts": START + timedelta(seconds=n), "model": "m", "requested_model": "m"}
    return Row(n, {**fixed, "input_tokens": n, "output_tokens": 1, **values})


def store(org: Organization, items: list[Item], on_error: Any = "skip", **options: Any) -> ImportReport:
    return import_rows(org, lambda: items, on_error=on_error, by=BY, **options)


def imported(*arguments: str, org: str = "acme") -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("import_logs", *arguments, "--org", org, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str, org: str = "acme") -> tuple[str, str]:
    """(what the command printed, why it failed)"""
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("import_logs", *arguments, "--org", org, stdout=out, stderr=StringIO())
    return out.getvalue(), str(caught.value)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "logs.csv"
    path.write_text(
        CSV_HEADER
        + 'r1,2026-05-01T12:00:00Z,m,1,2,,"[""tag""]"\n'
        + "r2,2026-05-01T12:00:00,m,1,2,,\n"
        + "r3,2026-05-01T12:00:00Z,m,1,2,code,\n"
        + "r4,2026-05-01T12:00:00Z,m,-1,2,,\n"
    )
    return path


# --- The service ----------------------------------------------------------------------------------------------------


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


def test_nothing_of_the_last_thousand_stays_without_its_audit_entry(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr(services, "record", refuse)
    with pytest.raises(RuntimeError, match="no log"):
        store(org, [a_row(n) for n in range(1, 1201)])
    assert RequestLog.objects.of(org).count() == 1000


def test_progress_is_told_every_ten_thousand(org: Organization) -> None:
    told: list[tuple[str, int]] = []
    with pytest.raises(ImportRefused):
        store(org, [Refusal(n, "") for n in range(25_000)], "abort", progress=lambda *said: told.append(said))
    assert told == [("checked", 10_000), ("checked", 20_000)]


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_aborts_by_default_and_names_the_lines(org: Organization, csv_file: Path) -> None:
    out, why = refused(str(csv_file), "--format", "csv")
    assert out.splitlines() == [
        'line 3: ts: "2026-05-01T12:00:00" has no zone; write Z, or an offset as +02:00',
        'line 5: input_tokens: "-1" is not between 0 and 1000000000',
    ]
    assert why == "2 lines were refused, so nothing was imported."
    assert not RequestLog.objects.exists()


def test_the_command_skips_and_names_the_lines(org: Organization, csv_file: Path) -> None:
    out, _ = imported(str(csv_file), "--format", "csv", "--on-error", "skip")
    starts = [line.split(":")[0] for line in out.splitlines()]
    assert starts == ["line 3", "line 5", "2 rows imported, 0 repeated, 2 refused."]
    first, second = RequestLog.objects.of(org).order_by("request_id")
    assert (first.tag, first.synthetic, first.metadata, first.status, first.cost_usd) == (None, ["tag"], {}, 200, None)
    assert (second.tag, second.synthetic) == ("code", [])
    assert imported(str(csv_file), "--format", "csv", "--on-error", "skip", org=str(org.pk))[0].endswith(
        "0 rows imported, 2 repeated, 2 refused.\n"
    )


def test_a_file_of_which_nothing_is_good_fails_also_with_skip(org: Organization, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("a,b\n1,2\n")
    out, why = refused(str(path), "--format", "csv", "--on-error", "skip")
    assert out.startswith('line 1: unknown column in the header: "a", "b"; known are request_id, ')
    assert why == "Nothing could be imported: every line was refused."


def test_what_cannot_be_begun_is_refused_in_words(org: Organization, tmp_path: Path) -> None:
    usual_prices()
    good = tmp_path / "good.csv"
    good.write_text(TRACE_HEADER + "2023-11-16 18:15:46.6805900,374,44\n")
    trace = ("--format", "azure-llm-trace")
    assert "There is no organisation nobody." in refused(str(good), *trace, "--model", "gpt-4o", org="nobody")[1]
    assert "cannot be read: No such file" in refused(str(tmp_path / "no"), *trace, "--model", "gpt-4o")[1]
    assert "cannot be read: Is a directory" in refused(str(tmp_path), *trace, "--model", "gpt-4o")[1]
    assert "Say it: --model gpt-4o" in refused(str(good), *trace)[1]
    assert "--model is for azure-llm-trace" in refused(str(good), "--format", "csv", "--model", "gpt-4o")[1]
    assert "gpt-40 has no price. Of the 2 models" in refused(str(good), *trace, "--model", "gpt-40")[1]
    assert not RequestLog.objects.exists()
    assert imported(str(good), *trace, "--model", "openai/gpt-4o")[0] == "1 rows imported, 0 repeated, 0 refused.\n"


@pytest.mark.parametrize(("name", "rows"), [("code", 8_819), ("conv", 19_366)])
def test_the_real_traces_are_imported_whole(org: Organization, name: str, rows: int) -> None:
    usual_prices()
    file = shared(f"data/azure-llm-2023-{name}.csv")
    out, err = imported(str(file), "--format", "azure-llm-trace", "--model", "gpt-4o")
    assert out == f"{rows:,} rows imported, 0 repeated, 0 refused.\n"
    assert ("10,000 records imported" in err) == (rows > 10_000)
    last = RequestLog.objects.of(org).in_order().last()
    assert last is not None
    assert last.request_id == f"{file.name}:{rows + 1}"
    if name == "conv":  # by hand: 197 x 2.5 + 183 x 10 dollars per million; 250 + 197 // 5 + 15 x 183
        assert (last.cost_usd, last.baseline_cost_usd, last.latency_ms) == (
            Decimal("0.0023225"), Decimal("0.0023225"), 3034,
        )  # fmt: skip
        assert last.ts == datetime(2023, 11, 16, 19, 14, 8, 402527, tzinfo=UTC)
        out, _ = imported(str(file), "--format", "azure-llm-trace", "--model", "gpt-4o")
        assert out == "0 rows imported, 19,366 repeated, 0 refused.\n"
