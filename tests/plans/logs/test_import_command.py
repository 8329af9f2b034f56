"""The command that imports request logs."""

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from plans.logs import services
from plans.logs.models import RequestLog
from plans.management.commands import import_logs
from routes.orgs.models import Organization
from tests.build import usual_prices
from tests.databases import ON_POSTGRES
from tests.paths import shared

pytestmark = pytest.mark.django_db
CSV_HEADER = "request_id,ts,model,input_tokens,output_tokens,tag,synthetic\n"
TRACE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
THEIRS = "id,timestamp,model,prompt_tokens,completion_tokens,cost,note\n"


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


def test_the_command_aborts_by_default_and_names_the_lines(org: Organization, csv_file: Path) -> None:
    out, why = refused(str(csv_file), "--format", "csv")
    assert out.splitlines() == [
        'line 3: ts: "2026-05-01T12:00:00" has no zone; write Z, or an offset as +02:00, or map the column to '
        "ts_utc if its times are UTC",
        'line 5: input_tokens: "-1" is not between 0 and 1000000000',
    ]
    assert why == "2 records were refused, so nothing was imported."
    assert not RequestLog.objects.exists()


def test_the_command_skips_and_names_the_lines(org: Organization, csv_file: Path) -> None:
    out, _ = imported(str(csv_file), "--format", "csv", "--on-error", "skip")
    starts = [line.split(":")[0] for line in out.splitlines()]
    assert starts == ["line 3", "line 5", "2 rows imported, 0 repeated, 2 refused."]
    first, second = RequestLog.objects.of(org).order_by("request_id")
    assert (first.tag, first.synthetic, first.metadata, first.status, first.cost_usd) == (
        None,
        ["tag"],
        None,
        200,
        None,
    )
    assert (second.tag, second.synthetic) == ("code", [])
    assert imported(str(csv_file), "--format", "csv", "--on-error", "skip", org=str(org.pk))[0].endswith(
        "0 rows imported, 2 repeated, 2 refused.\n"
    )


