"""A file is exported, compared, looked at and imported; what is confirmed is what was shown, and nothing typed is lost."""

import json
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from routes.document import document_of
from routes.errors import StaleVersion
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.rules.models import Route
from routes.transfer.notation import MAX_BYTES, read_yaml
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_person, a_route
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db
YAML = "routes:\n  - name: new\n    then:\n      target_model: small\n"
#: The buttons, which `Controls` does not press.
COMPARE, IMPORT = {"step": "compare"}, {"step": "import"}


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def compared(client: Client, org: Organization, status: int = 200, **form: Any) -> str:
    sent = {"text": YAML, "mode": "merge", "note": "", **COMPARE, **form}
    return text_of(client.post(url(org, "routes/import/"), sent), status)


def pressed(page: str) -> dict[str, Any]:
    """What the browser sends of this page, but for the button."""
    return dict(Controls(page).sent.items())


def test_routes_are_exported_from_their_page(client: Client, org: Organization) -> None:
    a_route(org)
    page = text_of(client.get(url(org, "routes/")))
    for notation, read in (("json", json.loads), ("yaml", read_yaml)):
        assert f"/routes/export/?as={notation}" in page
        answer = client.get(url(org, f"routes/export/?as={notation}"))
        assert answer["Content-Disposition"] == f'attachment; filename="acme-routes-v1.{notation}"'
        assert read(answer.content) == document_of(org).content
    assert client.get(url(org, "routes/export/?as=xml")).status_code == 404


def test_a_text_is_compared_and_then_imported(client: Client, org: Organization) -> None:
    a_route(org, "stays")
    page = compared(client, org, note="from staging")
    assert "1 change of version 1" in page
    assert "any request → small, priority 100" in page
    assert not Route.objects.filter(name="new").exists()
    page = text_of(client.post(url(org, "routes/import/"), {**pressed(page), **IMPORT}, follow=True))
    assert "Live as version 2. Audit receipt: entry" in page
    assert Route.objects.filter(name="new").exists()
    assert RouteSetVersion.objects.get(version=2).note == "from staging"


@pytest.mark.parametrize("notation", ["json", "yaml"])
def test_an_export_that_is_uploaded_changes_nothing_and_stands_in_the_page(
    client: Client, org: Organization, notation: str
) -> None:
    a_route(org)
    exported = client.get(url(org, f"routes/export/?as={notation}")).content
    file = SimpleUploadedFile(f"routes.{notation}", b"\xef\xbb\xbf" + exported)
    page = compared(client, org, file=file, text="typed before", mode="replace")
    assert "Nothing would change: version 1 has just this." in page
    assert pressed(page)["text"] == exported.decode().replace("\n", "\r\n")
    assert "typed before" not in page


def test_a_file_is_imported_from_the_page_that_showed_it(client: Client, org: Organization) -> None:
    gone = a_route(org, "gone")
    page = compared(client, org, file=SimpleUploadedFile("r.yaml", YAML.encode()), text="", mode="replace")
    assert "2 changes of version 1" in page
    sent = pressed(page)
    assert sent["mode"] == "replace"
    assert "version 2" in text_of(client.post(url(org, "routes/import/"), {**sent, **IMPORT}, follow=True))
    assert list(Route.objects.values_list("name", flat=True)) == ["new"]
    assert not Route.objects.filter(uid=gone.uid).exists()


def test_where_somebody_was_faster_the_new_difference_is_shown_and_nothing_is_lost(
    client: Client, org: Organization
) -> None:
    sent = pressed(compared(client, org, mode="replace", note="from staging"))
    a_route(org, "urgent")
    page = text_of(client.post(url(org, "routes/import/"), {**sent, **IMPORT}), 422)
    assert "“urgent” was added by test after you looked: version 1 is live now." in page
    assert "2 changes of version 1" in page
    assert Route.objects.get().name == "urgent"
    again = pressed(page)
    assert {name: again[name] for name in ("text", "mode", "note")} == {
        name: sent[name] for name in ("text", "mode", "note")
    }
    assert "Live as version 2" in text_of(client.post(url(org, "routes/import/"), {**again, **IMPORT}, follow=True))


