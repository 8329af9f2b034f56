"""What was exported is imported to the same digest, here and elsewhere; what cannot be is refused as a whole."""

import json
import re
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from audit.services import payload_of
from routes import engine
from routes.document import EMPTY_CONTENT, content_with, document_of
from routes.errors import StaleVersion, TooManyRoutes
from routes.orgs.models import Organization, new_id
from routes.publish import publish
from routes.rules.content import make_live
from routes.rules.models import Route
from routes.rules.services import set_default
from routes.transfer import files
from routes.transfer.files import read_file, written
from routes.transfer.notation import read_yaml
from routes.transfer.services import Exported, InvalidImport, content_after, export_routes, import_routes
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_route, an_org, many_routes, state_of
from tests.databases import ON_POSTGRES
from tests.routes.rules.generate import CANONICAL_ACTIONS, NEW_ROUTES

pytestmark = pytest.mark.django_db
THEN = {"target_model": "small"}
SERVICES = st.builds(
    lambda slug, enabled, timeouts, paths: {"slug": slug, "enabled": enabled, "timeouts": timeouts, "paths": paths},
    st.from_regex(r"[a-z][a-z0-9-]{1,9}", fullmatch=True),
    st.booleans(),
    st.dictionaries(st.sampled_from(["connect_seconds", "idle_seconds"]), st.sampled_from([1, 2.5, 3600])),
    st.lists(
        st.sampled_from(
            [
                {"pattern": "/a/*", "target_url": "https://a.example"},
                {"pattern": "/:x", "target_url": "http://b.example:8080/base?k=v", "methods": ["GET", "POST"]},
                {
                    "pattern": "/h",
                    "target_url": "https://c.example",
                    "headers": {"x-a": ["1", "yes"]},
                    "enabled": False,
                },
            ]
        ),
        max_size=3,
        unique_by=lambda path: path["pattern"],
    ),
)
UID = "0190a000-0000-7000-8000-000000000001"


def names(org: Organization) -> list[str]:
    return [row.name for row in Route.objects.of(org).in_order()]


def imported(org: Organization, *routes: Any, mode: str = "merge", **more: Any) -> Any:
    return import_routes(org, {"routes": list(routes), **more}, mode=mode, by=BY)


# --- Round trips ------------------------------------------------------------------------------------------------------


@settings(max_examples=6 if ON_POSTGRES else 20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    routes=st.lists(NEW_ROUTES, max_size=5, unique_by=lambda route: route["name"]),
    default=st.none() | CANONICAL_ACTIONS,
    notation=st.sampled_from([files.JSON, files.YAML]),
    others=st.lists(NEW_ROUTES, max_size=2, unique_by=lambda route: route["name"]),
    services=st.lists(SERVICES, max_size=3, unique_by=lambda service: service["slug"]),
)
def test_an_export_is_imported_to_the_same_digest_here_and_in_another_organisation(
    org: Organization, routes: Any, default: Any, notation: str, others: Any, services: Any
) -> None:
    def live(in_org: Organization, these: Any, action: Any, had: Any = ()) -> None:
        with publish(in_org.pk, by=BY, action="test.made", target=("organization", in_org.pk)) as change:
            known = [{"id": str(new_id()), **route} for route in sorted(these, key=lambda route: -route["priority"])]
            make_live(change, content_with(known, default=action, services=had))

    other = Organization.objects.filter(slug="other").first() or an_org("other")
    live(org, routes, default, sorted(services, key=lambda service: service["slug"]))
    live(other, others, None)
    before = document_of(org)
    text = written(export_routes(org), notation).decode()
    live(org, others, None)
    for target in (org, other):
        change, _ = import_routes(target, read_file(text), mode="replace", by=BY)
        assert change.digest == before.digest
        again, difference = import_routes(target, read_file(text), mode="replace", by=BY)
        assert (again.changed, again.receipt, difference) == (False, None, [])
        merged, _ = import_routes(target, read_file(text), mode="merge", by=BY)
        assert merged.changed is False


def test_an_export_is_written_as_people_read_it(org: Organization) -> None:
    a_route(org)
    exported = export_routes(org)
    assert list(exported.content["routes"][0]) == ["id", "name", "priority", "enabled", "when", "then"]
    text = written(exported, files.JSON).decode()
    assert text.startswith('{\n  "default": null,\n  "routes": [\n    {\n      "id": "')
    assert json.loads(text) == document_of(org).content
    assert files.file_name(org, exported, files.YAML) == "acme-routes-v1.yaml"