def test_a_file_of_which_nothing_is_good_fails_also_with_skip(org: Organization, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("a,b\n1,2\n")
    out, why = refused(str(path), "--format", "csv", "--on-error", "skip")
    assert out.startswith('line 1: unknown column in the header: "a", "b"; map each to one of ours, or leave it out')
    assert why == "Nothing could be imported: every line was refused."


def test_what_cannot_be_begun_is_refused_in_words(org: Organization, tmp_path: Path) -> None:
    usual_prices()
    good = tmp_path / "good.csv"
    good.write_text(TRACE_HEADER + "2023-11-16 18:15:46.6805900,374,44\n")
    trace = ("--format", "azure-llm-trace")
    assert "There is no such organisation." in refused(str(good), *trace, "--model", "gpt-4o", org="nobody")[1]
    assert "cannot be read: No such file" in refused(str(tmp_path / "no"), *trace, "--model", "gpt-4o")[1]
    assert "cannot be read: Is a directory" in refused(str(tmp_path), *trace, "--model", "gpt-4o")[1]
    assert "name one, for example gpt-4o" in refused(str(good), *trace)[1]
    assert "A csv file names the model in each row" in refused(str(good), "--format", "csv", "--model", "gpt-4o")[1]
    assert "gpt-40 has no price. Of the 2 models" in refused(str(good), *trace, "--model", "gpt-40")[1]
    assert not RequestLog.objects.exists()
    assert imported(str(good), *trace, "--model", "openai/gpt-4o")[0] == "1 rows imported, 0 repeated, 0 refused.\n"


@pytest.mark.parametrize(("name", "rows"), [("code", 8_819) if ON_POSTGRES else ("conv", 19_366)])
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


def test_the_format_is_found_by_the_content(org: Organization, csv_file: Path, tmp_path: Path) -> None:
    usual_prices()
    assert "2 rows imported" in imported(str(csv_file), "--on-error", "skip")[0]
    lines = tmp_path / "a.txt"
    lines.write_text(
        json.dumps({"request_id": "j", "ts": 1777636800, "model": "m", "input_tokens": 1, "output_tokens": 2})
    )
    assert imported(str(lines))[0] == "1 rows imported, 0 repeated, 0 refused.\n"
    trace = tmp_path / "b.txt"
    trace.write_text(TRACE_HEADER + "2023-11-16 18:15:46.6805900,374,44\n")
    assert imported(str(trace), "--model", "gpt-4o")[0].startswith("1 rows imported")
    logs = tmp_path / "c.txt"
    logs.write_text(
        json.dumps(
            [
                {
                    "request_id": "l",
                    "startTime": "2026-05-01 12:00",
                    "prompt_tokens": 1,
                    "completion_tokens": 2,
                    "model": "m",
                }
            ]
        )
    )
    assert 'row 1: startTime: "2026-05-01 12:00" is not a time' in refused(str(logs))[0]
    packed = tmp_path / "d.gz"
    packed.write_bytes(b"\x1f\x8b\x08\x00")
    assert refused(str(packed))[1] == "The file is packed with gzip. Unpack it first."
    packed.write_bytes(b"PK\x03\x04")
    assert refused(str(packed))[1].endswith("zip. Unpack it, or save the sheet of a workbook as CSV.")
    wide = tmp_path / "e.csv"
    wide.write_text(CSV_HEADER, encoding="utf-16")
    assert refused(str(wide))[1] == "The file is UTF-16. Save it as UTF-8."


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.csv"
    path.write_text(THEIRS + "a,2026-05-01 12:00:00,m,1,2,0.00022500000000000002,x\nb,2026-05-01 12:00:00,m,many,2,,\n")
    return path


def test_nothing_is_guessed_unless_it_is_asked_for(org: Organization, theirs: Path) -> None:
    out, _ = refused(str(theirs))
    assert out.startswith('line 1: unknown column in the header: "id", "timestamp", "prompt_tokens"')
    out, err = imported(str(theirs), "--guess", "--on-error", "skip", "--set", "provider=openai")
    assert out.endswith("1 rows imported, 0 repeated, 1 refused.\n")
    assert "timestamp: ts_utc" in err.splitlines()
    assert "note: left out" in err.splitlines()
    row = RequestLog.objects.get()
    assert (row.request_id, row.cost_usd, row.provider) == ("a", Decimal("0.000225"), "openai")


def test_columns_are_mapped_by_hand(org: Organization, theirs: Path) -> None:
    maps = [
        "id=request_id",
        "timestamp=ts_utc",
        "prompt_tokens=input_tokens",
        "completion_tokens=output_tokens",
        "cost=",
    ]
    arguments = [part for text in [*maps, "note=tag"] for part in ("--map", text)]
    assert "1 rows imported" in imported(str(theirs), *arguments, "--on-error", "skip")[0]
    assert (RequestLog.objects.get().tag, RequestLog.objects.get().cost_usd) == ("x", None)
    assert "is mapped to price, which is no column" in refused(str(theirs), "--map", "cost=price")[1]


def test_a_preview_shows_what_would_happen_and_stores_nothing(org: Organization, theirs: Path) -> None:
    out, _ = imported(str(theirs), "--preview", "--guess")
    assert out.splitlines() == [
        "Format: csv",
        'Column id -> request_id (a guess; --guess takes it); "a", "b"',
        'Column timestamp -> ts_utc (a guess; --guess takes it); "2026-05-01 12:00:00", "2026-05-01 12:00:00"',
        'Column model -> model; "m", "m"',
        'Column prompt_tokens -> input_tokens (a guess; --guess takes it); "1", "many"',
        'Column completion_tokens -> output_tokens (a guess; --guess takes it); "2", "2"',
        'Column cost -> cost_usd (a guess; --guess takes it); "0.00022500000000000002"',
        'Column note -> left out (a guess; --guess takes it); "x"',
        "line 2: request_id=a, ts=2026-05-01T12:00:00Z, model=m, requested_model=m, input_tokens=1, output_tokens=2, "
        "cost_usd=0.000225000",
        'line 3: prompt_tokens: "many" is not a whole number',
        "Nothing was stored: this is a preview of the first records.",
    ]
    out, _ = imported(str(theirs), "--preview")
    assert 'Column note -> unknown: --map it, or --guess; "x"' in out
    assert "Missing: request_id. --map a column to it.\nMissing: ts. --map a column to it, or --set it." in out
    assert not RequestLog.objects.exists()


def hints(*arguments: str) -> list[str]:
    err = StringIO()
    with pytest.raises(CommandError):
        call_command("import_logs", *arguments, "--org", "acme", stdout=StringIO(), stderr=err)
    return err.getvalue().splitlines()


def test_a_refusal_that_a_mapping_would_mend_says_how_to_map_here(
    org: Organization, theirs: Path, csv_file: Path, tmp_path: Path
) -> None:
    how = "A column is mapped with --map THEIRS=OURS, as --map ts=ts_utc, and left out with --map THEIRS="
    guesses = ", ".join(
        ["id=request_id", "timestamp=ts_utc", "prompt_tokens=input_tokens", "completion_tokens=output_tokens",
         "cost=cost_usd", "note="]
    )  # fmt: skip
    assert hints(str(theirs)) == [f"Probably {guesses}: --guess maps so, and --preview --guess shows it.", how]
    assert hints(str(csv_file)) == [how]
    other = tmp_path / "other.csv"
    other.write_text(CSV_HEADER + "r1,2026-05-01T12:00:00Z,m,-1,2,,\n")
    assert hints(str(other)) == []


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n", b"null", b"42\n", b"\n\n"], ids=["pdf", "null", "42", "blank"]
)
def test_what_has_no_column_of_ours_gets_no_advice_to_leave_everything_out(
    org: Organization, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "log"
    file.write_bytes(content)
    assert not any("Probably" in line for line in hints(str(file)))


def test_names_of_a_file_reach_the_terminal_escaped(org: Organization, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(THEIRS.replace("note", "\x1b]0;pwned\x07\x1b[31mx") + "a,2026-05-01T12:00:00Z,m,1,2,,y\n")
    escaped = r"\x1b]0;pwned\x07\x1b[31mx"
    assert f"cost=cost_usd, {escaped}=: --guess maps so" in hints(str(file))[0]
    assert f"Column {escaped} -> unknown" in imported(str(file), "--preview")[0]
    assert f"{escaped}: left out" in imported(str(file), "--guess")[1].splitlines()
    row = {"request_id": "a", "ts": 1777636800, "model": "m", "input_tokens": 1, "output_tokens": 2}
    file.write_text(json.dumps({**row, "metadata": {"\x9b31m": 1}}, ensure_ascii=False))
    assert r"""metadata={"\x9b31m": 1}""" in imported(str(file), "--preview")[0]


@pytest.mark.parametrize("content", [CSV_HEADER, "[]"])
def test_a_file_without_rows_is_said_to_have_none(org: Organization, tmp_path: Path, content: str) -> None:
    file = tmp_path / "log"
    file.write_text(content)
    assert imported(str(file))[0] == "0 rows imported, 0 repeated, 0 refused.\nThe file has no rows.\n"
    assert "The file has no rows.\nNothing was stored" in imported(str(file), "--preview")[0]


def test_what_cannot_be_read_twice_is_refused(org: Organization, csv_file: Path) -> None:
    pipe, end = os.pipe()
    os.write(end, csv_file.read_bytes())
    os.close(end)
    for path in (f"/dev/fd/{pipe}", os.devnull):
        why = f"{path} is a pipe or a device, which cannot be read twice: write it to a file first."
        assert refused(path, "--format", "csv")[1] == why
    os.close(pipe)


@pytest.fixture
def long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five times as many rows as are stored at once."""
    monkeypatch.setattr(services, "CHUNK", 100)
    monkeypatch.setattr(services, "PROGRESS_EVERY", 100)
    path = tmp_path / "long.csv"
    path.write_text(CSV_HEADER + "".join(f"r{n},2026-05-01T12:00:00Z,m,1,2,,\n" for n in range(500)))
    return path


@pytest.mark.parametrize("on_error", ["skip", "abort"])
@pytest.mark.parametrize(
    ("problem", "said", "code"),
    [
        (
            OperationalError("database is locked\nmore"),
            "The database is busy, away or not migrated: database is locked.",
            1,
        ),
        (InterfaceError(), "The database is busy, away or not migrated: it does not answer.", 1),
        (KeyboardInterrupt(), "Interrupted.", 130),
    ],
)
def test_what_stops_an_import_is_one_line_that_counts_what_was_stored(
    org: Organization,
    long_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_error: str,
    problem: BaseException,
    said: str,
    code: int,
) -> None:
    calls = iter([services._insert, services._insert])

    def insert(*arguments: Any) -> None:
        real = next(calls, None)
        if real is None:
            raise problem
        real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(services, "_insert", insert)
        with pytest.raises(CommandError) as caught:
            imported(str(long_file), "--on-error", on_error)
    assert caught.value.returncode == code
    assert str(caught.value) == (
        f"{said} 200 rows were stored at the last count; importing the file again is harmless and adds the rest."
    )
    assert RequestLog.objects.count() == 200
    assert imported(str(long_file))[0] == "300 rows imported, 200 repeated, 0 refused.\n"


def test_what_stops_it_before_a_row_is_stored_says_so(
    org: Organization, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(services, "record", stop)
        assert "Interrupted. Nothing was stored at the last count;" in refused(str(long_file))[1]
    monkeypatch.setattr(import_logs, "import_rows", stop)
    assert refused(str(long_file))[1] == "Interrupted. Nothing was stored; importing the file again is harmless."


def test_an_import_whose_end_cannot_be_recorded_shows_no_traceback(
    org: Organization, long_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = services.record

    def record(*arguments: Any, **more: Any) -> Any:
        if more["action"] != "logs.import_began":
            raise OperationalError("database is locked")
        return real(*arguments, **more)

    monkeypatch.setattr(services, "record", record)
    assert "database is locked. 400 rows were stored" in refused(str(long_file))[1]
    assert [(line.getMessage(), line.exc_info) for line in caplog.records] == [
        ("the interruption of an import could not be recorded", None)
    ]


def test_on_a_terminal_a_bar_moves(org: Organization, tmp_path: Path) -> None:
    path = tmp_path / "logs.csv"
    rows = (f"r{n},2026-05-01T12:00:00Z,m,1,2,,\n" for n in range(3000))
    path.write_text(CSV_HEADER + "".join(rows))
    terminal = StringIO()
    terminal.isatty = lambda: True
    call_command("import_logs", str(path), "--org", "acme", stdout=StringIO(), stderr=terminal, no_color=True)
    shown = terminal.getvalue()
    assert "\r[########                ]  33% 1,000 records checked" in shown
    assert "records imported" in shown
    assert shown.endswith("\r\x1b[K")
