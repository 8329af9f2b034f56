"""The page that imports logs, in a real browser: with JavaScript, without it, and on every screen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from plans.logs.models import RequestLog
from routes.orgs.models import Organization
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import COLORS, accessible, shot
from tests.build import a_person, an_org, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)
HEADER = "id,timestamp,model,prompt_tokens,completion_tokens,cost,user,note\n"


@pytest.fixture
def org() -> Organization:
    usual_prices()
    return an_org(environment="production")


def foreign(path: Path, rows: int, bad: tuple[int, ...] = ()) -> Path:
    """A CSV of somebody else: other names, doubles, times without a zone."""
    lines = [
        f"r{n},2026-05-01 12:{n // 60 % 60:02}:{n % 60:02},gpt-4o,{'many' if n in bad else 100 * n % 9000},50,"
        f'0.00022500000000000002,user-{n % 9},"a, b"\n'
        for n in range(1, rows + 1)
    ]
    path.write_text(HEADER + "".join(lines))
    return path


def test_the_page_is_clean_light_dark_and_on_a_phone_at_every_step(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/logs/import/")
    file = foreign(tmp_path / "requests of may.csv", 30, bad=(3,))

    def look(name: str) -> None:
        someone.check()
        accessible(page)
        shot(page, f"import-{name}")
        page.emulate_media(color_scheme="dark")
        accessible(page, COLORS)
        shot(page, f"import-{name}-dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 390, "height": 800})
        someone.check()
        shot(page, f"import-{name}-phone")
        page.set_viewport_size({"width": 1280, "height": 900})

    look("empty")
    page.get_by_label("File (required)").set_input_files(str(file))
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Preview of requests of may.csv").wait_for()
    look("preview")
    page.get_by_role("button", name="Import requests of may.csv").click()
    page.get_by_text("1 record was refused, so nothing was imported.").wait_for()
    look("refused")
    page.get_by_label("If a row is refused").select_option("skip")
    page.get_by_role("button", name="Import requests of may.csv").click()
    page.get_by_text("29 rows imported, 0 repeated, 1 refused.").wait_for()
    look("done")


def test_a_file_of_somebody_else_is_mapped_seen_and_imported_without_choosing_it_again(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/logs/")
    page.get_by_role("link", name="Import logs").click()
    page.get_by_label("File (required)").set_input_files(str(foreign(tmp_path / "theirs.csv", 4_000)))
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Preview of theirs.csv").wait_for()
    assert page.get_by_label("timestamp").input_value() == "ts_utc"
    assert page.get_by_label("note").input_value() == ""
    assert "user-1" in page.get_by_role("region", name="The first rows").inner_text()

    page.get_by_label("note").select_option("tag")
    page.get_by_role("region", name="The first rows").get_by_text("a, b").first.wait_for()
    assert page.get_by_label("note").evaluate("choice => choice === document.activeElement")
    page.get_by_role("button", name="Import theirs.csv").click()
    page.get_by_text("theirs.csv: 4,000 rows imported, 0 repeated, 0 refused.").wait_for()
    someone.check()
    row = RequestLog.objects.of(org).get(request_id="r7")
    assert (row.tag, row.cluster_key, str(row.cost_usd)) == ("a, b", "user-7", "0.000225000")
    assert [*AuditEntry.objects.filter(org_id=org.pk, action__startswith="logs.").values_list("action", flat=True)] == [
        "logs.import_began",
        "logs.imported",
    ]
    assert AuditEntry.objects.get(action="logs.imported").actor_type == "user"

    page.get_by_label("File (required)").set_input_files(str(tmp_path / "theirs.csv"))
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import theirs.csv").click()
    page.get_by_text("0 rows imported, 4,000 repeated").wait_for()
    assert RequestLog.objects.of(org).count() == 4_000


def test_the_bar_moves_and_cancelling_keeps_what_is_stored(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/logs/import/")
    page.get_by_label("File (required)").set_input_files(str(foreign(tmp_path / "long.csv", 60_000)))
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import long.csv").click()
    page.get_by_text("Checking:").wait_for()
    page.get_by_text("rows imported").wait_for()
    bar = page.get_by_label("Progress of the import")
    while bar.evaluate("bar => bar.value") < 0.1:
        page.wait_for_timeout(50)
    shot(page, "import-running")
    accessible(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. What was stored stays").wait_for()
    someone.check()
    page.wait_for_timeout(1500)  # the server notices at its next line
    stored = RequestLog.objects.of(org).count()
    assert 0 < stored < 60_000
    said = AuditEntry.objects.filter(org_id=org.pk, action__startswith="logs.").values_list("action", flat=True)
    assert [*said] == ["logs.import_began", "logs.import_interrupted"]
    assert page.get_by_role("button", name="Import long.csv").is_visible(), "the file and the mapping are still there"


def test_what_is_wrong_is_said_where_it_belongs_and_nothing_is_lost(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/logs/import/")
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    page.get_by_label("File (required)").set_input_files(str(trace))
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("A trace does not say which model served it").wait_for()
    shot(page, "import-no-model")
    page.get_by_label("Model").fill("gpt-40")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("gpt-40 has no price.").wait_for()
    page.get_by_label("Model").fill("gpt-4o")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import trace.csv").click()
    page.get_by_text("trace.csv: 1 rows imported").wait_for()
    someone.check()


def test_without_scripts_the_file_is_chosen_for_each_step(
    org: Organization, browser: Any, live_server: Any, tmp_path: Path
) -> None:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/o/{org.slug}/logs/import/")
    file = foreign(tmp_path / "theirs.csv", 30, bad=(3,))
    page.get_by_label("File (required)").set_input_files(str(file))
    page.get_by_role("button", name="Preview").click()
    says(page, "choose it again above")
    page.get_by_label("note").select_option("tag")
    page.get_by_label("If a row is refused").select_option("skip")
    shot(page, "import-without-scripts")
    page.get_by_label("File (required)").set_input_files(str(file))
    page.get_by_role("button", name="Import theirs.csv").click()
    says(page, "29 rows imported, 0 repeated, 1 refused.")
    says(page, "line 4: prompt_tokens")
    assert RequestLog.objects.of(org).filter(tag="a, b").count() == 29
    context.close()


def test_a_viewer_is_not_offered_the_import(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    someone = visitor(a_person("vera", org, "viewer"))
    page = someone.visit(f"/admin/o/{org.slug}/logs/")
    assert page.get_by_role("link", name="Import").count() == 0
