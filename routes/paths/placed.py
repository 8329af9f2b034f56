"""Where a tried request goes whose target leads to placements: what a gateway would find at this moment."""

from dataclasses import dataclass, replace
from typing import Any

from routes.engine import Placement
from routes.engine.errors import PartitionUnresolved
from routes.engine.paths import PathMatch
from routes.engine.placed import SAFE, PartitionKey, partition_key, placed_url
from routes.orgs.models import Organization
from routes.paths.shown import Headers
from routes.placements.models import placement_of


@dataclass(frozen=True, slots=True)
class FoundPlacement:
    """`partition` is None where the request does not name it; `detail` says what a gateway answers, empty where it asks
    somebody."""

    partition: str | None
    placement: Placement | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        found = self.placement
        return {
            "partition": self.partition,
            "detail": self.detail,
            "cluster": found.target.cluster if found else None,
            "resource": found.target.resource if found else None,
            "phase": found.phase if found else None,
            "epoch": found.epoch if found else None,
        }

    def url(self, url: str) -> str | None:
        """What a gateway asks for this target's URL."""
        if self.placement is None or self.detail:
            return None
        return placed_url(url, self.placement.target.endpoint or "")


def placement_found(
    org: Organization, method: str, match: PathMatch, headers: Headers | None = None
) -> FoundPlacement | None:
    """Where a request with this match goes; None where its target is a place of its own."""
    try:
        key = partition_key(match.target_url)
    except ValueError as error:
        return FoundPlacement(None, detail=f"{error} Gateways answer 400.")
    if key is None:
        return None
    found = _found(org, key, match, headers or {})
    if found.placement is not None and found.placement.phase == "cutover" and method not in SAFE:
        return replace(found, detail="The partition is being moved: gateways answer 409 to writes until that is done.")
    return found


def _found(org: Organization, key: PartitionKey, match: PathMatch, headers: Headers) -> FoundPlacement:
    listed = {name.lower(): [value] if isinstance(value, str) else list(value) for name, value in headers.items()}
    try:
        partition = key.read(listed, match.params)
    except PartitionUnresolved as error:
        return FoundPlacement(None, detail=f"{error} Gateways answer 400.")
    placement = placement_of(org, partition)
    if placement is None:
        return FoundPlacement(partition, detail="This partition was never placed: gateways answer 404.")
    return FoundPlacement(partition, placement)
