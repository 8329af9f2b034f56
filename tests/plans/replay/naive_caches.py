"""Projected caches a second time, slowly and plainly: every entry is compared with every request."""

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from math import isfinite
from typing import Any

from plans.replay import LogRow


def exact_hits(rows: Sequence[LogRow], ttl: float) -> Iterator[int]:
    """The places of the rows that an exact cache answers."""
    filled: dict[object, datetime] = {}
    for place, row in enumerate(rows):
        key: object = row.request_digest or (row.provider, row.model, row.input_tokens, row.tag)
        if key in filled and (row.ts - filled[key]).total_seconds() <= ttl:
            yield place
        else:
            filled[key] = row.ts


def semantic_hits(rows: Sequence[LogRow], ttl: float, threshold: float) -> Iterator[tuple[int, bool]]:
    """(place, whether the answer seems to be another one) of the rows that a semantic cache answers."""
    entries: list[LogRow] = []
    for place, row in enumerate(rows):
        if row.embedding is None or not is_embedding(row.embedding):
            continue
        found = [
            (similarity(entry.embedding, row.embedding), -number, entry)
            for number, entry in enumerate(entries)
            if (entry.provider, entry.model) == (row.provider, row.model)
            and len(entry.embedding or b"") == len(row.embedding)
            and (row.ts - entry.ts).total_seconds() <= ttl
        ]
        best = max(found, key=lambda one: one[:2], default=None)
        if best is None or best[0] < single(threshold):
            entries.append(row)
        else:
            yield place, is_another(best[2], row)


def is_embedding(raw: bytes) -> bool:
    return len(raw) % 4 == 0 and all(isfinite(number) for (number,) in struct.iter_unpack("<f", raw))


def similarity(one: bytes | None, other: bytes | None) -> float:
    assert one is not None
    assert other is not None
    left, right = (struct.unpack(f"<{len(raw) // 4}f", raw) for raw in (one, other))
    with localcontext(prec=80):
        product = sum((Decimal(a) * Decimal(b) for a, b in zip(left, right, strict=True)), Decimal(0))
        squares = sum((Decimal(a) ** 2 for a in left), Decimal(0)) * sum((Decimal(b) ** 2 for b in right), Decimal(0))
        return single(float(product / squares.sqrt())) if squares else 0.0


def single(value: float) -> float:
    """The nearest 32-bit number."""
    found: Any = struct.unpack("<f", struct.pack("<f", value))[0]
    return float(found)


def is_another(one: LogRow, other: LogRow) -> bool:
    reasons = {one.finish_reason, other.finish_reason} - {None}
    apart = abs(one.output_tokens - other.output_tokens)
    return len(reasons) == 2 or (apart > 20 and 4 * apart > max(one.output_tokens, other.output_tokens))
