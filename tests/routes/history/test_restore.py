"""A version that is restored is live again to the byte, as a new version."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from audit.services import payload_of
from routes import engine
from routes.document import document_of
from routes.errors import ApprovalRequired, NotFound, OrganizationFrozen, StaleVersion
from routes.history.services import VersionRetired, changes_since, content_of, restore_version
from routes.orgs.models import Organization, new_id
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from routes.publish import publish
from routes.rules.content import make_live
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_person, a_route, an_org, state_of
from tests.databases import ON_POSTGRES
from tests.routes.rules.generate import CANONICAL_ACTIONS, NEW_ROUTES

pytestmark = pytest.mark.django_db


def fresh(org: Organization) -> Organization:
    return Organization.objects.get(pk=org.pk)


def three_versions(org: Organization) -> Route:
    """One route; another one before it; the first one gone, and another default."""
    first = a_route(org, "first")
    a_route(org, "second", priority=200)
    delete_route(org, first.uid, by=BY)
    return first


def test_it_brings_back_routes_with_their_ids_their_order_and_the_default(org: Organization) -> None:
    first = three_versions(org)
    set_default(org, engine.Action("small"), by=BY)
    change, difference = restore_version(org, 2, by=BY, note="as it was")
    assert (change.version, change.changed) == (5, True)
    assert change.digest == RouteSetVersion.objects.get(org=org, version=2).digest
    assert [row.name for row in Route.objects.of(org).in_order()] == ["second", "first"]
    assert str(Route.objects.get(name="first").uid) == str(first.uid)
    assert fresh(org).default_action is None
    assert [(found["name"], found["change"]) for found in difference] == [("first", "added"), (None, "changed")]
    made = RouteSetVersion.objects.get(org=org, version=5)
    assert (made.cause, made.note, made.digest) == ("version.restored", "as it was", change.digest)


def test_the_log_names_what_was_restored(org: Organization) -> None:
    three_versions(org)
    person = a_person("edda", org, "editor")
    change, _ = restore_version(org, 1, by=person)
    entry = AuditEntry.objects.get(action="version.restored")
    assert (entry.target_type, entry.target_id, entry.actor_id) == ("version", "1", str(person.pk))
    assert (entry.version_before, entry.version_after) == (3, 4)
    payload = payload_of(entry)
    assert payload is not None
    assert (payload["restored_version"], payload["restored_digest"]) == (1, change.digest)


def test_the_empty_version_can_be_restored(org: Organization) -> None:
    three_versions(org)
    change, _ = restore_version(org, 0, by=BY)
    assert (change.changed, Route.objects.of(org).count()) == (True, 0)
    assert document_of(org).content == content_of(org, 0)


def test_what_is_live_already_makes_no_version(org: Organization) -> None:
    a_route(org)
    before = state_of(org)
    change, difference = restore_version(org, 1, by=BY)
    assert (change.changed, change.receipt, change.version, difference) == (False, None, 1, [])
    assert state_of(org) == before


def test_what_cannot_be_restored_is_refused_and_nothing_happens(org: Organization) -> None:
    three_versions(org)
    RouteSetVersion.objects.filter(org=org, version=1).update(content=None)
    for version, refusal in ((4, NotFound), (2**63, NotFound), (1, VersionRetired)):
        with pytest.raises(refusal):
            restore_version(org, version, by=BY)
    with pytest.raises(StaleVersion):
        restore_version(org, 2, by=BY, expected=2)
    update_organization(org, approval="all", by=BY)
    with pytest.raises(ApprovalRequired):
        restore_version(org, 2, by=BY)
    freeze(org, reason="an incident", by=BY)
    with pytest.raises(OrganizationFrozen):
        restore_version(org, 2, by=BY)
    assert fresh(org).version == 3


@pytest.mark.parametrize("broken", ["routes.publish.record", "routes.publish.RouteSetVersion.objects.create"])
def test_when_restoring_fails_nothing_happened(org: Organization, broken: str) -> None:
    three_versions(org)
    before = state_of(org)
    with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        restore_version(org, 1, by=BY)
    assert state_of(org) == before


def test_a_version_of_another_organisation_is_not_there(org: Organization) -> None:
    a_route(other := an_org("other"))
    with pytest.raises(NotFound):
        content_of(org, 1)
    assert content_of(other, 1)["routes"]


def test_what_changed_since_a_version_is_known_as_long_as_both_are_kept(org: Organization) -> None:
    row = a_route(org)
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    (found,) = changes_since(org, 1) or []
    assert found["fields"] == [{"path": "/priority", "was": 100, "is": 7}]
    assert changes_since(org, 2) == []
    assert changes_since(org, None) is changes_since(org, 3) is None
    RouteSetVersion.objects.filter(org=org, version=1).update(content=None)
    assert changes_since(org, 1) is None


@settings(max_examples=5 if ON_POSTGRES else 15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    contents=st.lists(
        st.tuples(
            st.lists(NEW_ROUTES, max_size=4, unique_by=lambda route: route["name"]), st.none() | CANONICAL_ACTIONS
        ),
        min_size=2,
        max_size=3,
    )
)
def test_every_version_is_restored_to_its_digest(org: Organization, contents: Any) -> None:
    ids = [str(new_id()) for _ in range(4)]
    for routes, default in contents:
        with publish(org.pk, by=BY, action="test.made", target=("organization", org.pk)) as change:
            known = [{"id": uid, **route} for uid, route in zip(ids, routes, strict=False)]
            ordered = sorted(known, key=lambda route: -route["priority"])
            make_live(change, {"default": default, "routes": ordered, "services": []})
    for row in RouteSetVersion.objects.filter(org=org).order_by("?")[:4]:
        change, _ = restore_version(org, row.version, by=BY)
        assert change.digest == row.digest
        assert document_of(org).digest == row.digest
