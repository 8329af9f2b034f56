"""The columns of a file of request logs: ours, and what others call theirs."""

from typing import Any

from plans.logs import cells
from plans.logs.cells import Cell


def column_names(given: Any) -> list[str]:
    value = cells.json_value(given) if isinstance(given, str) else given
    if not isinstance(value, list) or not all(isinstance(name, str) and name in COLUMNS for name in value):
        raise cells.Refused("is not a JSON list of names of columns")
    return sorted(set(map(str, value)))


#: What can stand in a file, column by column. Bodies are not part of it.
COLUMNS: dict[str, Cell] = {
    "request_id": cells.text(200),
    "ts": cells.time,
    "kind": cells.one_of("primary", "fallback", "shadow"),
    "provider": cells.text(100),
    "model": cells.text(200),
    "requested_model": cells.text(200),
    "input_tokens": cells.tokens,
    "output_tokens": cells.tokens,
    "cached_tokens": cells.tokens,
    "max_output_tokens": cells.tokens,
    "cost_usd": cells.money,
    "baseline_cost_usd": cells.money,
    "cached": cells.boolean,
    "cache_layer": cells.text(10),
    "matched_route_id": cells.uuid,
    "reason": cells.text(30),
    "variant": cells.text(200),
    "decided_version": cells.integer(0, 2**63 - 1),
    "latency_ms": cells.milliseconds,
    "upstream_latency_ms": cells.milliseconds,
    "status": cells.integer(100, 599),
    "tag": cells.text(512),
    "metadata": cells.json_object,
    "cluster_key": cells.text(200),
    "request_digest": cells.text(71),
    "finish_reason": cells.text(50),
    "has_images": cells.boolean,
    "has_audio": cells.boolean,
    "has_documents": cells.boolean,
    "has_tools": cells.boolean,
    "is_stream": cells.boolean,
    "embedding": cells.embedding,
    "fact_input_tokens": cells.tokens,
    "fact_estimated_cost_usd": cells.money,
    "fact_sticky_key": cells.text(64),
    "fact_upstream_latency_ms_p95": cells.milliseconds,
    "synthetic": column_names,
}
REQUIRED = ("request_id", "ts", "model", "input_tokens", "output_tokens")

#: What a column is called whose values are to be converted: name → (our column, how it is read).
CONVERSIONS: dict[str, tuple[str, Cell]] = {
    "ts_utc": ("ts", cells.utc_time),
    "latency_s": ("latency_ms", cells.seconds),
    "upstream_latency_s": ("upstream_latency_ms", cells.seconds),
    "cost_cents": ("cost_usd", cells.cents),
    **{f"{name}_rounded": (name, cells.rounded_money) for name, cell in COLUMNS.items() if cell is cells.money},
}
_LOOSER: dict[Cell, Cell] = {
    cells.money: cells.rounded_money,
    cells.milliseconds: cells.rounded_milliseconds,
    cells.boolean: cells.any_boolean,
}
#: How a column is read that is called otherwise in the file, so is not of our making: programs that count in doubles
#: write 0.00022500000000000002 dollars, 1234.567 milliseconds and True.
MAPPED: dict[str, tuple[str, Cell]] = {
    **{name: (name, _LOOSER.get(cell, cell)) for name, cell in COLUMNS.items()},
    **CONVERSIONS,
}
