"""Rows to Parquet files, in a folder for each organisation, with the extra `parquet` (pyarrow)."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from routes.engine.ids import uuid7
from routes.gateway.logs.queue import Entry

_MONEY = ("cost_usd", "baseline_cost_usd", "fact_estimated_cost_usd")
_WHOLE = (
    "input_tokens", "output_tokens", "cached_tokens", "max_output_tokens", "decided_version", "latency_ms",
    "upstream_latency_ms", "status", "fact_input_tokens",
)  # fmt: skip
_FLAGS = ("has_images", "has_audio", "has_documents", "has_tools", "is_stream")
_TEXTS = (
    "request_id", "kind", "provider", "model", "requested_model", "matched_route_id", "reason", "variant", "tag",
    "cluster_key", "finish_reason", "fact_sticky_key",
)  # fmt: skip
#: As JSON text: their shape differs from row to row.
_JSON = ("metadata", "synthetic")


class ParquetSink:
    """Writes one file for each batch and organisation: `<folder>/<id of the organisation>/<UUIDv7>.parquet`. A file appears
    whole or not at all. A batch that is tried again may be there twice; whoever reads counts each `request_id` once."""

    def __init__(self, folder: str) -> None:
        """Raises `ImportError` without pyarrow."""
        import pyarrow  # noqa: F401  (said at the start, not when the first rows are lost)

        self._folder = os.path.abspath(folder)

    async def write(self, entries: list[Entry]) -> None:
        # In a thread: to compress a thousand rows takes longer than a request should wait.
        await asyncio.to_thread(self._write, entries)

    async def aclose(self) -> None:
        return

    def _write(self, entries: list[Entry]) -> None:
        from pyarrow import parquet

        by_org: dict[str, list[dict[str, Any]]] = {}
        for org_id, row in entries:
            by_org.setdefault(org_id, []).append(row)
        for org_id, rows in by_org.items():
            folder = os.path.join(self._folder, str(UUID(org_id)))
            os.makedirs(folder, exist_ok=True)
            name = os.path.join(folder, f"{uuid7()}.parquet")
            parquet.write_table(_table(rows), f"{name}.unfinished", compression="zstd", store_decimal_as_integer=True)
            os.replace(f"{name}.unfinished", name)


def _table(rows: list[dict[str, Any]]) -> Any:
    import json

    import pyarrow

    schema = pyarrow.schema(
        [("ts", pyarrow.timestamp("us", tz="UTC"))]
        + [(name, pyarrow.string()) for name in (*_TEXTS, *_JSON)]
        + [(name, pyarrow.int64()) for name in _WHOLE]
        + [(name, pyarrow.bool_()) for name in _FLAGS]
        + [(name, pyarrow.decimal128(18, 9)) for name in _MONEY]
    )
    columns: dict[str, list[Any]] = {"ts": [datetime.fromisoformat(row["ts"]) for row in rows]}
    for name in (*_TEXTS, *_WHOLE, *_FLAGS):
        columns[name] = [row.get(name) for row in rows]
    for name in _JSON:
        columns[name] = [None if row.get(name) is None else json.dumps(row[name]) for row in rows]
    for name in _MONEY:
        columns[name] = [None if row.get(name) is None else Decimal(row[name]) for row in rows]
    return pyarrow.table(columns, schema=schema)
