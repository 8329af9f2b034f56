"""Rows to the control plane: NDJSON, packed, one call for each organisation of a batch."""

from __future__ import annotations

import gzip
import json
from typing import Any

import aiohttp

from routes.gateway.logs.queue import Entry, RowsRefused

_TIMEOUT_SECONDS = 30.0
#: Statuses that say: not now. Any other refusal is for good.
_LATER = frozenset({401, 403, 408, 409, 425, 429})


class ApiSink:
    """Sends to `request-logs/`, where a row that was there already does no harm."""

    def __init__(self, api_url: str, key: str) -> None:
        self._url = api_url.rstrip("/") + "/api/v1/orgs/"
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def write(self, entries: list[Entry]) -> None:
        by_org: dict[str, list[dict[str, Any]]] = {}
        for org_id, row in entries:
            by_org.setdefault(org_id, []).append(row)
        refused = 0
        said: list[str] = []
        for org_id, rows in by_org.items():
            lost, why = await self._send(org_id, rows)
            refused += lost
            said += why
        if refused:
            raise RowsRefused(refused, "; ".join(said[:3]))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, org_id: str, rows: list[dict[str, Any]]) -> tuple[int, list[str]]:
        """How many rows were refused for good, and why. Raises for what may be tried again."""
        lines = "\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        body = gzip.compress(lines.encode(), compresslevel=1)
        async with self._opened().post(
            f"{self._url}{org_id}/request-logs/",
            data=body,
            headers={"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"},
            allow_redirects=False,
        ) as answer:
            said = await answer.content.read(2**20)
            if answer.status >= 500 or answer.status in _LATER:
                raise OSError(f"request-logs/ answered {answer.status}: {_detail(said)}")
            if answer.status >= 300:
                return len(rows), [f"request-logs/ answered {answer.status}: {_detail(said)}"]
            report = json.loads(said)
            return report["refused_total"], [line["reason"] for line in report["refused"]]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._key}"},
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _detail(said: bytes) -> str:
    try:
        return str(json.loads(said).get("detail", ""))[:300]
    except (ValueError, AttributeError):
        return "no problem document"
