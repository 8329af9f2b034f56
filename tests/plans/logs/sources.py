"""A log with every kind of value, in the database, and what sources give of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from plans.logs.models import RequestLog
from plans.replay import LogRow
from plans.replay.columns.dataset import WRITTEN
from routes.orgs.models import Organization

START = datetime(2026, 5, 1, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=3))


def rows() -> list[LogRow]:
    """Every column with every kind of value, unknown ones too, and ids whose order depends on how they are compared."""
    chance = np.random.Generator(np.random.PCG64(7))
    found = []
    for n in range(300):
        some = int(chance.integers(0, 1_000_000))
        ts = START + timedelta(seconds=n // 3, microseconds=0 if n % 2 else some)
        found.append(
            LogRow(
                request_id=f"{'aBé-_Z'[n % 6]}{n}",
                ts=ts,
                kind=["primary", "fallback", "shadow"][n % 17 % 3],
                provider=["openai", "", "azure"][n % 3],
                model=["big", "small", "größer"][n % 3],
                requested_model=["big", "small"][n % 2],
                input_tokens=some % 5_000,
                output_tokens=some % 77,
                cached_tokens=some % 11,
                cost_nano=None if n % 19 == 0 else some * 1_000_003 % 10**15,
                baseline_cost_nano=None if n % 5 == 0 else some,
                routed=n % 5 in (1, 2),
                cached=n % 7 == 0,
                latency_ms=None if n % 13 == 0 else some % 60_000,
                status=[200, 200, 429][n % 3],
                tag=[None, "a", "größe"][n % 3],
                metadata=[None, {}, {"team": "a", "b": "c"}, {"n": 1.5}][n % 4],
                cluster_key=None if n % 4 == 0 else f"user {n % 23}",
                request_digest="" if n % 3 else f"sha256:{n % 9}",
                finish_reason=["stop", "length"][n % 2],
                has_images=[None, True, False][n % 3],
                has_audio=n % 2 == 0,
                is_stream=None,
                embedding=None if n % 2 else np.array([some % 7, 1.5, -2], "<f4").tobytes(),
                fact_input_tokens=None if n % 6 == 0 else some % 4_999,
                fact_estimated_cost_nano=None if n % 8 == 0 else some * 7,
                fact_upstream_latency_ms_p95=None if n % 9 == 0 else some % 900,
                fact_sticky_key=None if n % 3 == 0 else f"key {n % 31}",
                synthetic=() if n % 2 else ("model", "tag"),
            )
        )
    return found


def stored(org: Organization, logged: list[LogRow]) -> None:
    def usd(nano: int | None) -> Decimal | None:
        return None if nano is None else Decimal(nano).scaleb(-9)

    def by(routed: bool, number: int) -> dict[str, Any]:
        """All that a log may say of a row that was routed, and of one that was not."""
        said = [(UUID(int=7), "matched"), (UUID(int=7), ""), (None, "default"), (None, "matched")]
        if not routed:
            said = [(None, ""), (None, "no_match"), (UUID(int=7), "paused"), (UUID(int=7), "control")]
        route, reason = said[number % 4]
        return {"matched_route_id": route, "reason": reason}

    RequestLog.objects.bulk_create(
        RequestLog(
            org=org,
            **{
                name: getattr(row, name)
                for name in LogRow.__dataclass_fields__
                if not name.endswith("_nano")
                and name not in ("routed", "prompt", "finish_reason", "fact_sticky_key", "synthetic")
            },
            **by(row.routed, number),
            cost_usd=usd(row.cost_nano),
            baseline_cost_usd=usd(row.baseline_cost_nano),
            fact_estimated_cost_usd=usd(row.fact_estimated_cost_nano),
            finish_reason=row.finish_reason or "",
            fact_sticky_key=row.fact_sticky_key or "",
            synthetic=list(row.synthetic),
            body=None if row.prompt is None else {"messages": [{"role": "user", "content": row.prompt}]},
        )
        for number, row in enumerate(logged)
    )


def digests(source: Any, columns: tuple[str, ...] = WRITTEN) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for block in source.blocks(frozenset(columns)):
        for column in columns:
            found.setdefault(column, []).append(block.digest(column).hex())
    return found
