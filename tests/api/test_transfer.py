"""Routes leave as a file and come back, in JSON and in YAML."""

import json
from typing import Any

import pytest

from routes.document import document_of
from routes.orgs.models import Organization
from routes.orgs.services import update_organization
from routes.rules.models import Route
from routes.transfer.notation import read_yaml, write_yaml
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import BY, a_route, an_org, many_routes

pytestmark = pytest.mark.django_db
YAML = "application/yaml"
NEW = {"name": "new", "then": {"target_model": "small"}}


def send(
    caller: Caller, body: Any, *, seen: str | None = "*", query: str = "", media_type: str = "", **more: Any
) -> Any:
    headers = {**more, **({} if seen is None else {"If-Match": seen})}
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    url = f"{caller.base}routes/import/{query}"
    return caller.client.generic("POST", url, data, content_type=media_type or "application/json", headers=headers)


def merge(*routes: Any, **more: Any) -> dict[str, Any]:
    return {"mode": "merge", "content": {"routes": list(routes), **more}}


# --- Export -----------------------------------------------------------------------------------------------------------


def test_what_is_live_is_exported_as_json_and_as_yaml(viewer: Caller, org: Organization) -> None:
    a_route(org)
    plain = viewer("get", "routes/export/")
    assert (plain["Content-Type"], plain["ETag"]) == ("application/json", '"1"')
    assert plain["Content-Disposition"] == 'attachment; filename="acme-routes-v1.json"'
    assert "Accept" in plain["Vary"]
    assert plain.json() == document_of(org).content
    for answer in (
        viewer("get", "routes/export/?as=yaml"),
        viewer("get", "routes/export/", headers={"Accept": YAML}),
        viewer("get", "routes/export/?as=yaml", headers={"Accept": "application/json"}),
    ):
        assert (answer["Content-Type"], answer["ETag"]) == (YAML, '"1-yaml"')
        assert answer["Content-Disposition"] == 'attachment; filename="acme-routes-v1.yaml"'
        assert read_yaml(answer.content) == plain.json()
    assert viewer("get", "routes/export/?as=json", headers={"Accept": YAML})["Content-Type"] == "application/json"


@pytest.mark.parametrize(("accept", "etag"), [("application/json", '"1"'), (YAML, '"1-yaml"')])
def test_who_has_the_export_is_told_so(viewer: Caller, org: Organization, accept: str, etag: str) -> None:
    def asked(seen: str) -> Any:
        return viewer("get", "routes/export/", headers={"Accept": accept, "If-None-Match": seen})

    a_route(org)
    again = asked(etag)
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    assert "Accept" in again["Vary"]
    a_route(org, "other")
    assert asked(etag).status_code == 200


def test_who_has_the_export_in_one_notation_does_not_have_the_other(viewer: Caller, org: Organization) -> None:
    a_route(org)
    for accept, other in ((YAML, '"1"'), ("application/json", '"1-yaml"')):
        answer = viewer("get", "routes/export/", headers={"Accept": accept, "If-None-Match": other})
        assert (answer.status_code, answer["Content-Type"]) == (200, accept)


def test_an_export_in_another_form_is_refused_in_json(viewer: Caller, org: Organization) -> None:
    for query in ("as=xml", "as=", "as=yaml&as=json", "in=yaml"):
        assert viewer("get", f"routes/export/?{query}").status_code == 422, query
    problem(viewer("get", "routes/export/", headers={"Accept": "text/csv"}), 406, "not_acceptable")
    refusal = viewer("get", "routes/export/?as=xml", headers={"Accept": YAML})
    assert problem(refusal, 422, "invalid")["errors"][0]["pointer"] == "/as"


# --- Import -----------------------------------------------------------------------------------------------------------


def test_an_import_answers_what_it_changed(editor: Caller, org: Organization) -> None:
    row = a_route(org)
    answer = send(editor, merge({**row.as_document(), "priority": 7}, NEW) | {"note": "from staging"}, seen='"1"')
    found = answer.json()
    assert (answer.status_code, answer["ETag"], found["version"], found["changed"]) == (200, '"2"', 2, True)
    assert found["digest"] == document_of(org).digest
    assert found["receipt"]["seq"] > 0
    assert [(change["name"], change["change"]) for change in found["difference"]] == [
        ("new", "added"),
        ("short", "changed"),
    ]
    newest = editor("get", "versions/").json()["results"][0]
    assert (newest["cause"], newest["note"]) == ("routes.imported", "from staging")


