"""`Document`: what one version publishes, as a gateway loads it; parsing is strict and total."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from routes.engine.canonical import MAX_INTEGER, NotCanonical, canonical_bytes
from routes.engine.errors import DocumentRejected
from routes.engine.ids import canonical_uuid
from routes.engine.reading import ON_LOAD, shown, unsupported_in
from routes.engine.times import read_time, utc, write_time
from routes.engine.values import Route

if TYPE_CHECKING:
    from uuid import UUID

    from routes.engine.action import Action

SCHEMA = 1
MAX_DEPTH = 32
#: What a load accepts: twice the limits of a write.
MAX_ROUTES = 1_000 * ON_LOAD
MAX_CONTENT_BYTES = 4 * 1024 * 1024 * ON_LOAD
#: Bytes as sent may be indented or escaped; beyond this they are not even parsed.
_MAX_RAW_BYTES = 2 * MAX_CONTENT_BYTES

_ENVELOPE = (
    "schema", "org_id", "org_slug", "status", "version", "published_at", "digest", "signature", "placements", "content",
)  # fmt: skip
_CONTENT = frozenset({"default", "routes", "services"})
_STATUSES = frozenset({"active", "frozen", "closed"})


@dataclass(frozen=True, slots=True)
class Document:
    """The envelope around `content`, which holds every route of the organisation in evaluation order.

    (`org_id`, `version`) identifies a publication; `digest` is `sha256:` and the hex SHA-256 of the canonical bytes of
    `content` alone. `published_at` is aware UTC, None for version 0. `content` is the document's own copy, not to be
    changed; its routes are not judged here, `Engine.from_document` reads them one by one.
    """

    org_id: str
    org_slug: str
    status: str
    version: int
    published_at: datetime | None
    digest: str
    content: dict[str, Any]
    schema: int = SCHEMA

    @classmethod
    def build(
        cls,
        content: dict[str, Any],
        org_id: str | UUID,
        org_slug: str = "",
        version: int = 0,
        published_at: datetime | None = None,
        status: str = "active",
    ) -> Document:
        """The document of this content, with its digest. `published_at` is aware. Raises `DocumentRejected` for what no
        engine would load."""
        data = _checked_bytes(content)
        try:
            own_id = canonical_uuid(org_id)
        except ValueError as error:
            raise DocumentRejected(f"org_id: {error}") from None
        if not isinstance(org_slug, str) or unsupported_in(org_slug):
            raise DocumentRejected("org_slug is text without control characters.")
        if status not in _STATUSES:
            raise DocumentRejected(f"status is active, frozen or closed, not {shown(status)}.")
        if not _is_version(version):
            raise DocumentRejected("version is an integer from 0.")
        if published_at is not None:
            try:
                published_at = utc(published_at)
            except ValueError as error:
                raise DocumentRejected(f"published_at: {error}") from None
        own_content = json.loads(data, parse_int=_readable)  # a copy that nobody else holds
        return cls(own_id, org_slug, status, version, published_at, _digest(data), own_content)

    @classmethod
    def from_bytes(cls, data: bytes) -> Document:
        """The document of JSON bytes in UTF-8. Raises `DocumentRejected` and nothing else, whatever the bytes."""
        return cls.from_dict(parse_json(data, MAX_DEPTH, _MAX_RAW_BYTES))

    @classmethod
    def from_dict(cls, raw: object) -> Document:
        """The document of a JSON object. Raises `DocumentRejected`."""
        if not isinstance(raw, dict):
            raise DocumentRejected("A document is an object.")
        schema = raw.get("schema")
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            # First, because a newer schema may have other keys.
            raise DocumentRejected(f"The document has schema {shown(schema)}; this engine reads up to {SCHEMA}.")
        for wrong, said in ((set(_ENVELOPE) - set(raw), "lacks"), (set(raw) - set(_ENVELOPE), "has unknown")):
            if wrong:
                listed = ", ".join(sorted(shown(key) for key in sorted(wrong, key=str)[:5]))
                raise DocumentRejected(f"The document {said} {listed}.")
        if isinstance(schema, bool) or schema != SCHEMA or not isinstance(schema, int):
            raise DocumentRejected(f"schema is {SCHEMA}, not {shown(schema)}.")
        if raw["signature"] is not None:
            raise DocumentRejected("signature is reserved, and null in schema 1.")
        if raw["placements"] != []:
            raise DocumentRejected("placements is an empty list in schema 1.")
        if not isinstance(raw["org_id"], str):
            raise DocumentRejected("org_id is the text of a UUID.")
        if not isinstance(raw["status"], str):
            raise DocumentRejected("status is text.")
        document = cls.build(
            raw["content"],
            org_id=raw["org_id"],
            org_slug=raw["org_slug"],
            version=raw["version"],
            published_at=_read_time(raw["published_at"]),
            status=raw["status"],
        )
        if document.digest != raw["digest"]:
            raise DocumentRejected("The digest is not that of the content.")
        return document

    def to_dict(self) -> dict[str, Any]:
        """The JSON object. `content` is the document's own, not a copy."""
        return {
            "schema": self.schema,
            "org_id": self.org_id,
            "org_slug": self.org_slug,
            "status": self.status,
            "version": self.version,
            "published_at": None if self.published_at is None else write_time(self.published_at),
            "digest": self.digest,
            "signature": None,
            "placements": [],
            "content": self.content,
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes (RFC 8785) of the whole document."""
        return canonical_bytes(self.to_dict())


def content_of(routes: Iterable[Route], *, default: Action | None = None) -> dict[str, Any]:
    """The content that publishes these routes, given in evaluation order. Raises `InvalidRoute`."""
    return {
        "default": None if default is None else default.to_dict(),
        "routes": [route.to_dict() for route in routes],
        "services": [],
    }


def digest_of(content: dict[str, Any]) -> str:
    """`sha256:` and the hex SHA-256 of the content's canonical bytes."""
    return _digest(canonical_bytes(content))


def parse_json(data: bytes, max_depth: int, max_bytes: int) -> Any:
    """The value of JSON bytes in UTF-8. Refuses duplicate keys, NaN and infinities (also numbers that overflow), other
    encodings, too many levels and too many bytes: all as `DocumentRejected`."""
    if len(data) > max_bytes:
        raise DocumentRejected(f"The document has more than {max_bytes:,} bytes.")
    try:
        text = data.decode()
        value = _decode(text)
    except DocumentRejected:
        raise
    except RecursionError:
        raise DocumentRejected(f"The document is nested deeper than {max_depth} levels.") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of more digits than Python reads
        raise DocumentRejected(f"The document is not JSON: {error}") from None
    # What has fewer brackets than that need not be walked through.
    if text.count("[") + text.count("{") > max_depth and _is_deeper(value, max_depth):
        raise DocumentRejected(f"The document is nested deeper than {max_depth} levels.")
    return value


def _checked_bytes(content: object) -> bytes:
    """The canonical bytes of a content of the right shape."""
    if not isinstance(content, dict) or set(content) != _CONTENT:
        raise DocumentRejected("content is an object of default, routes and services.")
    if not isinstance(content["default"], dict | None):
        raise DocumentRejected("default is null or an action.")
    for key in ("routes", "services"):
        if not isinstance(content[key], list | tuple):
            raise DocumentRejected(f"{key} is a list.")
    if len(content["routes"]) > MAX_ROUTES:
        raise DocumentRejected(f"The document has more than {MAX_ROUTES:,} routes.")
    if _is_deeper(content, MAX_DEPTH - 1):
        raise DocumentRejected(f"The document is nested deeper than {MAX_DEPTH} levels.")
    try:
        data = canonical_bytes(content)
    except NotCanonical as error:
        raise DocumentRejected(f"The content has no canonical form: {error}") from None
    if len(data) > MAX_CONTENT_BYTES:
        raise DocumentRejected(f"The content has more than {MAX_CONTENT_BYTES:,} bytes.")
    return data


def _digest(data: bytes) -> str:
    import hashlib  # at the first document: its import costs milliseconds

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _is_version(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more levels than this. Not recursive: the depth is what is in doubt."""
    layer = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(levels):
        layer = [
            member
            for outer in layer
            for member in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(member, dict | list | tuple)
        ]
        if not layer:
            return False
    return True


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentRejected("An object has the same key twice.")
    return members


def _no_constant(name: str) -> Any:
    raise DocumentRejected(f"{name} is not a JSON number.")


def _readable(text: str) -> int:
    # A float of 1e17 is written as an integer, which no reader would take.
    value = int(text)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise DocumentRejected("An integer is beyond 2**53 - 1.")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise DocumentRejected("A number is beyond what a double holds.")
    return value


#: Made once: a decoder with hooks costs more to make than a small body to read.
_decode = json.JSONDecoder(
    object_pairs_hook=_without_repetition, parse_constant=_no_constant, parse_float=_finite
).decode


def _read_time(raw: object) -> datetime | None:
    if raw is None:
        return None
    try:
        return read_time(raw)
    except ValueError as error:
        raise DocumentRejected(f"published_at: {error}") from None
