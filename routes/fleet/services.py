"""What gateways report, and what they ask for. Only writer of `GatewayInstance`."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from routes.errors import RoutesError
from routes.fleet.models import GatewayInstance
from routes.orgs.models import Organization

_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
#: A gateway that was not heard of for so long is forgotten.
FORGOTTEN: Final = timedelta(days=30)
MAX_INSTANCES: Final = 10_000


class InvalidInstance(RoutesError):
    """The name is none that a gateway may have."""

    code = "invalid_instance"


class TooManyInstances(RoutesError):
    """An organisation has 10,000 gateways."""

    code = "too_many_instances"


def report(org: Organization, instance: str, **said: Any) -> GatewayInstance:
    """Note what a gateway says of itself, in place of what it said before. Not in the audit log: nothing was decided.

    Raises `InvalidInstance` and `TooManyInstances`.
    """
    if not _INSTANCE.fullmatch(instance):
        raise InvalidInstance(
            "A gateway's name has 1 to 100 letters, digits and ._:- and begins with a letter or digit."
        )
    now = timezone.now()
    with transaction.atomic():
        row, is_new = GatewayInstance.objects.update_or_create(
            org=org, instance=instance, defaults={**said, "reported_at": now}
        )
        if is_new:
            GatewayInstance.objects.filter(org=org, reported_at__lt=now - FORGOTTEN).delete()
            if GatewayInstance.objects.filter(org=org).count() > MAX_INSTANCES:
                raise TooManyInstances(f"An organisation may have {MAX_INSTANCES:,} gateways.")
    return row


def versions_that_differ(known: Mapping[UUID, int | None], *, of: UUID | None) -> dict[str, int]:
    """By organisation its version, where it is another than is known (None: none is); only `of` this one, where it is
    given. Unknown organisations are left out. One query."""
    asked = list(known) if of is None else [org_id for org_id in known if org_id == of]
    found = Organization.objects.filter(pk__in=asked).values_list("pk", "version")
    return {str(org_id): version for org_id, version in found if version != known[org_id]}