def test_somebody_may_be_faster_by_a_moment(client: Client, org: Organization) -> None:
    sent = pressed(compared(client, org))
    with patch("routes.transfer.admin.import_routes", side_effect=StaleVersion(0, 1)):
        page = text_of(client.post(url(org, "routes/import/"), {**sent, **IMPORT}), 422)
    assert "Nothing was imported." in page
    assert "1 change of version 0" in page


@pytest.mark.parametrize("changed", [{"text": YAML.replace("small", "large")}, {"mode": "replace"}])
def test_what_was_not_shown_is_not_imported(client: Client, org: Organization, changed: dict[str, str]) -> None:
    a_route(org)
    sent = pressed(compared(client, org)) | changed
    page = text_of(client.post(url(org, "routes/import/"), {**sent, **IMPORT}), 422)
    assert "You changed the text, or what its routes do, after you looked." in page
    assert Route.objects.count() == 1
    assert "Live as" in text_of(client.post(url(org, "routes/import/"), {**pressed(page), **IMPORT}, follow=True))


def test_what_is_wrong_is_told_at_the_text_and_the_text_stays(client: Client, org: Organization) -> None:
    for text, says in (
        ("", "Choose a file, or put its text below."),
        ("routes: []\nroutes: []", "Line 2: The key &#x27;routes&#x27; is there twice"),
        ('{"routes": [}', "This is not JSON"),
        ("routes:\n  - name: a\n    then: {target_modle: m}\n", "Route 1 (&#x27;a&#x27;), then.target_modle: "),
        ("routes: 1", "routes: The routes are a list."),
        ("just words", "This is an object of default, routes and services"),
        ("routes: []\nservices: [{}]", "Service 1, slug: "),
        ("a\0b", "ull characters are not allowed"),
    ):
        page = compared(client, org, 422, text=text)
        assert says in page, text
        if text and "\0" not in text:
            assert pressed(page)["text"] == text.replace("\n", "\r\n")
    many = json.dumps({"routes": [{"name": f"r{number}", "then": {}} for number in range(50)]})
    assert "30 more things are wrong" in compared(client, org, 422, text=many)
    assert "Control characters" in compared(client, org, 422, note="a\x07b")
    assert "Select a valid choice" in compared(client, org, 422, mode="overwrite")
    assert not Route.objects.exists()


def test_the_form_says_which_routes_are_replaced(client: Client, org: Organization) -> None:
    row = a_route(org, "short")
    other = {"id": str(uuid4()), "name": "short", "then": {"target_model": "small"}}
    page = text_of(client.get(url(org, "routes/import/")))
    assert "replace those with their id, or where they have none, with their name" in page
    assert "with another id than the live one of its name it is refused" in page
    page = compared(client, org, 422, text=json.dumps({"routes": [other]}))
    assert "There would be two routes called “short”" in page
    for known in ({**other, "id": str(row.uid), "name": "renamed"}, {"name": "short", "then": other["then"]}):
        assert "1 change of version 1" in compared(client, org, text=json.dumps({"routes": [known]}))


def test_a_file_that_is_none_is_told(client: Client, org: Organization) -> None:
    for data, says in (
        (b"\xff\xfe", "This is no file of text in UTF-8."),
        (b"a\0b", "it has U+0000"),
        (b" " * (MAX_BYTES + 1), "which no export has"),
    ):
        assert says in compared(client, org, 422, file=SimpleUploadedFile("x.yaml", data))


def test_what_the_service_refuses_is_told_on_the_page(client: Client, org: Organization) -> None:
    sent = pressed(compared(client, org))
    freeze(org, reason="an incident", by=BY)
    page = text_of(client.post(url(org, "routes/import/"), {**sent, **IMPORT}), 422)
    assert "an incident" in page
    assert pressed(page)["text"] == sent["text"]


def test_who_only_looks_exports_and_does_not_import(org: Organization) -> None:
    viewer = Client()
    viewer.force_login(a_person("vera", org, "viewer"))
    page = text_of(viewer.get(url(org, "routes/")))
    assert "Export JSON" in page
    assert "Import …" not in page
    assert viewer.get(url(org, "routes/export/")).status_code == 200
    assert viewer.get(url(org, "routes/import/")).status_code == 403
