"""Who may do what: memberships, API keys, and the one place that decides. Only writer of both tables."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.services import record
from routes.errors import NotFound, RoutesError
from routes.orgs.models import SLUG, ApiKey, Membership, Organization, Role

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class RoleTooHigh(RoutesError):
    """Nobody hands out a role above one's own."""

    code = "role_too_high"


class AlreadyMember(RoutesError):
    """The person has a role in this organisation already."""

    code = "already_member"


class LastAdmin(RoutesError):
    """An organisation keeps at least one admin."""

    code = "last_admin"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `text` is the whole key; it is not kept and cannot be shown again."""

    key: ApiKey
    text: str


# --- Deciding -------------------------------------------------------------------------------------------------------


def find_org(ref: str, user: Any, key: ApiKey | None = None) -> Organization:
    """The organisation with this slug or id, if the caller may read it.

    Raises `NotFound` alike for an unknown and for somebody else's organisation.
    """
    orgs = Organization.objects.of_person(user)
    try:
        # A slug never reads as a UUID.
        org = orgs.filter(pk=UUID(ref)).first()
    except ValueError:
        # Only what can be a slug reaches the database: PostgreSQL takes no U+0000 as text.
        org = orgs.filter(slug=ref).first() if SLUG.fullmatch(ref) else None
    if org is None or role_of(user, org, key) is None:
        raise NotFound("There is no such organisation.")
    return org


def role_of(user: Any, org: Organization, key: ApiKey | None = None) -> Role | None:
    """The caller's role in the organisation now, or None.

    Installation staff (superusers) are admins everywhere. A key has its own role, but never more than the person who
    made it has at this moment.
    """
    if not user.is_active:
        return None
    if user.is_superuser:
        own: Role | None = Role.ADMIN
    else:
        found = Membership.objects.filter(user=user, org=org).values_list("role", flat=True).first()
        own = Role(found) if found else None
    if own is None or key is None:
        return own
    if key.org_id != org.pk or key.kind != ApiKey.Kind.MANAGEMENT:
        return None
    return Role(key.role) if own.includes(key.role) else own


# --- Keys -----------------------------------------------------------------------------------------------------------


def create_key(org: Organization, *, name: str, role: str, by: Any, expires_at: datetime | None = None) -> NewKey:
    """Make a management key that acts for `by`, a person. Raises `RoleTooHigh`."""
    own = role_of(by, org)
    if own is None or not own.includes(role):
        raise RoleTooHigh(f"You are {own or 'no member'} here; a key of yours cannot be {role}.")
    kind = ApiKey.Kind.MANAGEMENT
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    text = f"rk_{kind}_{key_id}_{secrets.token_hex(32)}"
    number = max(settings.API_KEY_PEPPERS)
    with transaction.atomic():
        key = ApiKey.objects.create(
            id=key_id,
            kind=kind,
            org=org,
            role=role,
            name=name,
            made_by=by,
            digest=_hmac(text, settings.API_KEY_PEPPERS[number]),
            pepper=number,
            expires_at=expires_at,
        )
        record(
            org.pk,
            by=by,
            action="api_key.created",
            target=("api_key", key.id),
            payload={"name": name, "kind": kind, "role": role, "expires_at": expires_at},
        )
    return NewKey(key, text)


def revoke_key(key: ApiKey, *, by: Any) -> None:
    """The key stops working at once. Revoking it again changes nothing."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            record(key.org_id, by=by, action="api_key.revoked", target=("api_key", key.id), payload={"name": key.name})


def authenticate(text: str) -> ApiKey | None:
    """The key with this text, or None where it is malformed, unknown, wrong, revoked or expired.

    One HMAC and one comparison whatever comes in, so that the time taken tells nothing about which part was wrong.
    """
    parts = text.split("_")
    key = ApiKey.objects.select_related("made_by").filter(pk=parts[2]).first() if len(parts) == 4 else None
    peppers = settings.API_KEY_PEPPERS
    number = key.pepper if key and key.pepper is not None else max(peppers)
    digest = _hmac(text, peppers.get(number, b""))
    right = hmac.compare_digest(digest, bytes(key.digest) if key else bytes(32))
    now = timezone.now()
    if key is None or not right or key.kind != ApiKey.Kind.MANAGEMENT or number not in peppers:
        return None
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    return key


def _hmac(text: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, text.encode("utf-8", "replace"), hashlib.sha256)


# --- Members --------------------------------------------------------------------------------------------------------


def add_member(org: Organization, user: Any, *, role: str, by: Any) -> Membership:
    """Give a person a role. Raises `AlreadyMember`."""
    with transaction.atomic():
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


def change_role(member: Membership, *, role: str, by: Any) -> None:
    """Change a person's role; the same role changes nothing. Raises `LastAdmin`."""
    with transaction.atomic():
        _keep_an_admin(member, still_admin=role == Role.ADMIN)
        was = member.role
        if was == role or not Membership.objects.filter(pk=member.pk, role=was).update(role=role):
            return
        member.role = role
        record(
            member.org_id,
            by=by,
            action="member.role_changed",
            target=("user", str(member.user_id)),
            payload={"was": was, "is": role, "username": member.user.get_username()},
        )


def remove_member(member: Membership, *, by: Any) -> None:
    """Take a person's role away; keys that act for the person stop working with it. Raises `LastAdmin`."""
    with transaction.atomic():
        _keep_an_admin(member, still_admin=False)
        deleted, _ = Membership.objects.filter(pk=member.pk).delete()
        if deleted:
            record(
                member.org_id,
                by=by,
                action="member.removed",
                target=("user", str(member.user_id)),
                payload={"role": member.role, "username": member.user.get_username()},
            )


def _keep_an_admin(member: Membership, *, still_admin: bool) -> None:
    """Lock the organisation's row, so that two admins cannot remove each other at once."""
    list(Organization.objects.select_for_update().filter(pk=member.org_id).values_list("pk"))
    if member.role != Role.ADMIN or still_admin:
        return
    if not Membership.objects.filter(org=member.org_id, role=Role.ADMIN).exclude(pk=member.pk).exists():
        raise LastAdmin("This is the last admin of the organisation. Make somebody else an admin first.")
