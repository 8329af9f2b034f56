"""`manage.py import_prices`: it shows, asks, and does."""

import io
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from routes.catalog.models import ModelPrice
from routes.orgs.models import Organization
from tests.routes.catalog.build import entry, own, table

pytestmark = pytest.mark.django_db


def run(*arguments: object, **options: Any) -> str:
    out = io.StringIO()
    call_command("import_prices", *map(str, arguments), stdout=out, **options)
    return out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(text + "\n"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    path.write_bytes(table(**{"gpt-4o": entry(), "gpt-4o-mini": entry("1.5e-7", "6e-7"), "bad": entry("-1")}))
    return path


def own_file(path: Path, *rows: Any) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_it_shows_what_changes_and_does_it(file: Path) -> None:
    text = run(file, "--yes")
    assert "LiteLLM price table: 2 prices, beside everybody's prices." in text
    assert "2 added:\n  openai/gpt-4o: input 2.5, output 10\n" in text
    assert "1 refused:\n  bad: input_cost_per_token is below 0" in text
    assert "0 prices changed, 2 added, 0 with other facts." in text
    assert ModelPrice.objects.get(model="gpt-4o").source == "LiteLLM price table, prices.json"
    assert AuditEntry.objects.get().actor_id == "import_prices"
    own_file(file, own("gpt-4o", 2, 10, supports_images=True, max_output_tokens=1))
    text = run(file, "--yes", "--since", "2026-12-01T00:00:00Z")
    assert "1 changed:\n  openai/gpt-4o: input 2.5 → 2 (-20.0%), max output tokens none → 1, supports images" in text
    assert "1 no longer in the file, kept (--verbosity 2 names them).\n" in text
    assert "gpt-4o-mini" not in text
    text = run(file, "--dry-run", verbosity=2)
    assert "1 no longer in the file, kept:\n  openai/gpt-4o-mini\n" in text
    assert "Nothing would change." in run(file, "--yes", "--since", "2026-12-01T00:00:00Z")


def test_a_dry_run_changes_nothing(file: Path) -> None:
    assert "2 added" in run(file, "--dry-run")
    assert not ModelPrice.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(("said", "rows"), [("y", 2), (" YES ", 2), ("n", 0), ("", 0)])
def test_it_asks_first(file: Path, said: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, said)
    if rows:
        run(file)
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            run(file)
    assert ModelPrice.objects.count() == rows


def test_no_answer_is_no(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(CommandError, match=r"Nothing was changed\.$"):
        run(file)


@pytest.mark.parametrize(
    ("where", "why"),
    [("input", "nothing was changed"), ("import_prices", "importing the file again is harmless")],
)
def test_to_interrupt_it_is_one_line(file: Path, monkeypatch: pytest.MonkeyPatch, where: str, why: str) -> None:
    answer(monkeypatch, "y")
    place = "builtins" if where == "input" else "routing_admin.management.commands.import_prices"
    monkeypatch.setattr(f"{place}.{where}", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(CommandError) as caught:
        run(file)
    assert (str(caught.value), caught.value.returncode) == (f"Interrupted; {why}.", 130)
    assert not ModelPrice.objects.exists()


def test_without_a_terminal_it_wants_to_be_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(CommandError, match="no terminal to ask at"):
        run(file)
    assert not ModelPrice.objects.exists()


def test_what_changes_while_it_asks_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Meanwhile(Terminal):
        def readline(self, *limit: Any) -> str:
            ModelPrice.objects.create(
                provider="openai", model="gpt-4o", input_usd_per_million=7, output_usd_per_million=7
            )
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Meanwhile())
    with pytest.raises(CommandError, match="The prices changed after they were compared"):
        run(file)
    assert ModelPrice.objects.count() == 1


def test_an_organisation_s_prices_and_some_providers(file: Path, org: Organization) -> None:
    own_file(file, own("a"), own("b", provider="azure"))
    text = run(file, "--yes", "--org", "acme", "--provider", "azure")
    assert "beside the prices negotiated by Acme" in text
    assert "1 of other providers left out" in text
    assert list(ModelPrice.objects.values_list("provider", "org")) == [("azure", org.pk)]
    assert "Nothing would change" in run(file, "--yes", "--org", str(org.pk), "--provider", "azure")


def test_long_lists_are_cut_and_counted(file: Path) -> None:
    own_file(file, *(own(f"m{number:03}") for number in range(45)))
    text = run(file, "--dry-run")
    assert "45 added:" in text
    assert "… and 25 more" in text
    assert text.count("openai/") == 20


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["/nowhere/prices.json"], "cannot be read: No such file"),
        (["{file}", "--org", "nobody"], "There is no such organisation"),
        (["{file}", "--provider", "opneai"], "There are no prices of opneai"),
        (["{file}", "--since", "tomorrow"], "For example 2026-12-01T00:00:00Z"),
        (["{file}", "--since", "2026-12-01T00:00:00"], "For example"),
        (["{bad}"], "This is no price table"),
        (["{refused}"], "Nothing could be imported: every entry was refused"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], why: str, file: Path, tmp_path: Path) -> None:
    bad, refused = tmp_path / "bad.json", tmp_path / "refused.json"
    bad.write_text("{}")
    own_file(refused, own(input=-1))
    with pytest.raises(CommandError, match=why):
        run(*(text.format(file=file, bad=bad, refused=refused) for text in arguments), "--yes")
    assert not ModelPrice.objects.exists()


def test_a_file_far_too_large_is_not_read_whole(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as stream:
        stream.truncate(2_000_000_000)
    with pytest.raises(CommandError, match="more than 8,388,608 bytes"):
        run(huge, "--yes")
