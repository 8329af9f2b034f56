"""Hosts and private upstreams: given by installation staff, kept in one form, told to gateways by the directory."""

import json
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection

from audit.models import AuditEntry
from audit.services import payload_of
from routes.engine.egress import PrivateUpstream
from routes.engine.errors import InvalidRoute
from routes.errors import NotFound, OrganizationFrozen
from routes.fleet.directory import DirectoryDocument
from routes.gateway.directory import Directory
from routes.history.services import restore_version
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.upstreams import StaleUpstreams, read_private_upstreams, set_private_upstreams
from routes.paths.hosts import HostTaken, StaleHosts, hosts_by_slug, hosts_of, read_hosts, set_hosts
from routes.paths.models import ServiceHost
from routes.paths.services import delete_service
from tests.build import BY, a_service, an_org, state_of

pytestmark = pytest.mark.django_db


def directory(org: Organization) -> dict[str, Any]:
    (found,) = json.loads(DirectoryDocument(org.pk).data)["organizations"]
    return found


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("API.Acme.Example", "api.acme.example"),
        (" api.acme.example. ", "api.acme.example"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ａ.example", "a.example"),
    ],
)
def test_a_host_is_kept_in_the_form_in_which_gateways_look_it_up(given: str, kept: str) -> None:
    assert read_hosts([given]) == [kept]


