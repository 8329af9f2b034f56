"""LiteLLM's spend logs: the rows of its table `LiteLLM_SpendLogs`, however they were exported.

Names and shapes from LiteLLM's `schema.prisma`, `spend_tracking_utils.py` and its example payload (github.com/BerriAI/
litellm, 2026); the table below is what this application makes of them. What the logs do not say stays empty: nothing
tells of images, tools, streams, or what a request would have cost without any routing.

| our column | from |
| --- | --- |
| `request_id` | `request_id` |
| `ts` | `startTime`, in UTC where it has no zone (the table's type has none) |
| `latency_ms` | `endTime` - `startTime`, rounded half to even |
| `provider` | `custom_llm_provider`, under the name that its prices are kept under (`cohere_chat` is `cohere`) |
| `model` | `model` without its provider's prefix; `model_group` where a failed request has none |
| `requested_model` | `metadata.original_model_group` (before a fallback), else `model_group`, else the model |
| `kind` | `fallback` where `metadata.attempted_fallbacks` is above 0 |
| `input_tokens`, `output_tokens` | `prompt_tokens`, `completion_tokens` |
| `cached_tokens` | `cached_tokens` of `prompt_tokens_details`, or `cache_read_input_tokens`, of the usage in `metadata` |
| `cost_usd` | `spend`, a double, rounded half to even to nine decimals |
| `cached` | `cache_hit` |
| `request_digest` | SHA-256 of `cache_key`; LiteLLM writes `Cache OFF` where it has none |
| `cluster_key` | `end_user`, else `user`, else a SHA-256 of `api_key`; each request has a `session_id` of its own |
| `tag` | the first of `request_tags` that LiteLLM did not add itself (`User-Agent: …`) |
| `metadata` | `metadata.spend_logs_metadata`: what the caller sent to be logged; the rest is LiteLLM's own |
| `status` | 200; of a failure `metadata.error_information.error_code` where it is from 400 to 599, else 500 |

The user `default_user_id` is nobody: it is what the proxy calls its own administrator (`LITELLM_PROXY_ADMIN_NAME` of
`litellm/constants.py`), and stands in the rows of every key that belongs to no other user.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from plans.logs import cells
from plans.logs.columns import COLUMNS
from plans.logs.formats.items import Item, Record, Records, Refusal, Row
from routes.catalog.formats import provider_and_model

REQUIRED = ("request_id", "startTime", "prompt_tokens", "completion_tokens")
READ = (
    *REQUIRED, "endTime", "model", "model_group", "custom_llm_provider", "spend", "cache_hit", "cache_key", "end_user",
    "user", "api_key", "request_tags", "metadata", "status",
)  # fmt: skip
_ADDED_TAG = "User-Agent: "
_NO_CACHE = "Cache OFF"
_NOBODY = "default_user_id"
_HALF_MS = timedelta(microseconds=500)


def litellm_rows(records: Records) -> Iterator[Item]:
    """Rows of spend logs; of other columns, bodies among them, nothing is read. A header that lacks one of `REQUIRED`
    is one refusal of line 1, and then the end."""
    if records.header is not None and (wrong := _problem(records.header)):
        yield Refusal(1, wrong)
        return
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        try:
            values = _values(record)
        except cells.Refused as refused:
            yield Refusal(record.line, str(refused))
        else:
            yield Row(record.line, values)


def _problem(header: tuple[str, ...]) -> str | None:
    if lacking := [name for name in REQUIRED if name not in header]:
        return f"column missing in the header of LiteLLM's spend logs: {', '.join(lacking)}"
    if twice := [name for name in READ if header.count(name) > 1]:
        return f"column in the header twice: {', '.join(twice)}"
    return None


class _Logged:
    """One row of the table, by name; empty and null are both "not there"."""

    def __init__(self, record: Record) -> None:
        self._cells = dict(zip(record.columns, record.cells, strict=True))

    def has(self, name: str) -> bool:
        given = self._cells.get(name)
        return given is not None and not (isinstance(given, str) and given == "")

    def read(self, name: str, cell: cells.Cell) -> Any:
        """The value of a column, None where it is not there."""
        return cells.read(name, cell, self._cells[name]) if self.has(name) else None

    def must(self, name: str, cell: cells.Cell) -> Any:
        if not self.has(name):
            raise cells.Refused(f"{name}: is empty, and has to be there")
        return cells.read(name, cell, self._cells[name])


def _values(record: Record) -> dict[str, Any]:
    logged = _Logged(record)
    metadata = logged.read("metadata", _any_object) or {}
    provider = logged.read("custom_llm_provider", COLUMNS["provider"])
    group = logged.read("model_group", COLUMNS["model"])
    model = logged.read("model", COLUMNS["model"]) or group
    if model is None:
        raise cells.Refused("model: is empty, and so is model_group")
    served = model
    if provider is not None:
        named, bare = provider_and_model(model, provider)
        provider, served = named or provider, bare or model  # of "azure/" nothing would be left
    asked = _inside("metadata.original_model_group", COLUMNS["model"], metadata.get("original_model_group"))
    start = logged.must("startTime", cells.utc_time)
    found = {
        "request_id": logged.must("request_id", COLUMNS["request_id"]),
        "ts": start,
        "kind": "fallback" if _number(metadata.get("attempted_fallbacks")) else None,
        "provider": provider,
        "model": served,
        "requested_model": asked or group or served,
        "input_tokens": logged.must("prompt_tokens", cells.tokens),
        "output_tokens": logged.must("completion_tokens", cells.tokens),
        "cached_tokens": _cached_tokens(metadata),
        "cost_usd": logged.read("spend", cells.rounded_money),
        "cached": logged.read("cache_hit", _cache_hit),
        "latency_ms": _latency_ms(start, logged.read("endTime", cells.utc_time)),
        "status": _status(logged, metadata),
        "tag": _tag(logged.read("request_tags", _any_list)),
        "metadata": _inside("metadata.spend_logs_metadata", cells.json_object, metadata.get("spend_logs_metadata")),
        "cluster_key": _cluster_key(logged),
        "request_digest": _digest(logged.read("cache_key", _any_text)),
    }
    return {name: value for name, value in found.items() if value is not None}


# --- Parts of a row -------------------------------------------------------------------------------------------------


def _inside(path: str, cell: cells.Cell, given: Any) -> Any:
    return None if given is None or given == "" else cells.read(path, cell, given)


def _cached_tokens(metadata: dict[str, Any]) -> int | None:
    for usage in (metadata.get("usage_object"), metadata.get("additional_usage_values")):
        if isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            for where in (details.get("cached_tokens") if isinstance(details, dict) else None,
                          usage.get("cache_read_input_tokens")):  # fmt: skip
                if where is not None:
                    return int(cells.read("metadata: cached tokens", cells.tokens, where))
    return None


def _latency_ms(start: datetime, end: datetime | None) -> int | None:
    if end is None:
        return None
    if end < start:
        raise cells.Refused("endTime: is before startTime")
    whole, rest = divmod(end - start, timedelta(milliseconds=1))
    up = rest > _HALF_MS or (rest == _HALF_MS and whole % 2 == 1)
    return int(cells.read("endTime - startTime", cells.milliseconds, whole + up))


def _status(logged: _Logged, metadata: dict[str, Any]) -> int:
    said = logged.read("status", _any_text) or metadata.get("status")
    if said in (None, "success"):
        return 200
    if said != "failure":
        raise cells.Refused(f"status: {cells.shown(said)} is neither success nor failure")
    error = metadata.get("error_information")
    code = _number(error.get("error_code")) if isinstance(error, dict) else 0
    return code if 400 <= code <= 599 else 500


def _number(given: Any) -> int:
    """A whole number that LiteLLM may have written as text; 0 for anything else."""
    try:
        return int(cells.tokens(given))
    except cells.Refused:
        return 0


def _tag(tags: list[Any] | None) -> str | None:
    given = [tag for tag in tags or [] if isinstance(tag, str) and tag and not tag.startswith(_ADDED_TAG)]
    return str(cells.read("request_tags", COLUMNS["tag"], given[0])) if given else None


def _cluster_key(logged: _Logged) -> str | None:
    for name in ("end_user", "user"):
        who: str | None = logged.read(name, COLUMNS["cluster_key"])
        if who is not None and who != _NOBODY:
            return who
    key = logged.read("api_key", _any_text)
    return None if key is None else f"key:{sha256(key.encode()).hexdigest()[:32]}"


def _digest(key: str | None) -> str | None:
    return None if key is None or key == _NO_CACHE else f"sha256:{sha256(key.encode()).hexdigest()}"


# --- What its columns can be ----------------------------------------------------------------------------------------


def _any_text(given: Any) -> str:
    if not isinstance(given, str):
        raise cells.Refused("is not a text")
    return str(given)


def _cache_hit(given: Any) -> bool | None:
    """Python's `str()` of what it was: None where nobody asked a cache."""
    known = {"True": True, "true": True, "False": False, "false": False, "None": None}
    if str(given) not in known:
        raise cells.Refused("is neither True nor False")
    return known[str(given)]


def _any_object(given: Any) -> dict[str, Any]:
    value = _loaded(given)
    if not isinstance(value, dict):
        raise cells.Refused("is not a JSON object")
    return value


def _any_list(given: Any) -> list[Any]:
    value = _loaded(given)
    if not isinstance(value, list):
        raise cells.Refused("is not a JSON list")
    return value


def _loaded(given: Any) -> Any:
    """JSON, as text or not. Only parts of it are stored, so what cannot be stored may stand in it (in a traceback)."""
    if not isinstance(given, str):
        return given
    try:
        return cells.RECORDS.decode(given)
    except RecursionError:
        raise cells.Refused("is nested too deeply") from None
    except ValueError:
        raise cells.Refused("is not JSON") from None
