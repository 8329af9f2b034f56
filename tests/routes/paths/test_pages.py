"""The pages of services, as they answer: what they show, what their forms make, and what is said of mistakes."""

from html import unescape
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routes import engine
from routes.orgs.models import Organization
from routes.paths.forms import ServiceForm
from routes.paths.hosts import hosts_of, set_hosts
from routes.paths.models import Service
from routes.paths.services import get_service, update_service
from tests.build import BY, PATHS, a_person, a_service, an_org
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db
FORM = {
    "slug": "users",
    "enabled": "on",
    "connect_seconds": "2.5",
    "row": ["4", "1"],
    "path-4-pattern": "/users/:id",
    "path-4-target_url": "https://people.example",
    "path-4-methods": "get,  POST",
    "path-4-headers": "X-Beta: 1\nx-beta: 2\nx-a: b: c",
    "path-4-enabled": "on",
    "path-1-pattern": "/users/**",
    "path-1-target_url": "https://users.example/v1",
}


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(a_person("root", is_superuser=True))
    return client


def url(org: Organization, path: str) -> str:
    return f"/admin/o/{org.slug}/{path}"


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response
    return unescape(response.content.decode())


# --- The form -----------------------------------------------------------------------------------------------------------


def test_a_form_makes_a_service_of_its_paths_in_their_order(client: Client, org: Organization) -> None:
    page = text_of(client.post(url(org, "new-service/"), {**FORM, "note": "For the mobile app."}, follow=True))
    assert "The service “users” is live as version 1." in page
    assert get_service(org, "users").as_document() == {
        "slug": "users",
        "enabled": True,
        "timeouts": {"connect_seconds": 2.5},
        "paths": [
            {
                "pattern": "/users/:id",
                "target_url": "https://people.example",
                "methods": ["GET", "POST"],
                "headers": {"x-a": ["b: c"], "x-beta": ["1", "2"]},
            },
            {"pattern": "/users/**", "target_url": "https://users.example/v1", "enabled": False},
        ],
    }
    assert org.versions.get().note == "For the mobile app."


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    enabled=st.booleans(),
    timeouts=st.dictionaries(
        st.sampled_from(["connect_seconds", "first_byte_seconds", "idle_seconds"]),
        st.sampled_from([1, 2.5, 3600, 0.001]),
    ),
    paths=st.lists(
        st.builds(
            lambda pattern, target, more: {"pattern": pattern, "target_url": target, **more},
            st.sampled_from(["/", "/a", r"/a\:b/\*", "/:x/b/*", "/%20/**", "/<b>'\"&"]),
            st.sampled_from(["https://a.example", "http://b.example:8080/x?y=<z>&w='", "https://[2606:4700::1]/"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "methods": st.sampled_from([["GET"], ["POST", "X-OWN"]]),
                    "headers": st.sampled_from([{"x-a": ["1"]}, {"x-a": ["a, b", "<c>"], "y": [": d"]}]),
                    "enabled": st.just(False),
                },
            ),
        ),
        max_size=5,
        unique_by=repr,
    ),
)
def test_a_page_that_is_sent_as_it_is_changes_nothing(
    client: Client, org: Organization, enabled: bool, timeouts: Any, paths: Any
) -> None:
    Service.objects.of(org).delete()
    row = a_service(org, enabled=enabled, timeouts=timeouts, paths=paths)
    sent = Controls(client.get(url(org, "services/users/edit/")).content.decode()).sent
    page = text_of(client.post(url(org, "services/users/edit/"), sent.urlencode(),
                               content_type="application/x-www-form-urlencoded", follow=True))  # fmt: skip
    assert "Nothing was different." in page
    assert get_service(org, "users").as_document() == row.as_document()


def test_a_path_that_is_emptied_is_removed_and_empty_ones_are_none(client: Client, org: Organization) -> None:
    a_service(org)
    sent = Controls(client.get(url(org, "services/users/edit/")).content.decode()).sent
    assert len(sent.getlist("row")) == 2 + 3
    sent["path-0-pattern"] = sent["path-0-target_url"] = " "
    client.post(url(org, "services/users/edit/"), sent.urlencode(), content_type="application/x-www-form-urlencoded")
    assert [path["pattern"] for path in get_service(org, "users").paths] == ["/users/:id"]


