"""`services/`: named entry points, their paths, and which of them takes a request."""

from typing import Any

import pytest
from django.test import Client
from django.utils.crypto import get_random_string

from audit.models import AuditEntry
from routes.orgs.models import Organization
from routes.paths.hosts import hosts_of
from routes.paths.models import Service
from routes.paths.services import delete_service
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.api.test_who_may_what import signed_in
from tests.build import BY, PATHS, a_person, a_service, an_org

pytestmark = pytest.mark.django_db
NEW = {"slug": "billing", "timeouts": {"first_byte_seconds": 10}, "paths": PATHS}


@pytest.fixture
def staff() -> Client:
    return signed_in(a_person("staff", is_superuser=True))


def put(client: Client, org: Organization, path: str, body: Any, seen: str | None = "now") -> Any:
    """As installation staff do, who have no keys."""
    url = f"/api/v1/orgs/{org.slug}/{path}"
    etag = client.get(url)["ETag"] if seen == "now" else seen
    headers = {} if etag is None else {"If-Match": etag}
    return client.put(url, body, content_type="application/json", headers=headers)


def test_a_service_is_made_read_changed_renamed_and_deleted(editor: Caller, org: Organization) -> None:
    made = editor("post", "services/", NEW)
    assert (made.status_code, made["ETag"], made["Location"]) == (
        201, '"r1"', f"/api/v1/orgs/{org.slug}/services/billing/",
    )  # fmt: skip
    service = made.json()["service"]
    assert {key: service[key] for key in ("slug", "enabled", "timeouts", "paths")} == {**NEW, "enabled": True}
    assert made.json()["version"] == service["revision"] == 1
    assert made.json()["receipt"]["seq"]
    assert editor("get", made["Location"]).json() == service
    assert editor("get", "services/").json()["results"] == [service]
    off = editor("patch", "services/billing/", {"enabled": False})
    assert (off.json()["service"]["enabled"], off.json()["service"]["paths"]) == (False, PATHS)
    assert editor("patch", "services/billing/", {"enabled": None, "timeouts": None}).json()["service"] == {
        **service, "timeouts": {}, "revision": 3, "updated_at": editor("get", "services/billing/").json()["updated_at"],
    }  # fmt: skip
    renamed = editor("put", "services/billing/", {"slug": "money", "paths": PATHS[:1]})
    assert (renamed.json()["service"]["slug"], renamed.json()["service"]["paths"]) == ("money", PATHS[:1])
    problem(editor("get", "services/billing/"), 404, "not_found")
    gone = editor("delete", "services/money/")
    assert (gone.status_code, gone.json()["changed"], gone.json()["version"]) == (200, True, 5)
    assert editor("get", "services/").json()["results"] == []


def test_what_is_read_may_be_sent_back(editor: Caller, org: Organization) -> None:
    a_service(org)
    for path in ("services/users/", "services/users/paths/"):
        sent = editor("get", path).json()
        if path.endswith("paths/"):  # in the order in which they are asked; their order in the list settles ties alone
            sent["paths"].sort(key=lambda each: each["index"])
        answer = editor("put", path, sent)
        assert (answer.status_code, answer.json()["changed"]) == (200, False)


def test_the_paths_are_told_in_the_order_in_which_they_are_asked_and_replaced_whole(
    editor: Caller, org: Organization
) -> None:
    off = {"pattern": "/off", "target_url": "https://off.example", "enabled": False}
    a_service(org, paths=[off, *PATHS], timeouts={"idle_seconds": 7})
    answer = editor("get", "services/users/paths/")
    assert [(each["index"], each["pattern"]) for each in answer.json()["paths"]] == [
        (2, "/users/:id"),
        (1, "/users/*"),
        (0, "/off"),
    ]
    written = editor("put", "services/users/paths/", {"paths": [PATHS[0]]}, seen=answer["ETag"])
    assert written.json()["service"]["paths"] == [PATHS[0]]
    assert written.json()["service"]["timeouts"] == {"idle_seconds": 7}
    problem(editor("put", "services/users/paths/", {"paths": []}, seen=answer["ETag"]), 412, "stale_service")
    problem(editor("put", "services/users/paths/", {}), 422, "invalid")
    problem(editor("put", "services/users/paths/", {"paths": [], "slug": "x"}), 422, "invalid")
    assert editor("put", "services/users/paths/", {"paths": []}).json()["service"]["paths"] == []