def test_of_nothing_there_is_an_export_too(org: Organization) -> None:
    exported = export_routes(org)
    assert (exported.version, exported.content) == (0, EMPTY_CONTENT)
    a_route(org)
    import_routes(org, read_file(written(exported, files.YAML).decode()), mode="replace", by=BY)
    assert names(org) == []


# --- What is meant by what is sent ------------------------------------------------------------------------------------


def test_merge_keeps_the_others_and_replace_does_not(org: Organization) -> None:
    a_route(org, "stays")
    imported(org, {"name": "comes", "then": THEN})
    assert names(org) == ["stays", "comes"]
    change, difference = imported(org, {"name": "comes", "then": THEN, "priority": 7}, mode="replace")
    assert names(org) == ["comes"]
    assert [(found["name"], found["change"]) for found in difference] == [("comes", "changed"), ("stays", "removed")]
    assert (change.version, Route.objects.get().priority) == (3, 7)


def test_a_route_is_known_by_its_id_and_without_one_by_its_name(org: Organization) -> None:
    by_id, by_name = a_route(org, "one"), a_route(org, "two")
    imported(
        org, {"id": str(by_id.uid).upper(), "name": "renamed", "then": THEN}, {"id": None, "name": "two", "then": THEN}
    )
    assert {row.name: str(row.uid) for row in Route.objects.all()} == {
        "renamed": str(by_id.uid),
        "two": str(by_name.uid),
    }
    imported(org, {"id": UID, "name": "three", "then": THEN}, {"name": "four", "then": THEN})
    assert str(Route.objects.get(name="three").uid) == UID
    assert Route.objects.count() == 4


def test_a_name_whose_route_is_sent_under_its_id_is_a_new_one(org: Organization) -> None:
    row = a_route(org, "old")
    imported(org, {"id": str(row.uid), "name": "new", "then": THEN}, {"name": "old", "then": THEN})
    assert Route.objects.get(name="new").uid == Route.objects.exclude(name="old").get().uid
    assert str(Route.objects.get(name="new").uid) == str(row.uid)
    assert Route.objects.count() == 2


def test_two_routes_swap_their_names(org: Organization) -> None:
    one, two = a_route(org, "one"), a_route(org, "two")
    imported(org, {**one.as_document(), "name": "two"}, {**two.as_document(), "name": "one"})
    assert str(Route.objects.get(name="two").uid) == str(one.uid)


def test_of_a_route_that_is_there_everything_is_written(org: Organization) -> None:
    first = {"id": UID, "name": "a", "priority": 1, "enabled": True, "when": {}, "then": THEN}
    second = {
        "id": UID, "name": "b", "priority": 2, "enabled": False, "paused": True,
        "active_from": "2026-05-01T00:00:00.000000Z", "active_until": "2026-06-01T00:00:00.000000Z",
        "when": {"tag_equals": "x"}, "then": {"target_model": "large"}, "meta": {"owner": "o"},
    }  # fmt: skip
    for route in (first, second, first):
        change, _ = imported(org, route)
        row = Route.objects.get(org=org)
        assert row.as_document() == engine.Route.from_dict(route).to_dict()
        assert row.revision == change.version


def test_how_many_routes_change_does_not_matter_to_the_number_of_statements(org: Organization) -> None:
    def front(routes: Any) -> Any:
        return [{"name": "front", "priority": 5_000, "then": THEN}, *routes]

    def rewritten(routes: Any) -> Any:
        return [{**route, "then": THEN} for route in routes]

    def renamed(routes: Any) -> Any:
        names = [route["name"] for route in routes]
        turned = [*names[1:], names[0]]
        return [{**route, "name": name} for route, name in zip(routes, turned, strict=True)]

    def statements(in_org: Organization, change: Any) -> int:
        content = export_routes(in_org).content
        wanted = change(content["routes"])
        with CaptureQueriesContext(connection) as queries:
            import_routes(in_org, {**content, "routes": wanted}, mode="replace", by=BY)
        assert names(in_org) == [route["name"] for route in wanted]
        return len(queries)

    few, many = an_org("few"), an_org("many")
    many_routes(few, 3)
    many_routes(many, 150)
    for change in (front, rewritten, renamed, lambda routes: routes[:1]):
        assert statements(many, change) == statements(few, change)