def test_all_mistakes_are_told_at_once_at_their_fields_and_nothing_that_was_typed_is_lost(
    client: Client, org: Organization
) -> None:
    bad = {
        **FORM,
        "slug": "Not A Slug",
        "idle_seconds": "soon",
        "connect_seconds": "0",
        "path-4-pattern": "users",
        "path-4-headers": "nonsense",
        "path-4-methods": "GET G/T",
        "path-1-target_url": "http://127.0.0.1",
        "path-1-pattern": "",
    }
    page = text_of(client.post(url(org, "new-service/"), bad), 422)
    form = ServiceForm(QueryDict("", mutable=True))
    assert form.rows == []
    for field in (
        "slug",
        "idle_seconds",
        "connect_seconds",
        "path-4-pattern",
        "path-4-headers",
        "path-4-methods",
        "path-1-pattern",
    ):
        assert f'href="#f-{field}"' in page, field
    assert "“nonsense” is no header. Write it like this: x-beta: 1" in page
    assert "Path 2, path pattern" in page
    assert 'value="GET G/T"' in page
    assert not Service.objects.exists()
    page = text_of(client.post(url(org, "new-service/"), {**FORM, "path-1-target_url": "http://127.0.0.1"}), 422)
    assert "No gateway asks this." in page
    assert 'href="#f-path-1-target_url"' in page


def test_of_a_field_one_mistake_is_told_its_own_before_the_engines(client: Client, org: Organization) -> None:
    page = text_of(client.post(url(org, "new-service/"), {**FORM, "path-1-pattern": "x" * 2000}), 422)
    assert page.count('data-at="f-path-1-pattern"') == 1
    assert "Ensure this value has at most 1024 characters" in page


def test_a_slug_in_use_is_told_at_its_field(client: Client, org: Organization) -> None:
    a_service(org, "taken")
    page = text_of(client.post(url(org, "new-service/"), {**FORM, "slug": "taken"}), 422)
    assert "Another service of this organisation is called taken." in page
    assert 'href="#f-slug"' in page


def test_who_opened_an_older_state_is_told_what_changed_and_may_save_nevertheless(
    client: Client, org: Organization
) -> None:
    a_service(org)
    opened = Controls(client.get(url(org, "services/users/edit/")).content.decode()).sent
    update_service(org, "users", engine.Service.from_dict({"slug": "users", "paths": PATHS[:1]}), by=BY)
    opened["idle_seconds"] = "9"
    encoded = {"content_type": "application/x-www-form-urlencoded"}
    page = text_of(client.post(url(org, "services/users/edit/"), opened.urlencode(), **encoded), 422)
    assert "Somebody changed this service after you opened it." in page
    assert "removed: GET /users/:id → https://people.example" in page
    again = Controls(page).sent
    assert again["idle_seconds"] == "9"
    client.post(url(org, "services/users/edit/"), again.urlencode(), **encoded)
    row = get_service(org, "users")
    assert (row.timeouts, len(row.paths)) == ({"idle_seconds": 9}, 2)