def test_everything_that_is_wrong_is_told_at_once_at_its_place(editor: Caller) -> None:
    body = {
        "slug": "Not A Slug",
        "enabled": 1,
        "timeouts": {"idle_seconds": 0, "nope": 1},
        "paths": [
            {"pattern": "users", "target_url": "ftp://a"},
            {"pattern": "/a/*/b", "target_url": "https://a.example", "methods": ["get"]},
            {"target_url": "http://169.254.169.254/latest"},
        ],
        "more": 1,
    }
    told = problem(editor("post", "services/", body), 422, "invalid_route")
    assert {error["pointer"] for error in told["errors"]} == {
        "/slug", "/enabled", "/timeouts/idle_seconds", "/timeouts/nope", "/paths/0/pattern", "/paths/0/target_url",
        "/paths/1/pattern", "/paths/1/methods/0", "/paths/2/pattern", "/more",
    }  # fmt: skip
    literal = {"slug": "metadata", "paths": [{"pattern": "/*", "target_url": "http://169.254.169.254/latest"}]}
    told = problem(editor("post", "services/", literal), 422, "invalid_route")
    assert [(error["pointer"], error["code"]) for error in told["errors"]] == [("/paths/0/target_url", "egress_denied")]
    assert not Service.objects.exists()


def test_the_second_of_two_who_edit_one_service_is_told_what_changed(editor: Caller, org: Organization) -> None:
    a_service(org)
    etag = editor("get", "services/users/")["ETag"]
    editor("patch", "services/users/", {"paths": PATHS[:1]}, seen=etag)
    refused = editor("patch", "services/users/", {"enabled": False}, seen=etag)
    told = problem(refused, 412, "stale_service")
    assert refused["ETag"] == '"r2"'
    assert told["current"] == editor("get", "services/users/").json()
    assert told["difference"] == [{"path": "/paths/1", "was": PATHS[1], "is": None}]
    problem(editor("delete", "services/users/", seen=etag), 412, "stale_service")
    for method in ("put", "patch", "delete"):
        problem(editor(method, "services/users/", {}, seen=None), 428, "precondition_required")


def test_a_colleague_who_edits_another_service_is_not_in_the_way(editor: Caller, org: Organization) -> None:
    a_service(org, "one")
    a_service(org, "two")
    seen = {slug: editor("get", f"services/{slug}/")["ETag"] for slug in ("one", "two")}
    for slug, etag in seen.items():
        assert editor("patch", f"services/{slug}/", {"enabled": False}, seen=etag).status_code == 200


def test_a_dry_run_tells_what_would_be_and_changes_nothing(editor: Caller, org: Organization) -> None:
    a_service(org)
    entries = AuditEntry.objects.count()
    for method, path, body in (
        ("post", "services/", NEW),
        ("put", "services/users/", {"paths": []}),
        ("put", "services/users/paths/", {"paths": []}),
        ("delete", "services/users/", None),
    ):
        seen = None if method == "post" else '"r1"'
        answer = editor(method, f"{path}?dry_run=1", body, seen=seen)
        assert answer.status_code in (200, 201), answer.content
        assert (answer.json()["dry_run"], answer.json()["version"], answer.json()["receipt"]) == (True, 2, None)
        assert "ETag" not in answer
    assert editor("get", "services/users/")["ETag"] == '"r1"'
    assert AuditEntry.objects.count() == entries