def test_what_happens_to_the_rest_is_changed_only_where_it_is_said(org: Organization) -> None:
    set_default(org, engine.Action("small"), by=BY)
    imported(org, {"name": "a", "then": THEN}, mode="replace")
    assert document_of(org).content["default"] == THEN
    _, difference = imported(org, {"name": "a", "then": THEN}, mode="replace", default={"target_model": "large"})
    assert [(found["route_id"], found["change"]) for found in difference] == [(None, "changed")]
    imported(org, default=None)
    assert document_of(org).content["default"] is None
    assert names(org) == ["a"]


# --- One version, one entry -------------------------------------------------------------------------------------------


def test_an_import_is_one_version_and_one_entry(org: Organization) -> None:
    a_route(org, "one")
    content = {"routes": [{"name": name, "then": THEN} for name in ("one", "two", "three")]}
    change, _ = import_routes(org, content, mode="merge", by=BY, note="from staging")
    row = RouteSetVersion.objects.get(org=org, version=2)
    assert (row.cause, row.note, row.digest) == ("routes.imported", "from staging", change.digest)
    entry = AuditEntry.objects.get(action="routes.imported")
    payload = payload_of(entry) or {}
    assert (entry.version_before, entry.version_after, entry.target_id) == (1, 2, str(org.pk))
    assert (payload["mode"], payload["counts"]) == ("merge", {"changed": 1, "added": 2})
    assert [route["name"] for route in payload["routes"]] == ["one", "two", "three"]
    assert "then" not in str(payload)


@pytest.mark.parametrize("broken", ["routes.publish.record", "routes.publish.RouteSetVersion.objects.create"])
def test_when_an_import_fails_nothing_happened(org: Organization, broken: str) -> None:
    a_route(org, "one")
    before = state_of(org)
    with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        imported(org, {"name": "two", "then": THEN}, mode="replace", default=THEN)
    assert state_of(org) == before


def test_what_was_seen_is_what_is_changed(org: Organization) -> None:
    a_route(org)
    with pytest.raises(StaleVersion):
        import_routes(org, {"routes": []}, mode="replace", by=BY, expected=0)
    import_routes(org, {"routes": []}, mode="replace", by=BY, expected=1)


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "path", "code"),
    [
        (None, "content", "wrong_type"),
        ([], "content", "wrong_type"),
        ({}, "content.routes", "missing"),
        ({"routes": None}, "content.routes", "missing"),
        ({"routes": {}}, "content.routes", "wrong_type"),
        ({"routes": [], "rules": []}, "content.rules", "unknown_key"),
        ({"routes": [], "services": None}, "content.services", "wrong_type"),
        ({"routes": [], "services": [{}]}, "content.services[0].slug", "missing"),
        ({"routes": [], "services": [{"slug": "a-b"}] * 501}, "content.services", "too_many"),
        ({"routes": [], "services": [{"slug": "a-b"}] * 2}, "content.services[1].slug", "duplicate_value"),
        (
            {"routes": [], "services": [{"slug": "ab", "paths": [{"pattern": "/", "target_url": "http://127.1"}]}]},
            "content.services[0].paths[0].target_url",
            "egress_denied",
        ),
        ({"routes": [], "default": 1}, "content.default", "wrong_type"),
        ({"routes": [], "default": {}}, "content.default.target_model", "no_effect"),
        ({"routes": [1]}, "content.routes[0]", "wrong_type"),
        ({"routes": [{"name": "a", "then": THEN, "whne": {}}]}, "content.routes[0].whne", "unknown_key"),
        ({"routes": [{"name": "a", "then": THEN, "id": "x"}]}, "content.routes[0].id", None),
        ({"routes": [{"then": THEN}]}, "content.routes[0].name", None),
        ({"routes": [{"name": "a", "then": THEN}] * 2}, "content.routes", "duplicate_value"),
        ({"routes": [{"id": UID, "name": name, "then": THEN} for name in "ab"]}, "content.routes", "duplicate_value"),
        ({"routes": [{"id": UID, "name": "taken", "then": THEN}]}, "content.routes", "duplicate_value"),
    ],
)
def test_what_cannot_be_routes_is_refused_at_its_place(org: Organization, content: Any, path: str, code: Any) -> None:
    a_route(org, "taken")
    before = state_of(org)
    with pytest.raises(InvalidImport) as error:
        import_routes(org, content, mode="merge", by=BY)
    issue = error.value.issues[0]
    assert issue["path"] == path
    assert code is None or issue["code"] == code
    assert str(error.value)
    assert state_of(org) == before


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_two_routes_with_the_id_of_one_that_is_live_are_refused(org: Organization, mode: str) -> None:
    row = a_route(org, "one")
    with pytest.raises(InvalidImport, match=f"have the id {row.uid}"):
        imported(org, *({**row.as_document(), "name": name} for name in ("two", "three")), mode=mode)
    assert names(org) == ["one"]


