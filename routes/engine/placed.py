"""Targets that lead to wherever a partition is placed. Their host says so, and where the partition's name stands:

`https://placement.invalid/…`                  the organisation is one partition, `*`
`https://x-tenant.header.placement.invalid/…`  in the header `X-Tenant`
`https://tenant.path.placement.invalid/…`      in the parameter `:tenant` of the path's pattern

The path goes to the endpoint of the placement. No such host can ever be there (RFC 6761), so a gateway that does not know
of placements reaches nothing, instead of a place that is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from routes.engine.errors import PartitionUnresolved
from routes.engine.placements import DEFAULT

PLACED_HOST: Final = "placement.invalid"
#: What these methods do changes nothing (RFC 9110, 9.2.1), so they pass no gate.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_is_partition = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}").fullmatch
_FORMS = f"{PLACED_HOST}, <header>.header.{PLACED_HOST} or <parameter>.path.{PLACED_HOST}"


def is_partition(text: str) -> bool:
    """Whether a partition may be called so: 1 to 200 letters, digits and `._:@-`, the first a letter or digit."""
    return _is_partition(text) is not None


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """Where the name of a request's partition stands. `name` is in lower case, and empty for all requests alike."""

    kind: Literal["all", "header", "path"]
    name: str = ""

    def read(self, headers: Mapping[str, Sequence[str]], params: Mapping[str, str]) -> str:
        """The partition of a request with these headers, names in lower case, and parameters of its path. Raises
        `PartitionUnresolved` where it is missing, there twice, or no name."""
        if self.kind == "all":
            return DEFAULT
        if self.kind == "header":
            found = list(headers.get(self.name, ()))
        else:
            found = [value for name, value in params.items() if name.lower() == self.name]
        if len(found) != 1 or not is_partition(found[0]):
            place = f"header {self.name}" if self.kind == "header" else f"parameter {self.name} of the path"
            raise PartitionUnresolved(f"The {place} has to name the partition of this request, once.")
        return found[0]


def partition_key(target_url: str) -> PartitionKey | None:
    """What a target says of the partition; None for one that leads to a place of its own. Raises `ValueError` for a host
    below `placement.invalid` that says nothing."""
    if PLACED_HOST not in target_url.lower():
        return None
    parts = urlsplit(target_url)
    host = parts.hostname or ""
    if host == PLACED_HOST:
        key = PartitionKey("all")
    elif host.endswith(f".{PLACED_HOST}"):
        name, _, kind = host.removesuffix(f".{PLACED_HOST}").rpartition(".")
        if not name or kind not in ("header", "path"):
            raise ValueError(f"A target that leads to placements has the host {_FORMS}.")
        key = PartitionKey("header" if kind == "header" else "path", name)
    else:
        return None
    if parts.port is not None:
        raise ValueError("A target that leads to placements has no port: that of the placement counts.")
    return key


def is_placed(target_url: str) -> bool:
    """Whether it leads to placements, well said or not."""
    try:
        return partition_key(target_url) is not None
    except ValueError:
        return True


def placed_url(url: str, endpoint: str) -> str:
    """The URL of a target, at the base URL of a placement."""
    _, _, rest = url.partition("://")
    end = next((at for at, letter in enumerate(rest) if letter in "/?"), len(rest))
    return f"{endpoint.rstrip('/')}{rest[end:]}"
