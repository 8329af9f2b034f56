"""An organisation's row is the lock that orders its writers: taken first by everybody who changes something of it."""

from uuid import UUID

from routes.errors import NotFound, OrganizationFrozen
from routes.orgs.models import Organization


def locked(org_id: UUID | str, *, even_frozen: bool = False) -> Organization:
    """The organisation as it is now, locked until the transaction ends. Raises `NotFound` and `OrganizationFrozen`."""
    # Not FOR UPDATE: whoever adds a row that names the organisation, as logs do, need not wait.
    org = Organization.objects.select_for_update(no_key=True).filter(pk=org_id).first()
    if org is None:
        raise NotFound("There is no such organisation.")
    if not even_frozen:
        refuse_frozen(org)
    return org


def refuse_frozen(org: Organization) -> None:
    """Raises `OrganizationFrozen`."""
    if org.status == Organization.Status.ACTIVE:
        return
    why = f" by {org.frozen_by_name}: {org.frozen_reason.rstrip('.')}" if org.frozen_at else ""
    raise OrganizationFrozen(f"Nothing can be changed here: {org} is {org.status}{why}. An admin can unfreeze it.")