def test_a_repeated_call_has_its_effect_once(editor: Caller) -> None:
    key = {"Idempotency-Key": get_random_string(20)}
    first = editor("post", "services/", NEW, headers=key)
    again = editor("post", "services/", NEW, headers=key)
    assert (again.status_code, again["Idempotency-Replayed"]) == (201, "true")
    assert again.json() == first.json()
    problem(editor("post", "services/", {**NEW, "slug": "other"}, headers=key), 422, "idempotency_key_reused")
    problem(editor("post", "services/", NEW), 422, "slug_taken")


def test_where_every_change_is_a_plan_services_are_refused_with_why_there_is_no_draft(
    editor: Caller, org: Organization
) -> None:
    a_service(org)
    Organization.objects.filter(pk=org.pk).update(approval="all")
    told = problem(editor("patch", "services/users/", {"enabled": False}), 409, "approval_required")
    assert "a plan changes routes only" in told["detail"]
    assert "plan" not in told
    assert org.plans.count() == 0


def test_a_note_in_the_url_is_kept_and_a_reason_for_examples_is_not_taken(editor: Caller, org: Organization) -> None:
    editor("post", "services/?note=For the app", NEW)
    editor("put", "services/billing/paths/?note=Fewer", {"paths": []})
    assert [row.note for row in org.versions.order_by("version")] == ["For the app", "Fewer"]
    # No change of services breaks an example, which is of routes.
    problem(editor("delete", "services/billing/?accept_broken=why"), 422, "invalid")


# --- What names lead to -----------------------------------------------------------------------------------------------


