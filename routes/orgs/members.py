"""Who belongs to an organisation. Only writer of `Membership`."""

import logging
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from audit.services import record
from routes.errors import NotFound, RoutesError
from routes.orgs.locks import locked, refuse_frozen
from routes.orgs.models import Membership, Organization, Role
from routes.rates import count
from routes.transactions import repeated

_HOUR_SECONDS: Final = 3_600
log = logging.getLogger(__name__)


class AlreadyMember(RoutesError):
    """The person has a role in this organisation already."""

    code = "already_member"


class UnknownPerson(RoutesError):
    """There is no active account with this name."""

    code = "unknown_person"


class TooManyNames(RoutesError):
    """Somebody asked for more names in this hour than anybody adds, perhaps to learn who has an account."""

    code = "too_many_names"

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"You asked for too many names in this hour. Ask again in {wait_seconds:,} s.")
        self.wait_seconds = wait_seconds


class LastAdmin(RoutesError):
    """An organisation keeps at least one admin who may sign in."""

    code = "last_admin"


class StaleMember(RoutesError):
    """Somebody changed this person's role since the caller looked."""

    code = "stale_member"

    def __init__(self, member: Membership) -> None:
        super().__init__(f"{member.user.get_username()} is {member.role} by now. Look again.")
        self.member = member


def find_person(username: str, *, asked_by: Any) -> Any:
    """The account that can be given a role. `asked_by`: the person, of whatever organisation, in whose name is asked; right
    and wrong names count alike, because a dry run or a member who is removed again tells as much as a refusal. Raises
    `UnknownPerson`, `TooManyNames`."""
    if not asked_by.is_superuser:  # who sees all accounts anyway
        _count_name(asked_by)
    user = get_user_model().objects.filter(username=username, is_active=True).first() if "\0" not in username else None
    if user is None:
        raise UnknownPerson("There is no active account with this name. Installation staff make accounts.")
    return user


def _count_name(asked_by: Any) -> None:
    names, seconds_left = count(f"names:{asked_by.pk}", _HOUR_SECONDS, using="people")
    if names == settings.MEMBER_RATE + 1:
        log.warning("somebody asks for too many names of accounts")
    if names > settings.MEMBER_RATE:
        raise TooManyNames(seconds_left)


def get_member(org: Organization, user_id: int) -> Membership:
    """The membership of the person with this id. Raises `NotFound`."""
    member = None
    if user_id < 2**63:  # what a database can compare
        member = Membership.objects.select_related("user").filter(org=org, user=user_id).first()
    if member is None:
        raise NotFound("There is no such member in this organisation.")
    return member


@repeated
def add_member(org: Organization, user: Any, *, role: str, by: Any) -> Membership:
    """Give a person a role. Raises `AlreadyMember` and `OrganizationFrozen`."""
    with transaction.atomic():
        locked(org.pk)
        member, made = Membership.objects.get_or_create(org=org, user=user, defaults={"role": role})
        if not made:
            raise AlreadyMember(f"{user.get_username()} is {member.role} here already; change the role instead.")
        record(
            org.pk,
            by=by,
            action="member.added",
            target=("user", str(user.pk)),
            payload={"role": role, "username": user.get_username()},
        )
    return member


@repeated
def change_role(member: Membership, *, role: str, by: Any) -> bool:
    """Change a person's role, and answer whether it did; the same role changes nothing.

    `member` is as the caller saw it. Raises `LastAdmin`, `StaleMember`, `OrganizationFrozen` and `NotFound`.
    """
    with transaction.atomic():
        refuse_frozen(_lock(member))
        if member.role == role:
            return False
        if member.role == Role.ADMIN:
            _keep_an_admin(member)
        was = member.role
        Membership.objects.filter(pk=member.pk).update(role=role)
        record(
            member.org_id,
            by=by,
            action="member.role_changed",
            target=("user", str(member.user_id)),
            payload={"was": was, "is": role, "username": member.user.get_username()},
        )
    member.role = role
    return True


@repeated
def remove_member(member: Membership, *, by: Any) -> None:
    """Take a person's role away, also in a frozen organisation; keys that act for the person stop working with it.

    `member` is as the caller saw it. Raises `LastAdmin`, `StaleMember` and `NotFound`.
    """
    with transaction.atomic():
        _lock(member)
        if member.role == Role.ADMIN:
            _keep_an_admin(member)
        Membership.objects.filter(pk=member.pk).delete()
        record(
            member.org_id,
            by=by,
            action="member.removed",
            target=("user", str(member.user_id)),
            payload={"role": member.role, "username": member.user.get_username()},
        )


def _lock(member: Membership) -> Organization:
    """Lock the organisation's row, so that two admins cannot remove each other at once. Raises `StaleMember` where the
    role is another than the caller saw, `NotFound` where there is none any more."""
    org = locked(member.org_id, even_frozen=True)
    now = Membership.objects.select_related("user").filter(pk=member.pk).first()
    if now is None:
        raise NotFound("There is no such member in this organisation.")
    if now.role != member.role:
        raise StaleMember(now)
    return org


def _keep_an_admin(member: Membership) -> None:
    others = Membership.objects.filter(org=member.org_id, role=Role.ADMIN).exclude(pk=member.pk)
    # Who is no staff cannot sign in to undo anything.
    if not others.filter(user__is_active=True, user__is_staff=True).exists():
        raise LastAdmin(
            "No other admin of the organisation may sign in, so this one stays. Make somebody else an admin first."
        )
