"""Who may do what in an organisation: the one place that decides, for the API and the admin alike."""

import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import OuterRef, Subquery

from routes.errors import NotFound
from routes.orgs.models import SLUG, ApiKey, Membership, Organization, Role

#: What a view may ask for beside a role: the key of a gateway, installation staff, or just somebody who is known and no
#: gateway.
GATEWAY: Final = "gateway"
INSTALLATION: Final = "installation"
ANYBODY: Final = "anybody"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do, in one organisation or, where `org` is None, outside of all."""

    org: Organization | None
    #: None outside of organisations, and for a gateway.
    role: Role | None = None
    is_gateway: bool = False
    is_installation: bool = False

    def may(self, needs: str | tuple[str, ...]) -> bool:
        """Whether the caller has what is asked for: a role (or one that contains it), `GATEWAY`, `INSTALLATION` or
        `ANYBODY`; of several, one is enough."""
        return any(map(self._has, (needs,) if isinstance(needs, str) else needs))

    def _has(self, need: str) -> bool:
        if need == GATEWAY:
            return self.is_gateway
        if need == INSTALLATION:
            return self.is_installation
        if need == ANYBODY:
            return not self.is_gateway
        return self.role is not None and self.role.includes(need)

    def __str__(self) -> str:
        return "a gateway" if self.is_gateway else str(self.role or "nobody")


def grant_in(ref: str, user: Any, key: ApiKey | None = None) -> Grant:
    """What the caller may do in the organisation with this slug or id: a person, or a key as `keys.authenticate` gave it.

    Installation staff (superusers) are admins everywhere. A management key has its own role, but never more than the
    person who made it has at this moment; a gateway's key has none. Raises `NotFound`, alike for an unknown and for
    somebody else's organisation. One query, none for a key of one organisation.
    """
    if key is not None and key.kind == ApiKey.Kind.GATEWAY:
        org = named_org(ref) if key.org is None else _if_named(ref, key.org)
        return Grant(org, is_gateway=True)
    if key is not None:
        assert key.org is not None
        org = _if_named(ref, key.org)
        own = _role_of(user, key.persons_role)
        role = None if own is None else Role(key.role) if own.includes(key.role) else own
        is_installation = False  # a key is of one organisation
    else:
        theirs = Membership.objects.filter(org=OuterRef("pk"), user=user.pk).values("role")
        org = named_org(ref, Organization.objects.annotate(persons_role=Subquery(theirs)))
        role = _role_of(user, org.persons_role)
        is_installation = bool(user.is_superuser)
    if role is None:
        raise NotFound(_NONE)
    return Grant(org, role, is_installation=is_installation)


def grant_outside(user: Any, key: ApiKey | None = None) -> Grant:
    """What the caller may do outside of organisations."""
    if key is not None:
        return Grant(None, is_gateway=key.kind == ApiKey.Kind.GATEWAY)
    return Grant(None, is_installation=bool(user.is_active and user.is_superuser))


def role_of(user: Any, org: Organization) -> Role | None:
    """The person's role in the organisation now, or None."""
    found = Membership.objects.filter(user=user.pk, org=org).values_list("role", flat=True).first()
    return _role_of(user, found)


_NONE: Final = "There is no such organisation."
_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _role_of(user: Any, member: str | None) -> Role | None:
    """The role of a person who is a member in this one."""
    if not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMIN
    return None if member is None else Role(member)


def _if_named(ref: str, org: Organization) -> Organization:
    """This organisation, if it is the one with this slug or id. Raises `NotFound`."""
    # A slug never reads as an id.
    if ref != org.slug and _id_in(ref) != org.pk:
        raise NotFound(_NONE)
    return org


def _id_in(ref: str) -> UUID | None:
    """The id that is written so, in either case and with all hyphens or none. `UUID` alone also takes braces, prefixes,
    hyphens anywhere and the digits of other scripts, which in the address of what was made nobody could go on with."""
    return UUID(ref) if _ID.fullmatch(ref) else None


def named_org(ref: str, orgs: Any = None) -> Organization:
    """The organisation with this slug or id, of these or of all: whose it is, is not asked. Raises `NotFound`."""
    orgs = Organization.objects.all() if orgs is None else orgs
    org: Organization | None
    if (org_id := _id_in(ref)) is not None:
        org = orgs.filter(pk=org_id).first()
    else:
        # Only what can be a slug reaches the database: PostgreSQL takes no U+0000 as text.
        org = orgs.filter(slug=ref).first() if SLUG.fullmatch(ref) else None
    if org is None:
        raise NotFound(_NONE)
    return org