def test_a_service_with_all_its_paths_fits_into_the_form(client: Client, org: Organization) -> None:
    a_service(org, paths=[{"pattern": f"/{number}", "target_url": "https://a.example"} for number in range(500)])
    sent = Controls(client.get(url(org, "services/users/edit/")).content.decode()).sent
    sent["path-499-pattern"] = "/changed"
    answer = client.post(
        url(org, "services/users/edit/"), sent.urlencode(), content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 302
    assert get_service(org, "users").paths[-1]["pattern"] == "/changed"


def test_a_row_that_no_gateway_would_load_is_shown_as_such_and_can_be_mended(client: Client, org: Organization) -> None:
    a_service(org)
    for bad in (
        {"paths": [{"pattern": "x"}, None]},
        {"paths": {"a": 1}},
        {"timeouts": [1]},
        {"timeouts": {"odd": "x"}},
    ):
        Service.objects.of(org).update(**{"paths": [], "timeouts": {}, **bad})
        assert "cannot be read" in text_of(client.get(url(org, "services/")))
        assert "No gateway would load this service." in text_of(client.get(url(org, "services/users/")))
        assert "No gateway would load this service as it is." in text_of(client.get(url(org, "services/users/edit/")))
        assert "Delete the service" in text_of(client.get(url(org, "services/users/delete/")))
    text_of(client.post(url(org, "services/users/edit/"), {**FORM, "revision": "1"}, follow=True))
    assert engine.Service.from_dict(get_service(org, "users").as_document()).paths


def test_names_of_upstreams_that_lead_nowhere_are_warned_of_after_saving(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"people.example": [], "users.example": ["10.0.0.1"]}
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", known.__getitem__)
    page = text_of(client.post(url(org, "new-service/"), FORM, follow=True))
    assert "is live as version 1" in page
    assert "The name people.example leads nowhere: requests to it would fail." in page
    assert "users.example would not be asked." in page


def test_where_every_change_is_a_plan_the_page_says_what_to_do_and_keeps_what_was_typed(
    client: Client, org: Organization
) -> None:
    Organization.objects.filter(pk=org.pk).update(approval="all")
    assert "a plan changes routes only" in text_of(client.get(url(org, "new-service/")))
    page = text_of(client.post(url(org, "new-service/"), FORM), 422)
    assert "no draft was made of this change of services" in page
    assert 'value="/users/:id"' in page
    assert not Service.objects.exists()


# --- Looking and trying ---------------------------------------------------------------------------------------------------


def test_the_table_is_in_the_order_in_which_paths_are_asked(client: Client, org: Organization) -> None:
    paths = [
        {"pattern": "/a/**", "target_url": "https://star.example"},
        {"pattern": "/b", "target_url": "https://beta.example", "headers": {"x-beta": ["1"]}},
        {"pattern": "/b", "target_url": "https://all.example"},
        {"pattern": "/off", "target_url": "https://off.example", "enabled": False},
    ]
    a_service(org, paths=paths, hosts=["api.acme.example"])
    page = text_of(client.get(url(org, "services/users/")))
    places = [page.index(host) for host in ("beta.example", "all.example", "star.example", "off.example")]
    assert places == sorted(places)
    assert page.count("by its place in the list") == 2
    assert "api.acme.example" in page
    assert "/s/acme/users/" in page


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"path": "/users/42"}, ["GET https://people.example", "Parameter :id", "42", "asked later"]),
        ({"path": "https://api.acme.example/users/42?a=b#c"}, ["GET https://people.example?a=b"]),
        ({"path": "/s/acme/users/users/42/x"}, ["GET https://users.example/v1/42/x", "What the star took"]),
        ({"path": "/users/42", "method": "delete"}, ["DELETE https://users.example/v1/42", "takes GET only"]),
        ({"path": "/users"}, ["No path takes this request", "It takes what is below, not /users itself"]),
        ({"path": "/users/../x"}, ["Gateways refuse this path with 400."]),
        ({"path": "/users/%2e%2E/x"}, ["Gateways refuse this path with 400."]),
        ({"path": "/users/1?ä"}, ["A query is visible ASCII without #"]),
        ({"path": "http://["}, ["Gateways refuse this path with 400."]),
        ({"path": "/users/1", "header": "nonsense"}, ["GET https://people.example"]),
        ({"path": "<script>"}, ["Gateways refuse this path with 400."]),
    ],
)
@pytest.mark.every_case
def test_a_path_is_tried_as_it_is_pasted(
    client: Client, org: Organization, query: dict[str, str], says: list[str]
) -> None:
    a_service(org)
    page = text_of(client.get(url(org, "services/users/"), query))
    for text in says:
        assert text in page, text


