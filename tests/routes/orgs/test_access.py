"""Members, keys and policy: who decides, and that each change is recorded."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from audit.models import AuditEntry
from routes.errors import NotFound
from routes.orgs import access, keys, members
from routes.orgs.models import ApiKey, Membership, Organization, Role
from routes.orgs.services import InvalidOrganization, create_organization, update_organization
from tests.build import BY, a_person, an_org

pytestmark = pytest.mark.django_db


def last(org: Organization) -> AuditEntry:
    entry = AuditEntry.objects.filter(org_id=org.pk).order_by("-seq").first()
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "a",
        "Upper",
        "1st",
        "-x",
        "with space",
        "x" * 64,
        "ünï",
        "a\n",
        "a" * 32,
        "abcdefab-1c51-7079-b855-408ff59ca3b0",
    ],
)
def test_a_slug_that_is_none_is_refused_and_nothing_is_made(slug: str) -> None:
    with pytest.raises(InvalidOrganization) as caught:
        create_organization(slug=slug, name="X", by=BY)
    assert "slug" in caught.value.messages
    assert not Organization.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_slug_belongs_to_one_organisation(org: Organization) -> None:
    with pytest.raises(InvalidOrganization):
        an_org(org.slug)


@pytest.mark.parametrize("role", Role.values)
def test_a_role_contains_the_ones_before_it(role: str) -> None:
    order = ["viewer", "editor", "approver", "admin"]
    contained = [other for other in order if Role(role).includes(other)]
    assert contained == order[: order.index(role) + 1]


def test_nobody_and_the_inactive_have_no_role(org: Organization) -> None:
    person = a_person("edda", org, "editor")
    assert access.role_of(person, org) == "editor"
    person.is_active = False
    assert access.role_of(person, org) is None
    assert access.role_of(AnonymousUser(), org) is None
    with pytest.raises(NotFound):
        access.grant_in(org.slug, a_person("stranger"))


def test_a_key_cannot_be_made_above_one_s_own_role(org: Organization) -> None:
    person = a_person("edda", org, "editor")
    with pytest.raises(keys.RoleTooHigh):
        keys.create_key(org, name="k", role="admin", by=person)
    assert not ApiKey.objects.exists()


def test_one_hmac_and_one_comparison_whatever_comes(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    made = keys.create_key(org, name="k", role="viewer", by=a_person("edda", org, "editor"))
    calls: list[str] = []
    digest, compare = keys.hmac.digest, keys.hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "digest", lambda *a: calls.append("hmac") or digest(*a))
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda *a: calls.append("compare") or compare(*a))
    for text in (
        made.text,
        made.text[:-1] + "x",
        "rk_management_unknownid_00",
        "nonsense",
        "",
        "rk_a_b_c_d_e",
        "é_\ud800_x_y",
    ):
        calls.clear()
        found = keys.authenticate(text)
        assert (found is not None) == (text == made.text)
        assert calls == ["hmac", "compare"], text


def test_members_come_change_and_go_each_with_its_entry(org: Organization) -> None:
    ada = a_person("ada", org, "admin")
    assert last(org).action == "member.added"
    with pytest.raises(members.AlreadyMember):
        members.add_member(org, ada, role="viewer", by=BY)
    member = Membership.objects.get(user=ada)
    with pytest.raises(members.LastAdmin):
        members.change_role(member, role="viewer", by=BY)
    with pytest.raises(members.LastAdmin):
        members.remove_member(member, by=BY)
    a_person("bob", org, "admin")
    members.change_role(member, role="viewer", by=BY)
    assert last(org).action == "member.role_changed"
    size = AuditEntry.objects.count()
    assert members.change_role(member, role="viewer", by=BY) is False
    assert AuditEntry.objects.count() == size, "the same role again is no change"
    members.remove_member(member, by=BY)
    assert last(org).action == "member.removed"


@pytest.mark.parametrize("flag", ["is_active", "is_staff"])
def test_the_last_admin_who_may_sign_in_stays(org: Organization, flag: str) -> None:
    a_person("ada", org, "admin")
    bob = a_person("bob", org, "admin")
    type(bob).objects.filter(pk=bob.pk).update(**{flag: False})
    member = Membership.objects.get(user__username="ada")
    for act in (
        lambda: members.change_role(member, role="viewer", by=BY),
        lambda: members.remove_member(member, by=BY),
    ):
        with pytest.raises(members.LastAdmin):
            act()
    members.remove_member(Membership.objects.get(user=bob), by=BY)
    assert last(org).action == "member.removed", "who cannot is no admin to keep"


def test_revoking_twice_is_one_entry(org: Organization) -> None:
    person = a_person("edda", org, "editor")
    key = keys.create_key(org, name="k", role="viewer", by=person).key
    keys.revoke_key(key, by=person)
    keys.revoke_key(key, by=person)
    assert AuditEntry.objects.filter(action="api_key.revoked").count() == 1


def test_the_policy_is_recorded_when_it_changes(org: Organization) -> None:
    update_organization(org, approval="plans", by=BY)
    assert last(org).action == "organization.updated"
    size = AuditEntry.objects.count()
    update_organization(org, approval="plans", by=BY)
    assert AuditEntry.objects.count() == size


@pytest.mark.every_case
@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "management", "role": "", "pepper": 1},
        {"kind": "management", "org": None, "role": "viewer", "pepper": 1},
        {"kind": "traffic", "role": "", "pepper": 1},
        {"kind": "gateway", "role": "", "pepper": None},
    ],
)
def test_the_database_refuses_a_key_that_makes_no_sense(org: Organization, fields: dict[str, Any]) -> None:
    from django.db import IntegrityError, transaction

    person = a_person("edda", org, "editor")
    with pytest.raises(IntegrityError, match="api_key"), transaction.atomic():
        ApiKey.objects.create(**{"id": "x", "org": org, "name": "n", "made_by": person, "digest": b"", **fields})
