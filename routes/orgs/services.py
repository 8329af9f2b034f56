"""Making organisations and setting their policy."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.actors import as_actor
from audit.services import Receipt, record
from routes.errors import RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.orgs.policy import NOTHING_PROPOSED
from routes.transactions import repeated

#: What a caller may have seen of a policy beside the policy itself.
_PROPOSED = ("approval_proposed", "approval_proposed_by")


class StaleOrganization(RoutesError):
    """Somebody changed the organisation since the caller looked."""

    code = "stale_organization"

    def __init__(self, org: Organization) -> None:
        super().__init__("The organisation was changed after you looked. Look again.")
        self.org = org


class InvalidOrganization(RoutesError):
    """The organisation's fields are not acceptable; `messages` says why, by field."""

    code = "invalid_organization"

    def __init__(self, error: ValidationError) -> None:
        super().__init__("; ".join(error.messages))
        self.messages = error.message_dict


def create_organization(
    *, slug: str, name: str, by: Any, environment: str = "", approval: str = Organization.Approval.NONE
) -> Organization:
    """A new organisation, without routes, at version 0. Raises `InvalidOrganization`."""
    org = Organization(slug=slug, name=name, environment=environment, approval=approval)
    with transaction.atomic():
        try:
            org.full_clean()
        except ValidationError as error:
            raise InvalidOrganization(error) from error
        try:
            with transaction.atomic():
                org.save(force_insert=True)
        except IntegrityError as error:  # somebody was faster by less than the time between looking and writing
            taken = {"slug": "Organization with this Slug already exists."}
            raise InvalidOrganization(ValidationError(taken)) from error
        record(
            org.pk,
            by=by,
            action="organization.created",
            target=("organization", str(org.pk)),
            payload={"slug": slug, "name": name, "environment": environment, "approval": approval},
        )
    return org


@repeated
def update_organization(
    org: Organization,
    *,
    by: Any,
    seen: Organization | None = None,
    name: str | None = None,
    environment: str | None = None,
    approval: str | None = None,
) -> Receipt | None:
    """Change what is given; None where that changes nothing.

    A looser approval is only proposed, for another admin to confirm (`routes.orgs.policy`). `seen` is the organisation as
    the caller saw it. Raises `StaleOrganization` where it is another by now, `OrganizationFrozen` and
    `InvalidOrganization`.
    """
    actor = as_actor(by)
    wanted = {"name": name, "environment": environment, "approval": approval}
    with transaction.atomic():
        now = locked(org.pk)
        if seen is not None and any(getattr(seen, field) != getattr(now, field) for field in (*wanted, *_PROPOSED)):
            raise StaleOrganization(now)
        proposal: dict[str, Any] = {}
        if approval in Organization.Approval.values and Organization.Approval(approval).is_looser_than(now.approval):
            wanted |= {"approval": None, "approval_proposed": approval}
            proposal = {
                "approval_proposed_by": actor.person or "",
                "approval_proposed_by_name": actor.name,
                "approval_proposed_at": timezone.now(),
            }
        elif approval not in (None, now.approval) and now.approval_proposed:
            wanted |= {"approval_proposed": ""}
            proposal = NOTHING_PROPOSED
        was = {
            field: getattr(now, field) for field, value in wanted.items() if value not in (None, getattr(now, field))
        }
        if not was:
            return None
        fields = {**{field: wanted[field] for field in was}, **(proposal if "approval_proposed" in was else {})}
        for field, value in fields.items():
            setattr(now, field, value)
        try:
            now.full_clean(validate_unique=False, validate_constraints=False)
        except ValidationError as error:
            raise InvalidOrganization(error) from error
        now.save(update_fields=list(fields))
        for field, value in fields.items():
            setattr(org, field, value)
        return record(
            org.pk,
            by=actor,
            action="organization.updated",
            target=("organization", str(org.pk)),
            payload={"was": was, "is": {field: wanted[field] for field in was}},
        )
