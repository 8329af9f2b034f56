"""An organisation's private upstreams: where its services may lead though it is not public. Installation staff decide."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from audit.services import Receipt, record
from routes.engine.egress import MAX_PRIVATE_UPSTREAMS, PrivateUpstream
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.reading import MAX_ISSUES, shown
from routes.errors import RoutesError
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.transactions import repeated


class StaleUpstreams(RoutesError):
    """Somebody changed the private upstreams since the caller looked."""

    code = "stale_private_upstreams"

    def __init__(self, private_upstreams: list[dict[str, Any]]) -> None:
        super().__init__("The private upstreams were changed after you looked. Look again.")
        self.private_upstreams = private_upstreams


def private_upstreams_of(org: Organization) -> tuple[PrivateUpstream, ...]:
    return tuple(PrivateUpstream.from_dict(each) for each in org.private_upstreams)


def read_private_upstreams(raw: object) -> list[PrivateUpstream]:
    """The values of a JSON list of `{"network", "port"}`. Raises `InvalidRoute` with all issues, at `[0].network`."""
    if not isinstance(raw, list):
        raise InvalidRoute(
            [_issue("", "wrong_type", f"This is a list of networks with their ports, not {shown(raw)}.")]
        )
    if len(raw) > MAX_PRIVATE_UPSTREAMS:
        message = f"At most {MAX_PRIVATE_UPSTREAMS} private upstreams; these are {len(raw):,}."
        raise InvalidRoute([_issue("", "too_many", message)])
    issues: list[Issue] = []
    seen: dict[PrivateUpstream, int] = {}
    for index, each in enumerate(raw):
        try:
            value = PrivateUpstream.from_dict(each)
        except InvalidRoute as error:
            issues += [{**issue, "path": f"[{index}].{issue['path']}".rstrip(".")} for issue in error.issues]
            continue
        if value in seen:
            issues.append(_issue(f"[{index}]", "duplicate_value", f"This is also at [{seen[value]}]."))
        seen.setdefault(value, index)
    if issues:
        raise InvalidRoute(issues[:MAX_ISSUES])
    return list(seen)


@repeated
def set_private_upstreams(
    org: Organization,
    private_upstreams: Sequence[PrivateUpstream],
    *,
    by: Any,
    seen: list[dict[str, Any]] | None = None,
) -> Receipt | None:
    """Let the organisation's services lead to exactly these networks and ports beside what is public; None where that is
    so already. Gateways learn of it with the directory; no version is made.

    `seen` is the list that the caller saw. Raises `StaleUpstreams` and `OrganizationFrozen`.
    """
    wanted = [each.to_dict() for each in private_upstreams]
    with transaction.atomic():
        now = locked(org.pk)
        was = now.private_upstreams
        if seen is not None and seen != was:
            raise StaleUpstreams(was)
        org.private_upstreams = wanted
        if wanted == was:
            return None
        Organization.objects.filter(pk=org.pk).update(private_upstreams=wanted)
        return record(
            org.pk,
            by=by,
            action="organization.private_upstreams_changed",
            target=("organization", str(org.pk)),
            payload={"was": was, "is": wanted},
        )


def _issue(path: str, code: str, message: str) -> Issue:
    return {"path": path, "code": code, "message": message}