@pytest.mark.parametrize(
    "given",
    [
        "", " ",
        "https://a.example", "a.example:443", "a.example/x", "*.example", "a_b.example", "-a.example", "a..example",
        ".example", "a b", "127.0.0.1", "2130706433", "[::1]", "::1", "a" * 64, "a." * 130 + "a", "a\n", "ä" * 64, "\ud800",
        "βόλος.example", "a@b", "straße.example", "STRAẞE.example",
        "a\u200db.example", "0x7f.1", "１２７.0.0.1", 5, None, ["a.example"],
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_at_its_place(given: Any) -> None:
    with pytest.raises(InvalidRoute) as caught:
        read_hosts(["good.example", given])
    assert [issue["path"] for issue in caught.value.issues] == ["[1]"]


@pytest.mark.parametrize(
    ("given", "code"),
    [({}, "wrong_type"), ([f"{n}.example" for n in range(101)], "too_many"), (["a.b", "A.b."], "duplicate_value")],
)
def test_a_list_of_hosts_is_a_list_of_a_hundred_different_ones(given: Any, code: str) -> None:
    with pytest.raises(InvalidRoute) as caught:
        read_hosts(given)
    assert caught.value.issues[0]["code"] == code


def test_hosts_are_told_to_gateways_and_are_no_version(org: Organization) -> None:
    a_service(org)
    version = Organization.objects.get(pk=org.pk).version
    receipt = set_hosts(org, "users", ["b.example", "a.example"], by=BY)
    assert receipt is not None
    entry = AuditEntry.objects.get(org_id=org.pk, action="service.hosts_changed")
    told = payload_of(entry)
    assert told is not None
    assert (told["was"], told["is"], entry.target_id) == ([], ["a.example", "b.example"], "users")
    assert Organization.objects.get(pk=org.pk).version == version
    assert directory(org)["hosts"] == {"a.example": "users", "b.example": "users"}
    assert set_hosts(org, "users", ["a.example", "b.example"], by=BY) is None
    set_hosts(org, "users", ["b.example"], by=BY)
    assert directory(org)["hosts"] == {"b.example": "users"}
    set_hosts(org, "users", [], by=BY)
    assert directory(org)["hosts"] == {}


def test_the_directory_is_read_by_the_gateway_itself(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    a_service(org, "more", hosts=["b.example", "c.example"])
    set_private_upstreams(org, [PrivateUpstream("10.1.0.0/16", 8080)], by=BY)
    other = an_org("other")
    read = Directory.from_document(json.loads(DirectoryDocument(None).data))
    found = read.service_of_host("c.example")
    assert found is not None
    assert (found.slug, found.org.org_id) == ("more", str(org.pk))
    assert found.org.private_upstreams == (PrivateUpstream("10.1.0.0/16", 8080),)
    empty = read.organization(other.slug)
    assert empty is not None
    assert empty.private_upstreams == ()


def test_a_gateway_that_reads_the_view_itself_finds_json_of_the_same(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    set_private_upstreams(org, [PrivateUpstream("10.1.0.0/16", 8080)], by=BY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT org_id, hosts, private_upstreams FROM gateway_directory")
        ((org_id, hosts, private_upstreams),) = cursor.fetchall()
    assert UUID(str(org_id)) == org.pk
    assert (json.loads(hosts), json.loads(private_upstreams)) == (
        {"a.example": "users"},
        [{"network": "10.1.0.0/16", "port": 8080}],
    )


def test_a_host_belongs_to_one_service_of_the_installation(org: Organization) -> None:
    other = an_org("other")
    a_service(other, hosts=["a.example"])
    a_service(org)
    a_service(org, "more", hosts=["b.example"])
    before = state_of(org)
    for host, whose in (("a.example", "other"), ("b.example", "more")):
        with pytest.raises(HostTaken, match=whose):
            set_hosts(org, "users", ["new.example", host], by=BY)
    assert state_of(org) == before
    with (
        patch("routes.paths.hosts.ServiceHost.objects.filter", return_value=ServiceHost.objects.none()),
        patch("routes.paths.hosts.ServiceHost.objects.of", return_value=ServiceHost.objects.none()),
        pytest.raises(HostTaken, match="just given"),  # as if somebody gave it between looking and writing
    ):
        set_hosts(org, "users", ["a.example"], by=BY)
    assert state_of(org) == before


def test_who_saw_other_hosts_is_refused(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    with pytest.raises(StaleHosts) as caught:
        set_hosts(org, "users", ["b.example"], by=BY, seen=[])
    assert caught.value.hosts == ["a.example"]
    set_hosts(org, "users", ["b.example"], by=BY, seen=["a.example"])
    assert hosts_by_slug(org) == {"users": ["b.example"]}


def test_a_version_without_the_service_leaves_its_hosts_to_it(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    restore_version(org, 0, by=BY)
    assert hosts_of(org, "users") == ["a.example"]
    restore_version(org, 1, by=BY)
    assert hosts_of(org, "users") == ["a.example"]
    restore_version(org, 0, by=BY)
    a_service(org, "heir")
    set_hosts(org, "heir", ["a.example"], by=BY)
    with pytest.raises(NotFound):
        hosts_of(org, "users")
    with pytest.raises(NotFound):
        set_hosts(org, "users", ["b.example"], by=BY)


def test_a_host_that_is_left_to_a_service_of_somebody_else_is_not_taken(org: Organization) -> None:
    other = an_org("other")
    a_service(other, "theirs", hosts=["a.example"])
    restore_version(other, 0, by=BY)
    a_service(org)
    with pytest.raises(HostTaken, match=r"a.example of theirs \(other\)"):
        set_hosts(org, "users", ["a.example"], by=BY)
    set_hosts(other, "theirs", [], by=BY)
    set_hosts(org, "users", ["a.example"], by=BY)


def test_a_deleted_services_hosts_may_be_given_to_anybody(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    delete_service(org, "users", by=BY)
    a_service(an_org("other"), hosts=["a.example"])


def test_hosts_and_private_upstreams_of_a_frozen_organisation_stay(org: Organization) -> None:
    a_service(org)
    freeze(org, reason="An audit.", by=BY)
    with pytest.raises(OrganizationFrozen):
        set_hosts(org, "users", ["a.example"], by=BY)
    with pytest.raises(OrganizationFrozen):
        set_private_upstreams(org, [PrivateUpstream("10.1.0.0/16", 8080)], by=BY)


# --- Private upstreams ------------------------------------------------------------------------------------------------


def test_private_upstreams_are_recorded_once_and_are_no_version(org: Organization) -> None:
    wanted = read_private_upstreams([{"network": "10.1.0.0/16", "port": 8080}, {"network": "fd12::/32", "port": 443}])
    assert set_private_upstreams(org, wanted, by=BY) is not None
    assert set_private_upstreams(org, wanted, by=BY) is None
    entry = AuditEntry.objects.get(org_id=org.pk, action="organization.private_upstreams_changed")
    told = payload_of(entry)
    assert told is not None
    assert (told["was"], told["is"]) == ([], [each.to_dict() for each in wanted])
    assert directory(org)["private_upstreams"] == told["is"]
    with pytest.raises(StaleUpstreams):
        set_private_upstreams(org, [], by=BY, seen=[])
    set_private_upstreams(org, [], by=BY, seen=told["is"])
    assert directory(org)["private_upstreams"] == []


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, ""),
        ([{"network": "10.0.0.0/8", "port": n} for n in range(1, 102)], ""),
        ([5], "[0]"),
        ([{"network": "127.0.0.0/8", "port": 80}], "[0].network"),
        ([{"network": "10.1.0.1/16", "port": 80}], "[0].network"),
        ([{"network": "10.1.0.0/16", "port": 0}], "[0].port"),
        ([{"network": "10.1.0.0/16", "port": 80}] * 2, "[1]"),
    ],
)
def test_what_is_no_private_upstream_is_refused_at_its_place(given: Any, path: str) -> None:
    with pytest.raises(InvalidRoute) as caught:
        read_private_upstreams(given)
    assert caught.value.issues[0]["path"] == path
