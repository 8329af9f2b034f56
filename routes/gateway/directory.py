"""`Directory`: which organisations there are, which hosts are whose, and whose a traffic key is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routes.engine.egress import PrivateUpstream
from routes.engine.errors import DocumentRejected, InvalidRoute
from routes.engine.frozen import FrozenDict
from routes.engine.ids import canonical_uuid
from routes.engine.reading import shown
from routes.engine.times import read_time

SCHEMA = 1
_ORGANIZATION = ("org_id", "org_slug", "status", "private_upstreams", "hosts", "traffic_keys")
_KEY = ("id", "digest", "expires_at", "metadata", "allows_force")
_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch
#: Written `{"schema": 1, "organizations": [...]}`; a key of another name is of a newer release and is left alone, so that
#: the control plane may be updated before its gateways.


@dataclass(frozen=True, slots=True)
class TrafficKey:
    """A key with which requests come. `metadata` is fixed on it; `allows_force`: its requests may name their route."""

    id: str
    org: DirectoryOrganization = field(repr=False)
    expires_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=FrozenDict)
    allows_force: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryOrganization:
    """An organisation as gateways know it: `status` is active, frozen or closed."""

    org_id: str
    org_slug: str
    status: str
    private_upstreams: tuple[PrivateUpstream, ...] = ()


@dataclass(frozen=True, slots=True)
class HostedService:
    """Whose service a host is."""

    org: DirectoryOrganization
    slug: str


class Directory:
    """What a gateway looks up before it decides. Immutable; the gateway puts a new one in its place."""

    __slots__ = ("_by_digest", "_by_host", "_by_slug", "document", "organizations")

    def __init__(self, organizations: Iterable[DirectoryOrganization] = ()) -> None:
        self.organizations: dict[str, DirectoryOrganization] = {org.org_id: org for org in organizations}
        self._by_slug = {org.org_slug: org for org in self.organizations.values()}
        self._by_host: dict[str, HostedService] = {}
        self._by_digest: dict[bytes, TrafficKey] = {}
        #: What it was read from.
        self.document: dict[str, Any] = {"schema": SCHEMA, "organizations": []}

    @classmethod
    def from_document(cls, raw: object) -> Directory:
        """The directory of a JSON object. Raises `DocumentRejected` for what is none: as a whole, because half of it would
        be a directory in which keys and hosts are missing."""
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or not isinstance(raw.get("organizations"), list):
            raise DocumentRejected(f"A directory is an object of schema {SCHEMA} with a list of organizations.")
        rows = raw["organizations"]
        read = [_organization(row, index) for index, row in enumerate(rows)]
        directory = cls(read)
        directory.document = raw
        for index, (row, org) in enumerate(zip(rows, read, strict=True)):
            where = f"organizations[{index}]"
            for host, slug in _mapping(row["hosts"], f"{where}.hosts").items():
                directory._by_host[host] = HostedService(org, slug)
            if not isinstance(row["traffic_keys"], list):
                raise DocumentRejected(f"{where}.traffic_keys is a list.")
            for number, key in enumerate(row["traffic_keys"]):
                digest, value = _key(key, org, f"{where}.traffic_keys[{number}]")
                directory._by_digest[digest] = value
        return directory

    def service_of_host(self, host: str) -> HostedService | None:
        """Whose service answers at this host, given in lower case and without its port."""
        return self._by_host.get(host)

    def organization(self, slug_or_id: str) -> DirectoryOrganization | None:
        return self._by_slug.get(slug_or_id) or self.organizations.get(slug_or_id)

    def key(self, text: str, at: datetime) -> TrafficKey | None:
        """The key of this text, unless there is none, or it has expired by `at`. What is compared are SHA-256 digests of
        256 random bits, so the time that it takes tells nothing that helps to guess one."""
        found = self._by_digest.get(hashlib.sha256(text.encode("utf-8", "replace")).digest())
        if found is None or (found.expires_at is not None and found.expires_at <= at):
            return None
        return found


def _organization(raw: object, index: int) -> DirectoryOrganization:
    where = f"organizations[{index}]"
    if not isinstance(raw, dict) or not set(_ORGANIZATION) <= set(raw):
        raise DocumentRejected(f"{where} is an object of {', '.join(_ORGANIZATION)}.")
    for name in ("org_slug", "status"):
        if not isinstance(raw[name], str):
            raise DocumentRejected(f"{where}.{name} is text, not {shown(raw[name])}.")
    if not isinstance(raw["private_upstreams"], list):
        raise DocumentRejected(f"{where}.private_upstreams is a list.")
    try:
        allowed = tuple(PrivateUpstream.from_dict(each) for each in raw["private_upstreams"])
        return DirectoryOrganization(canonical_uuid(raw["org_id"]), raw["org_slug"], raw["status"], allowed)
    except (InvalidRoute, ValueError, TypeError) as error:
        raise DocumentRejected(f"{where}: {error}") from None


def _key(raw: object, org: DirectoryOrganization, where: str) -> tuple[bytes, TrafficKey]:
    if not isinstance(raw, dict) or not set(_KEY) <= set(raw):
        raise DocumentRejected(f"{where} is an object of {', '.join(_KEY)}.")
    if not isinstance(raw["id"], str) or not isinstance(raw["digest"], str) or not _is_digest(raw["digest"]):
        raise DocumentRejected(f"{where} has an id and a digest of 64 hex digits.")
    if not isinstance(raw["allows_force"], bool):
        raise DocumentRejected(f"{where}.allows_force is true or false.")
    try:
        expires_at = None if raw["expires_at"] is None else read_time(raw["expires_at"])
    except (ValueError, TypeError):
        raise DocumentRejected(f"{where}.expires_at is null or a time.") from None
    metadata = FrozenDict(_mapping(raw["metadata"], f"{where}.metadata"))
    return bytes.fromhex(raw["digest"]), TrafficKey(raw["id"], org, expires_at, metadata, raw["allows_force"])


def _mapping(raw: object, where: str) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(each, str) for pair in raw.items() for each in pair):
        raise DocumentRejected(f"{where} maps texts to texts.")
    return raw
