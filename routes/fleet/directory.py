"""The directory that gateways load: which organisations there are, and the digests of their traffic keys."""

import json
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from django.db import connection

from routes.engine.canonical import canonical_bytes

SCHEMA: Final = 1
_COLUMNS: Final = ("org_id", "org_slug", "status", "private_upstreams", "hosts", "traffic_keys")
#: Held as JSON text.
_JSON: Final = ("private_upstreams", "hosts", "traffic_keys")


class DirectoryDocument:
    """What the view `gateway_directory` says, as JSON, of all organisations or of this one. One query.

    `etag` names its content.
    """

    def __init__(self, org_id: UUID | None) -> None:
        self.data = canonical_bytes({"schema": SCHEMA, "organizations": _rows(org_id)})
        self.etag = f'"{sha256(self.data).hexdigest()[:32]}"'


def _rows(org_id: UUID | None) -> list[dict[str, Any]]:
    query, parameters = f"SELECT {', '.join(_COLUMNS)} FROM gateway_directory", []  # noqa: S608  our own names
    if org_id is not None:
        query, parameters = f"{query} WHERE org_id = %s", [org_id.hex if connection.vendor == "sqlite" else org_id]
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        found = [dict(zip(_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    for row in found:
        row["org_id"] = str(UUID(str(row["org_id"])))
        row.update({name: json.loads(row[name]) for name in _JSON})
    return sorted(found, key=lambda row: str(row["org_id"]))
