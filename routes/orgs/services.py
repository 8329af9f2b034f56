"""Making organisations and setting their policy."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from audit.services import record
from routes.errors import NotFound, RoutesError
from routes.orgs.models import SLUG, Organization


class InvalidOrganization(RoutesError):
    """The organisation's fields are not acceptable; `messages` says why, by field."""

    code = "invalid_organization"

    def __init__(self, error: ValidationError) -> None:
        super().__init__("; ".join(error.messages))
        self.messages = error.message_dict


def named_org(ref: str) -> Organization:
    """The organisation with this slug or id, for operators: whose it is, is not asked. Raises `NotFound`."""
    try:
        org = Organization.objects.filter(pk=UUID(ref)).first()
    except ValueError:
        # Only what can be a slug reaches the database, which takes not every text.
        org = Organization.objects.filter(slug=ref).first() if SLUG.fullmatch(ref) else None
    if org is None:
        raise NotFound(f"There is no organisation {ref}.")
    return org


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
        org.save(force_insert=True)
        record(
            org.pk,
            by=by,
            action="organization.created",
            target=("organization", str(org.pk)),
            payload={"slug": slug, "name": name, "environment": environment, "approval": approval},
        )
    return org


def set_approval(org: Organization, *, approval: str, by: Any) -> None:
    """Choose whether plans need a second person. The same policy again changes nothing."""
    with transaction.atomic():
        was = Organization.objects.select_for_update().values_list("approval", flat=True).get(pk=org.pk)
        if was == approval:
            return
        Organization.objects.filter(pk=org.pk).update(approval=approval)
        org.approval = approval
        record(
            org.pk,
            by=by,
            action="organization.approval_changed",
            target=("organization", str(org.pk)),
            payload={"was": was, "is": approval},
        )