def test_an_upstream_that_nobody_knows_is_a_warning_and_no_refusal(
    editor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def leads_to(name: str) -> list[str]:
        asked.append(name)
        return {"users.example": ["10.0.0.1"], "people.example": []}[name]

    monkeypatch.setattr("routes.orgs.lookup.addresses_of", leads_to)
    answer = editor("post", "services/", NEW)
    assert answer.status_code == 201
    assert [(each["path"], each["code"], each["severity"]) for each in answer.json()["findings"]] == [
        ("paths[0].target_url", "upstream_forbidden", "warning"),
        ("paths[1].target_url", "upstream_unknown", "warning"),
    ]
    assert sorted(asked) == ["people.example", "users.example"]
    asked.clear()
    assert editor("patch", "services/billing/", {"enabled": False}).json()["findings"] == []
    assert asked == [], "nothing was sent that leads anywhere"


def test_whoever_may_not_write_has_nothing_looked_up(
    viewer: Caller, editor: Caller, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", lambda name: asked.append(name) or [])
    problem(viewer("post", "services/", NEW), 403, "forbidden")
    a_service(org)
    problem(editor("put", "services/users/", NEW, seen=None), 428, "precondition_required")
    assert asked == []


def test_names_are_looked_up_before_any_transaction(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    editor, order = Caller(org, "editor"), list[str]()
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", lambda name: order.append("name") or [])
    monkeypatch.setattr("routes.api.transaction.atomic", lambda: order.append("dry run") or _NOTHING)
    monkeypatch.setattr("routes.paths.api.create_service", lambda *_, **__: order.append("write") or 1 / 0)
    for more, headers in (("?dry_run=1", {}), ("", {"Idempotency-Key": "k"}), ("", {})):
        order.clear()
        with pytest.raises(ZeroDivisionError):
            editor("post", f"services/{more}", NEW, headers=headers)
        assert order[:2] == ["name", "name"]
        assert order[-1] == "write"


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NOTHING = _Nothing()


# --- Trying a path ----------------------------------------------------------------------------------------------------

TABLE = [
    {"pattern": "/users/*", "target_url": "https://users.example/v1?k=v"},
    {"pattern": "/users/:id", "target_url": "https://people.example/", "methods": ["GET", "POST"]},
    {"pattern": "/beta", "target_url": "https://beta.example", "headers": {"x-beta": ["1"]}},
    {"pattern": "/off", "target_url": "https://off.example", "enabled": False},
]


@pytest.mark.parametrize(
    ("asked", "reason", "index", "outcomes"),
    [
        ({"path": "/users/42"}, "matched", 1, {1: "taken", 0: "later", 2: "path", 3: "disabled"}),
        ({"path": "/users/42", "method": "PUT"}, "matched", 0, {1: "method", 0: "taken", 2: "path", 3: "disabled"}),
        ({"path": "/users/a/b"}, "matched", 0, {1: "path", 0: "taken", 2: "path", 3: "disabled"}),
        ({"path": "/users"}, "no_path", None, {1: "path", 0: "path", 2: "path", 3: "disabled"}),
        ({"path": "/beta"}, "no_path", None, {1: "path", 0: "path", 2: "headers", 3: "disabled"}),
        (
            {"path": "/beta", "headers": {"X-Beta": "1"}}, "matched", 2,
            {1: "path", 0: "path", 2: "taken", 3: "disabled"},
        ),
        ({"path": "/beta", "headers": {"x-beta": ["0", "1"]}}, "matched", 2, {2: "taken"}),
        ({"path": "/off"}, "no_path", None, {3: "disabled"}),
        ({"path": "/users/../x"}, "unsafe_path", None, {}),
        ({"path": "users"}, "unsafe_path", None, {}),
        ({"path": "/a?b=c"}, "unsafe_path", None, {}),
        ({"path": "/ä"}, "unsafe_path", None, {}),
    ],
)  # fmt: skip
@pytest.mark.every_case
def test_which_path_takes_a_request_and_why_the_others_do_not(
    viewer: Caller, org: Organization, asked: Any, reason: str, index: int | None, outcomes: dict[int, str]
) -> None:
    a_service(org, paths=TABLE)
    told = viewer("post", "services/users/match/", asked).json()
    assert (told["reason"], told["index"]) == (reason, index)
    found = {step["index"]: step["outcome"] for step in told["paths"]}
    assert outcomes.items() <= found.items()
    assert bool(told["detail"]) is (reason != "matched")
    assert all(bool(step["why"]) is (step["outcome"] != "taken") for step in told["paths"])


def test_a_match_tells_its_parameters_and_the_url_that_a_gateway_asks(viewer: Caller, org: Organization) -> None:
    a_service(org, paths=TABLE)
    told = viewer("post", "services/users/match/", {"path": "/users/a%20b"}).json()
    assert (told["params"], told["remainder"], told["url"]) == ({"id": "a b"}, None, "https://people.example")
    told = viewer("post", "services/users/match/", {"path": "/users/a/b", "method": "DELETE"}).json()
    assert (told["params"], told["remainder"], told["url"]) == ({}, "a/b", "https://users.example/v1/a/b?k=v")


def test_a_method_that_no_path_takes_and_a_disabled_service_are_told(viewer: Caller, org: Organization) -> None:
    a_service(org, paths=TABLE[1:2])
    told = viewer("post", "services/users/match/", {"path": "/users/1", "method": "PUT"}).json()
    assert (told["reason"], told["allow"]) == ("method_not_allowed", ["GET", "HEAD", "POST"])
    a_service(org, "off", enabled=False)
    told = viewer("post", "services/off/match/", {"path": "/users/1"}).json()
    assert told["reason"] == "disabled"
    assert [step["outcome"] for step in told["paths"]] == ["later", "later"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/users", "It takes what is below, not /users itself; a pattern that ends in /** takes both."),
        ("/exact/", "It does not take the slash at the end."),
        ("/EXACT", "It does not fit the path: capitals matter."),
        ("/slash", "It takes the path with a slash at the end only."),
        ("/else", "It does not fit the path."),
    ],
)
def test_what_is_nearly_right_is_said(viewer: Caller, org: Organization, path: str, why: str) -> None:
    targets = ("/users/*", "/exact", "/slash/")
    a_service(org, paths=[{"pattern": pattern, "target_url": "https://a.example"} for pattern in targets])
    told = viewer("post", "services/users/match/", {"path": path}).json()
    assert why in {step["why"] for step in told["paths"]}
    assert told["reason"] == "no_path"


@pytest.mark.parametrize(
    "body",
    [{}, {"path": 5}, {"path": "/a", "method": "get"}, {"path": "/a", "headers": 1}, {"path": "/a", "headers": {"a": 1}},
     {"path": "/a", "query": "x"}, {"path": "/" + "a" * 8192}, {"path": "/a", "headers": {"a": ["b" * 8192]}}, [], None],
)  # fmt: skip
def test_what_is_no_request_is_refused(viewer: Caller, org: Organization, body: Any) -> None:
    a_service(org)
    assert viewer("post", "services/users/match/", body).status_code in (400, 422)


# --- Hosts and private upstreams --------------------------------------------------------------------------------------


def test_staff_gives_hosts_and_everybody_of_the_organisation_sees_them(
    staff: Client, editor: Caller, viewer: Caller, org: Organization
) -> None:
    a_service(org)
    assert viewer("get", "services/users/hosts/").json() == {"hosts": []}
    answer = put(staff, org, "services/users/hosts/", {"hosts": ["API.example.", "a.example"]})
    assert (answer.status_code, answer.json()["hosts"]) == (200, ["a.example", "api.example"])
    assert answer.json()["receipt"]["seq"]
    assert viewer("get", "services/users/hosts/").json() == {"hosts": ["a.example", "api.example"]}
    assert put(staff, org, "services/users/hosts/", {"hosts": ["a.example", "api.example"]}).json()["changed"] is False
    problem(editor("put", "services/users/hosts/", {"hosts": []}), 403, "forbidden")
    assert hosts_of(org, "users") == ["a.example", "api.example"]


def test_hosts_need_what_was_seen_and_are_told_with_their_mistakes(staff: Client, org: Organization) -> None:
    a_service(org)
    a_service(an_org("other"), hosts=["taken.example"])
    where = "services/users/hosts/"
    seen = staff.get(f"/api/v1/orgs/{org.slug}/{where}")["ETag"]
    problem(put(staff, org, where, {"hosts": []}, seen=None), 428, "precondition_required")
    told = problem(put(staff, org, where, {"hosts": ["ok.example", "https://a", 5]}), 422, "invalid_route")
    assert [error["pointer"] for error in told["errors"]] == ["/hosts/1", "/hosts/2"]
    problem(put(staff, org, where, {"hosts": ["taken.example"]}), 409, "host_taken")
    put(staff, org, where, {"hosts": ["mine.example"]})
    told = problem(put(staff, org, where, {"hosts": []}, seen=seen), 412, "stale_hosts")
    assert told["current"] == {"hosts": ["mine.example"]}
    delete_service(org, "users", by=BY)
    assert staff.get(f"/api/v1/orgs/{org.slug}/{where}").status_code == 404


def test_staff_opens_private_upstreams_and_then_services_may_lead_there(
    staff: Client, editor: Caller, org: Organization
) -> None:
    inside = {"slug": "inside", "paths": [{"pattern": "/*", "target_url": "http://10.1.2.3:8080"}]}
    problem(editor("post", "services/", inside), 422, "invalid_route")
    opened = [{"network": "10.1.0.0/16", "port": 8080}]
    answer = put(staff, org, "private-upstreams/", {"private_upstreams": opened})
    assert answer.json()["private_upstreams"] == opened
    assert editor("post", "services/", inside).status_code == 201
    problem(editor("put", "private-upstreams/", {"private_upstreams": []}), 403, "forbidden")
    bad = [{"network": "10.1.0.0/16", "port": 8080}, {"network": "127.0.0.0/8", "port": 1}]
    told = problem(put(staff, org, "private-upstreams/", {"private_upstreams": bad}), 422, "invalid_route")
    assert [error["pointer"] for error in told["errors"]] == ["/private_upstreams/1/network"]
    told = problem(put(staff, org, "private-upstreams/", {"private_upstreams": []}, seen='"u0"'), 412,
                   "stale_private_upstreams")  # fmt: skip
    assert told["current"] == {"private_upstreams": opened}
    assert editor("get", "private-upstreams/").json() == {"private_upstreams": opened}