def test_a_header_is_tried_too(client: Client, org: Organization) -> None:
    a_service(org, paths=[{"pattern": "/b", "target_url": "https://beta.example", "headers": {"x-beta": ["1"]}}])
    page = text_of(client.get(url(org, "services/users/"), {"path": "/b"}))
    assert "asks for the header x-beta: 1" in page
    page = text_of(client.get(url(org, "services/users/"), {"path": "/b", "header": "X-Beta: 1"}))
    assert "GET https://beta.example" in page


# --- Deleting, hosts, private upstreams -----------------------------------------------------------------------------------


def test_deleting_says_in_numbers_what_stops_and_is_refused_to_who_saw_something_else(
    client: Client, org: Organization
) -> None:
    row = a_service(org, hosts=["a.example", "b.example"])
    page = text_of(client.get(url(org, "services/users/delete/")))
    assert "2 paths, at 2 hosts (a.example, b.example)" in page
    assert "The 2 hosts are free afterwards" in page
    page = text_of(client.post(url(org, "services/users/delete/"), {"revision": "7"}, follow=True))
    assert "which is not what you saw" in page
    page = text_of(client.post(url(org, "services/users/delete/"), {"revision": str(row.revision)}, follow=True))
    assert "was deleted in version 2" in page
    assert not Service.objects.exists()


def test_hosts_are_given_one_to_a_line_by_staff_alone(staff: Client, client: Client, org: Organization) -> None:
    a_service(org)
    a_service(an_org("other"), hosts=["taken.example"])
    where = url(org, "services/users/hosts/")
    assert client.get(where).status_code == client.post(where, {"lines": "x.example"}).status_code == 403
    page = text_of(staff.post(where, {"lines": "ok.example\n\nhttps://x\ntaken", "seen": ""}), 422)
    assert "Line 3: A host is a name like api.example.com" in page
    assert "Taken already: taken.example of users (other)" in text_of(
        staff.post(where, {"lines": "taken.example", "seen": ""}), 422
    )
    staff.post(where, {"lines": " API.example. \n\na.example", "seen": ""})
    assert hosts_of(org, "users") == ["a.example", "api.example"]
    set_hosts(org, "users", ["b.example"], by=BY)
    page = text_of(staff.post(where, {"lines": "", "seen": "a.example api.example"}), 422)
    assert "Somebody changed the hosts after you opened this, to: b.example." in page
    assert staff.get(url(org, "services/nothing/hosts/")).status_code == 404


def test_hosts_without_a_service_are_shown_and_can_be_freed(staff: Client, client: Client, org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    Service.objects.all().delete()
    assert "Hosts without a service" in text_of(client.get(url(org, "services/")))
    text_of(staff.post(url(org, "services/users/hosts/"), {"lines": "", "seen": "a.example"}, follow=True))
    assert "Hosts without a service" not in text_of(client.get(url(org, "services/")))


def test_private_upstreams_are_given_one_to_a_line_by_staff_alone(
    staff: Client, client: Client, org: Organization
) -> None:
    where = url(org, "private-upstreams/")
    assert client.get(where).status_code == client.post(where, {"lines": ""}).status_code == 403
    page = text_of(staff.post(where, {"lines": "10.1.0.0/16 8080\n127.0.0.0/8 80\n10.1.0.0/16", "seen": ""}), 422)
    assert "Line 2: Loopback" in page
    assert "Line 3: " in page
    staff.post(where, {"lines": "10.1.0.0/16 8080\nfd12::/32 443\n10.2.0.0/16:81", "seen": ""})
    org.refresh_from_db()
    assert org.private_upstreams == [
        {"network": "10.1.0.0/16", "port": 8080},
        {"network": "fd12::/32", "port": 443},
        {"network": "10.2.0.0/16", "port": 81},
    ]
    assert "10.1.0.0/16" in text_of(client.get(url(org, "services/")))
    shown = Controls(staff.get(where).content.decode()).sent
    assert "Nothing was different." in text_of(staff.post(where, shown.dict(), follow=True))
    page = text_of(staff.post(where, {"lines": "", "seen": ""}), 422)
    assert "The private upstreams were changed after you looked." in page