@pytest.mark.parametrize("notation", ["json", "yaml"])
@pytest.mark.parametrize("is_large", [False, True])
def test_an_export_is_taken_as_it_comes_also_elsewhere(
    editor: Caller, org: Organization, notation: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_routes(org, 20)
    if is_large:
        monkeypatch.setattr("routes.transfer.files._LARGE", 1_000)
    other = Caller(an_org("other"), "editor")
    content = editor("get", f"routes/export/?as={notation}").content.decode()
    if notation == "json":
        body, media_type = f'{{"mode": "replace", "content": {content}}}', "application/json"
    else:
        indented = "\n".join(f"  {line}" for line in content.splitlines())
        body, media_type = f"mode: replace\ncontent:\n{indented}\n", YAML
    answer = send(other, body, media_type=media_type)
    assert (answer.status_code, answer.json()["digest"]) == (200, document_of(org).digest)
    assert send(editor, body, media_type=media_type).json()["changed"] is False


def test_a_dry_run_tells_the_difference_and_writes_nothing(editor: Caller, org: Organization) -> None:
    answer = send(editor, merge(NEW), query="?dry_run=1")
    found = answer.json()
    assert (found["dry_run"], found["receipt"], "ETag" in answer) == (True, None, False)
    assert [change["change"] for change in found["difference"]] == ["added"]
    assert not Route.objects.exists()


def test_an_import_needs_the_list_as_it_is(editor: Caller, org: Organization) -> None:
    a_route(org)
    problem(send(editor, "{", seen=None), 428, "precondition_required")
    problem(send(editor, "{", seen='"0"'), 400, "malformed_body")
    problem(send(editor, {}, seen='"0"'), 422, "invalid")
    stale = send(editor, merge(NEW), seen='"0"')
    body = problem(stale, 412, "stale_version")
    assert (stale["ETag"], body["current"], body["difference"][0]["change"]) == ('"1"', 1, "added")
    problem(send(editor, merge({"name": "new", "then": {"target_model": ""}}), seen='"0"'), 422, "invalid_import")
    stale = send(editor, merge(NEW), seen='"0-yaml"')
    assert (stale["ETag"], problem(stale, 412, "stale_version")["difference"][0]["change"]) == ('"1"', "added")
    for wrong in ('"1-json"', '"01"', '"r1"', 'W/"1-yaml"', '"-yaml"'):
        assert send(editor, merge(NEW), seen=wrong).status_code == 412, wrong
    for notation, name in (("json", "one"), ("yaml", "two")):
        etag = editor("get", f"routes/export/?as={notation}")["ETag"]
        assert send(editor, merge({**NEW, "name": name}), seen=etag).status_code == 200


def test_an_import_that_is_repeated_with_its_key_is_done_once(editor: Caller, org: Organization) -> None:
    answers = [send(editor, merge(NEW), seen='"0"', **{"Idempotency-Key": "once"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert Route.objects.count() == 1


def test_what_is_wrong_is_told_at_its_place(editor: Caller, org: Organization) -> None:
    body = merge(NEW, {"name": "x", "then": {"target_modle": "m"}}, default={"a": 1})
    found = problem(send(editor, body), 422, "invalid_import")
    assert {error["pointer"] for error in found["errors"]} >= {
        "/content/default/a",
        "/content/routes/1/then/target_modle",
    }
    same = problem(send(editor, write_yaml(body), media_type=YAML), 422, "invalid_import")
    assert same["errors"] == found["errors"]
    for wrong in (
        {"mode": "overwrite", "content": {"routes": []}},
        {"mode": "merge"},
        {**merge(), "x": 1},
        [],
        None,
        1,
    ):
        assert send(editor, wrong).status_code in (400, 422), wrong


def test_yaml_is_as_strict_as_json_and_names_the_line(editor: Caller, org: Organization) -> None:
    for text, says in (
        ("mode: merge\nmode: replace\n", "Line 2: The key 'mode' is there twice"),
        ("mode: merge\ncontent: &a {routes: []}\n", "Line 2: &a"),
        ("mode: merge\ncontent: *a\n", "Line 2: *a"),
        ("mode: !!python/name:os.system merge\n", "Line 1: The tag"),
        ("mode: merge\nenabled: yes\n", "Line 2: 'yes' is read as one thing here and as another there"),
        ("mode: [", "This is not YAML"),
        ("[" * 100, "nested deeper"),
    ):
        body = problem(send(editor, text, media_type=YAML), 400, "malformed_body")
        assert says in body["detail"], text
    problem(send(editor, "a: 1", media_type="text/yaml"), 415, "unsupported_media_type")
    assert send(editor, "mode: merge\ncontent: {routes: []}\n", media_type=YAML).json()["changed"] is False


def test_where_direct_changes_are_refused_so_is_an_import(editor: Caller, org: Organization) -> None:
    update_organization(org, approval="all", by=BY)
    problem(send(editor, merge(NEW)), 409, "approval_required")
    assert not Route.objects.exists()