def test_all_that_is_wrong_is_told_at_once(org: Organization) -> None:
    with pytest.raises(InvalidImport) as error:
        imported(org, {"name": "", "then": THEN}, {"name": "b", "then": {}}, default={"x": 1})
    paths = [issue["path"] for issue in error.value.issues]
    assert paths[0].startswith("content.default")
    assert {path.split(".")[1] for path in paths} == {"default", "routes[0]", "routes[1]"}


def test_of_the_keys_that_there_are_people_are_told_the_nearest_or_a_handful(org: Organization) -> None:
    condition = {"has_imges": True, "zzz": 1}
    content = {"routes": [{"name": "x", "when": condition, "then": {**THEN, "yyy": 1}, "prioritty": 1}], "extra": 1}
    with pytest.raises(InvalidImport) as refused:
        import_routes(org, content, mode="merge", by=BY)
    assert refused.value.lines == ["extra: Unknown. Known: default, routes, services."], "few are told whole"
    del content["extra"]
    with pytest.raises(InvalidImport) as refused:
        import_routes(org, content, mode="merge", by=BY)
    lines = refused.value.lines
    assert len(lines) == 4
    assert any(re.search(r"Did you mean has_images( or \w+)*\?$", line) for line in lines), lines
    assert any(line.endswith("Did you mean priority?") for line in lines), lines
    assert any(re.search(r" Known: \w+(, \w+){4} and \d+ more\.$", line) for line in lines), lines
    assert all(len(line) < 200 for line in lines), lines
    assert any(len(issue["message"]) > 250 for issue in refused.value.issues), "a program is told of all"


def test_too_many_are_refused_before_they_are_read(org: Organization) -> None:
    with pytest.raises(InvalidImport, match="1,000 routes"):
        imported(org, *[{}] * 1_001)
    a_route(org, "the last straw")
    many = [{"name": f"route {number}", "then": THEN} for number in range(1_000)]
    with pytest.raises(TooManyRoutes):
        content_after(org, document_of(org).content, {"routes": many}, "merge")
    assert len(content_after(org, document_of(org).content, {"routes": many}, "replace")["routes"]) == 1_000


def test_an_unknown_mode_is_refused(org: Organization) -> None:
    with pytest.raises(InvalidImport, match="merge or replace"):
        imported(org, mode="overwrite")


def test_what_was_only_asked_about_is_no_warning(org: Organization, caplog: pytest.LogCaptureFixture) -> None:
    a_route(org, "short")
    with pytest.raises(InvalidImport, match="two routes called “short”"):
        imported(org, {"id": UID, "name": "short", "then": THEN})
    assert caplog.messages == []


# --- Files ------------------------------------------------------------------------------------------------------------


def test_what_people_may_want_to_read_is_indented_and_more_has_a_line_for_each_route(org: Organization) -> None:
    a_route(org, when={"model_in": ["a", "b"], "any_of": [{}, {"has_images": True}]}, meta={"x-a": [[1, 2], [], {}]})
    (route,) = export_routes(org).content["routes"]
    for name, read in ((files.JSON, json.loads), (files.YAML, lambda data: read_yaml(data))):
        few, many = ({"default": None, "routes": [route] * count, "services": []} for count in (2, 8_000))
        data = written(Exported(1, few), name)
        assert read(data) == few
        assert b'["a", "b"]' in data or b"[a, b]" in data, "a list on one line"
        assert data.count(b"\n") > 40
        data = written(Exported(1, many), name)
        assert read(data) == many
        assert [line[:8] for line in data.splitlines()[1:3]] == [b'"routes"', b'{"id":"' + route["id"][:1].encode()]
