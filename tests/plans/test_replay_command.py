"""`manage.py replay`: a file of logs against a file of routes, without a database."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command

from tests.paths import ROOT, shared

EXAMPLE = ROOT / "plans" / "examples" / "short-requests.json"
CSV = (
    "request_id,ts,provider,model,input_tokens,output_tokens,cost_usd,cluster_key\n"
    "a,2026-05-01T00:00:00Z,openai,gpt-4o,100,10,0.00035,u1\n"
    "b,2026-05-01T00:00:01Z,openai,gpt-4o,2000,10,0.0051,u2\n"
    "c,2026-05-01T00:00:02Z,openai,gpt-4o,x,10,0.0051,u2\n"
)
ID = "01a1fe74-09a3-7da3-b944-ab2306223924"
TO_M, NAMED_A, NAMED_B = (
    json.dumps({**more, "then": {"target_model": "m"}})
    for more in ({"name": "all"}, {"name": "a", "id": ID}, {"name": "b", "id": ID.upper()})
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log.csv"
    file.write_text(CSV)
    return file


def routes(tmp_path: Path, *raw: Any) -> str:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(list(raw)))
    return str(file)


def test_the_documented_plan_on_a_trace_of_real_traffic_gives_its_documented_answer(capsys: Any) -> None:
    trace = shared("data/azure-llm-2023-conv.csv")
    call_command("replay", str(trace), model="gpt-4o", routes=EXAMPLE)
    out = capsys.readouterr().out
    assert out.startswith("Saves $20.29 (21.0%) on 19,366 requests.\n95% interval of the savings: +$19.80 to +$20.78")
    assert "Data sha256:f223ea204d2f209c8cf3869c71632b653b2e00e82b11649b1b92f0b5b0e93887" in out


def test_it_says_what_the_routes_would_save_and_names_refused_records(log: Path, capsys: Any) -> None:
    call_command("replay", str(log), routes=EXAMPLE)
    said = capsys.readouterr()
    assert said.out.startswith("Saves $0.00033 (6.0%) on 2 requests.")
    assert "short requests to a small model" in said.out
    assert 'line 4: input_tokens: "x" is not a whole number' in said.err
    assert "Refused and left out: 1 of 3 lines." in said.out


def test_the_whole_result_is_json_and_the_same_each_time(log: Path, capsys: Any) -> None:
    answers = []
    for _ in range(2):
        call_command("replay", str(log), "--json", routes=EXAMPLE)
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["sample_size"] == 2


def test_routes_of_today_and_prices_of_a_file_are_taken(log: Path, tmp_path: Path, capsys: Any) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(
        '[{"provider": "p", "model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, '
        '"retires_on": "2027-01-01"}]'
    )
    to_m = {"name": "all", "when": {}, "then": {"target_model": "m"}}
    call_command("replay", str(log), "--json", "--prices", str(prices), "--routes", routes(tmp_path, to_m))
    result = json.loads(capsys.readouterr().out)
    assert result["aggregates"]["total_projected_cost_usd"] == (100 + 10 + 2000 + 10) / 1e6
    assert [caveat["values"] for caveat in result["caveats"] if caveat["code"] == "retiring_model"] == [
        {"models": {"m": {"retires_on": "2027-01-01", "requests": 2}}}
    ]
    same = routes(tmp_path, to_m)
    call_command("replay", str(log), "--prices", str(prices), "--routes", same, "--today", same)
    assert capsys.readouterr().out.startswith("Changes nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "has to be a list"),
        ('[{"name": "a"}]', "route 1: then"),
        ("[3]", "route 1"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        (f"[{TO_M}, {TO_M}]", "has 2 routes called all"),
        (f"[{NAMED_A}, {NAMED_B}]", f"has 2 routes with the id {ID}"),
    ],
    ids=lambda value: value[:30],
)
def test_routes_that_are_none_are_refused_with_their_place(log: Path, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=message):
        call_command("replay", str(log), "--routes", str(file))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.csv"], "cannot be read"),
        (["LOG", "--prices", "LOG"], r"log\.csv: The file is not JSON: it begins with neither"),
        (["LOG", "--model", "gpt-4o"], "names the model in each row"),
        (["LOG", "--iterations", "99"], "from 100 to 100,000"),
        (["LOG", "--iterations", "9" * 20], "from 100 to 100,000"),
        (["LOG", "--seed", "-1"], "from 0 to 2"),
        (["LOG", "--seed", str(2**53)], "from 0 to 2"),
        (["LOG", "--l1-ttl-seconds", "-1"], "more than 0"),
        (["LOG", "--l1-ttl-seconds", "nan"], "more than 0"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_what_to_do(log: Path, options: list[str], message: str) -> None:
    given = [str(log) if option == "LOG" else option for option in options]
    with pytest.raises(CommandError, match=message):
        call_command("replay", *given, routes=EXAMPLE)


def test_refused_prices_are_told_and_a_table_of_none_is_refused(log: Path, tmp_path: Path, capsys: Any) -> None:
    price = {"provider": "openai", "model": "gpt-4o-mini", "input_usd_per_million": 1, "output_usd_per_million": 1}
    wrong = [{**price, "model": f"m{number}", "input_usd_per_million": -1} for number in range(6)]
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps([price, *wrong]))
    call_command("replay", str(log), "--prices", str(prices), routes=EXAMPLE)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in told if line.startswith("prices.json")] == [
        f"openai/m{n}" for n in range(5)
    ]
    assert "Prices refused and left out: 6." in told
    prices.write_text(json.dumps(wrong))
    with pytest.raises(CommandError, match="no price that can be used"):
        call_command("replay", str(log), "--prices", str(prices), routes=EXAMPLE)


def test_columns_with_common_names_are_guessed_when_asked(log: Path, tmp_path: Path, capsys: Any) -> None:
    theirs = tmp_path / "theirs.csv"
    theirs.write_text(CSV.replace("input_tokens", "prompt_tokens").replace("ts,", "timestamp,"))
    call_command("replay", str(theirs), "--guess", routes=EXAMPLE)
    said = capsys.readouterr()
    assert "prompt_tokens: input_tokens" in said.err
    assert said.out.startswith("Saves $0.00033 (6.0%) on 2 requests.")
    with pytest.raises(CommandError, match="nothing to replay"):
        call_command("replay", str(theirs), routes=EXAMPLE)
    theirs.write_text(theirs.read_text().replace("cluster_key", "\x1b[31mx"))
    call_command("replay", str(theirs), "--guess", routes=EXAMPLE)
    assert r"\x1b[31mx: left out" in capsys.readouterr().err.splitlines()


def test_on_a_terminal_the_reading_shows_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    head, row = CSV.splitlines()[:2]
    file.write_text("\n".join([head, *(row.replace("a,", f"a{n},") for n in range(3_000))]))
    terminal = StringIO()
    terminal.isatty = lambda: True
    call_command("replay", str(file), routes=EXAMPLE, stdout=StringIO(), stderr=terminal, no_color=True)
    assert "1,000 records read" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def manage(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_who_has_enough_gets_no_traceback(log: Path) -> None:
    running = manage("replay", str(log), "--routes", str(EXAMPLE), "--json")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()  # as `head` does
    assert "Traceback" not in (said := running.stderr.read())
    assert "BrokenPipe" not in said
    assert running.wait() == 1
    running.stderr.close()


def test_without_settings_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    monkeypatch.delenv("SECRET_KEY")
    out, said = manage("replay", str(log), "--routes", str(EXAMPLE)).communicate()
    assert out == ""
    assert said.startswith("Set the SECRET_KEY environment variable.")
    assert ".env.example" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [("a,b\n1,2\n", "No record could be read"), ("", "No record could be read"), ("[]", "The file has no rows")],
)
def test_a_file_of_which_no_record_can_be_read_is_refused(tmp_path: Path, content: str, why: str) -> None:
    file = tmp_path / "empty"
    file.write_text(content)
    with pytest.raises(CommandError) as caught:
        call_command("replay", str(file), routes=EXAMPLE)
    assert str(caught.value) == f"{why}, so there is nothing to replay."


def test_what_cannot_be_read_twice_is_refused() -> None:
    with pytest.raises(CommandError, match="null is a pipe or a device, which cannot be read twice"):
        call_command("replay", os.devnull, routes=EXAMPLE)


def test_to_interrupt_it_is_one_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plans.management.commands.replay.blocks_of", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(CommandError) as caught:
        call_command("replay", str(log), routes=EXAMPLE)
    assert (str(caught.value), caught.value.returncode) == ("Interrupted; nothing was changed.", 130)
