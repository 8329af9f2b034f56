"""Freezing an organisation, and confirming a looser policy of approval. With `services`, only writer of `Organization`."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.actors import as_actor
from audit.services import Receipt, record
from routes.errors import RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.transactions import repeated


class ReasonRequired(RoutesError):
    """What is done needs a reason, which the log keeps."""

    code = "reason_required"


class NoProposal(RoutesError):
    """No looser policy is proposed, or another one than the caller saw."""

    code = "no_proposal"


class OwnProposal(RoutesError):
    """A looser policy is confirmed by somebody other than who proposed it."""

    code = "own_proposal"


@repeated
def freeze(org: Organization, *, reason: str, by: Any) -> Receipt | None:
    """Refuse every change of the organisation's routes, plans, prices, members, keys and policy from now on; None where it
    is frozen already.

    What is live is served on, logs and reports of gateways come in, a replay that runs goes on, keys and members can be
    taken away, and scheduled plans called off. A partition that is being moved stays as it is, in cutover without writes.
    Raises `ReasonRequired`.
    """
    if not reason.strip():
        raise ReasonRequired("Say why: whoever is refused will read it.")
    actor = as_actor(by)
    with transaction.atomic():
        now = locked(org.pk, even_frozen=True)
        if now.status != Organization.Status.ACTIVE:
            return None
        fields = {"frozen_at": timezone.now(), "frozen_by_name": actor.name, "frozen_reason": reason}
        _set(org, status=Organization.Status.FROZEN, **fields)
        return _record(org, by=actor, action="organization.frozen", reason=reason)


@repeated
def unfreeze(org: Organization, *, by: Any) -> Receipt | None:
    """Allow changes again; None where nothing was frozen."""
    with transaction.atomic():
        now = locked(org.pk, even_frozen=True)
        if now.status != Organization.Status.FROZEN:
            return None
        _set(org, status=Organization.Status.ACTIVE, frozen_at=None, frozen_by_name="", frozen_reason="")
        return _record(org, by=by, action="organization.unfrozen", reason=now.frozen_reason)


@repeated
def confirm_approval(org: Organization, approval: str, *, by: Any) -> Receipt:
    """Let the looser policy hold that another person proposed. `approval` is the one that the caller saw. Raises
    `NoProposal`, and `OwnProposal` for who proposed it and for anything but a person."""
    actor = as_actor(by)
    with transaction.atomic():
        now = _proposed(org, approval)
        if actor.person is None or actor.person == now.approval_proposed_by:
            raise OwnProposal("You proposed this; ask another admin to confirm it.")
        _set(org, approval=approval, **NOTHING_PROPOSED)
        return _record(
            org, by=actor, action="approval.confirmed", was=now.approval, **{"is": approval},
            proposed_by=now.approval_proposed_by,
        )  # fmt: skip


@repeated
def withdraw_approval(org: Organization, approval: str, *, by: Any) -> Receipt:
    """Take the proposal of this looser policy back. Raises `NoProposal`."""
    with transaction.atomic():
        now = _proposed(org, approval)
        _set(org, **NOTHING_PROPOSED)
        return _record(org, by=by, action="approval.withdrawn", proposed=now.approval_proposed)


NOTHING_PROPOSED: dict[str, Any] = {
    "approval_proposed": "",
    "approval_proposed_by": "",
    "approval_proposed_by_name": "",
    "approval_proposed_at": None,
}


def _proposed(org: Organization, approval: str) -> Organization:
    now = locked(org.pk)
    if not now.approval_proposed or now.approval_proposed != approval:
        what = f"“{now.get_approval_proposed_display()}”" if now.approval_proposed else "nothing"
        raise NoProposal(f"This is not proposed: {what} is. Look again.")
    return now


def _set(org: Organization, **fields: Any) -> None:
    Organization.objects.filter(pk=org.pk).update(**fields)
    for name, value in fields.items():
        setattr(org, name, value)


def _record(org: Organization, *, by: Any, action: str, **payload: Any) -> Receipt:
    return record(org.pk, by=by, action=action, target=("organization", str(org.pk)), payload=payload)
