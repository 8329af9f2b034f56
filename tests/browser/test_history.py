"""History and files in a real browser: what was published is compared and brought back; routes leave and come back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routes import engine
from routes.history.services import restore_version
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from routes.transfer.notation import read_yaml
from routes.versions.models import RouteSetVersion
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import RICH
from tests.browser.test_prices import look
from tests.build import a_person, a_route, an_org, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    """A week of three people."""
    org = an_org(environment="production")
    usual_prices()
    edda, carl = a_person("edda", org, "editor"), a_person("carl", org, "admin")
    short = a_route(org, "short ones")
    rich = a_route(org, **RICH)
    document = {**short.as_document(), "priority": 7, "then": {"target_model": "gpt-4o", "fallbacks": ["gpt-4o-mini"]}}
    update_route(org, short.uid, engine.Route.from_dict(document), by=carl)
    set_default(org, engine.Action("gpt-4o-mini"), by=edda)
    delete_route(org, rich.uid, by=edda)
    restore_version(org, 4, by=carl, note="The nights cost twice as much without it.")
    a_route(org, "pictures", when={"has_images": True}, then={"target_model": "gpt-4o"})
    RouteSetVersion.objects.filter(org=org, version=1).update(content=None)
    return org


def test_versions_are_compared_and_one_is_brought_back(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("emma", org, "editor"))
    edda.expected.add(410)  # what is retired cannot be compared
    page = edda.visit(f"/admin/o/{org.slug}/")
    page.get_by_role("link", name="History").click()
    says(page, "Version 4 was restored")
    says(page, "The nights cost twice as much without it.")
    look(edda, "history")
    page.get_by_label("From version 2").check()
    page.get_by_label("To version 6").check()
    page.get_by_role("button", name="Compare the chosen two").click()
    says(page, "From version 2 to version 6")
    says(page, "Requests that no route takes")
    page.get_by_text("By field").first.click()
    look(edda, "history-compared")
    page.get_by_label("To version").fill("1")
    page.get_by_role("button", name="Compare").click()
    says(page, "not kept any more")
    page.get_by_role("link", name="Back to the history").click()

    page.get_by_role("link", name="Restore version 5").click()
    says(page, "in place of version 7")
    page.get_by_label("Note").fill("Without the nights after all")
    a_route(org, "meanwhile")
    page.get_by_role("button", name="Restore version 5: 2 changes").click()
    says(page, "“meanwhile” was added by test after you looked: version 8 is live now.")
    assert page.get_by_label("Note").input_value() == "Without the nights after all"
    look(edda, "history-restore")
    page.get_by_role("button", name="Restore version 5: 3 changes").click()
    says(page, "Version 5 is live again, as version 9. Audit receipt: entry")
    assert [row.name for row in Route.objects.of(org).in_order()] == ["short ones"]
    edda.check()


def test_routes_leave_as_a_file_and_come_back(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    edda = visitor(a_person("emma", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    for notation in ("JSON", "YAML"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Export {notation}").click()
        assert download.value.suggested_filename == f"acme-routes-v7.{notation.lower()}"
        download.value.save_as(tmp_path / f"routes.{notation.lower()}")
    look(edda, "routes-export")
    exported = read_yaml((tmp_path / "routes.yaml").read_bytes())
    assert len(exported["routes"]) == 3

    page.get_by_role("link", name="Import …").click()
    page.get_by_role("button", name="Show what would change").click()
    says(page, "Choose a file, or put its text below.")
    page.get_by_label("File").set_input_files(tmp_path / "routes.yaml")
    page.get_by_role("button", name="Show what would change").click()
    says(page, "Nothing would change: version 7 has just this.")
    text = page.get_by_label("Or its text").input_value()
    assert read_yaml(text.encode()) == exported
    page.get_by_label("Or its text").fill(text.replace("gpt-4o-mini", "gpt-4.1").replace("  - id", "  - idd", 1))
    page.get_by_role("button", name="Show what would change").click()
    says(page, "Route 1 ('pictures'), idd: There is no key 'idd' here.")
    look(edda, "routes-import-refused")
    page.get_by_label("Or its text").fill(text.replace("name: pictures", "name: images"))
    page.get_by_label("What the routes and services in it do").select_option("replace")
    page.get_by_role("button", name="Show what would change").click()
    says(page, "1 change of version 7")
    says(page, "name: pictures → images")
    page.get_by_label("Note").fill("Two clicks, no JSON")
    look(edda, "routes-import")
    a_route(org, "meanwhile")
    page.get_by_role("button", name="Import: 1 change").click()
    says(page, "“meanwhile” was added by test after you looked: version 8 is live now.")
    says(page, "2 changes of version 8")
    assert page.get_by_label("Note").input_value() == "Two clicks, no JSON"
    look(edda, "routes-import-stale")
    page.get_by_role("button", name="Import: 2 changes").click()
    says(page, "Live as version 9. Audit receipt: entry")
    assert set(Route.objects.values_list("name", flat=True)) == {"short ones", "nights and holidays", "images"}
    edda.check()
