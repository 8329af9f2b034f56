"""LiteLLM's spend logs, in the shapes that its table and its endpoints have."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from io import BytesIO, StringIO
from typing import Any

import pytest

from plans.logs.formats import Item, Refusal, Row
from plans.logs.formats.litellm import litellm_rows
from plans.logs.formats.records import CsvRecords, JsonRecords

#: A row as LiteLLM's example payload has it, shortened.
ROW: dict[str, Any] = {
    "request_id": "chatcmpl-2283081b",
    "call_type": "acompletion",
    "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "spend": 0.00022500000000000002,
    "total_tokens": 30,
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "startTime": "2025-01-24 09:20:46.847371",
    "endTime": "2025-01-24 09:20:46.851954",
    "completionStartTime": "2025-01-24 09:20:46.851954",
    "model": "azure/gpt-4o",
    "model_group": "large",
    "custom_llm_provider": "azure",
    "api_base": "",
    "user": "default_user_id",
    "metadata": json.dumps(
        {
            "usage_object": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}},
            "spend_logs_metadata": {"team": "search", "share": 0.5},
            "status": None,
            "error_information": None,
            "requester_ip_address": "10.0.0.1",
        }
    ),
    "cache_hit": "None",
    "cache_key": "Cache OFF",
    "request_tags": '["User-Agent: curl", "User-Agent: curl/8", "batch"]',
    "team_id": "",
    "end_user": "",
    "messages": "{}",
    "response": "{}",
    "session_id": "1234567890",
    "status": "success",
}


def read(**changes: Any) -> Item:
    row = {**ROW, **changes}
    (item,) = litellm_rows(JsonRecords(BytesIO(json.dumps(row).encode()), is_one_text=False))
    return item


def value(column: str, **changes: Any) -> Any:
    item = read(**changes)
    assert isinstance(item, Row), item
    return item.values.get(column)


def metadata(**changes: Any) -> str:
    return json.dumps({**json.loads(ROW["metadata"]), **changes})


def test_a_row_becomes_what_it_says_and_nothing_else() -> None:
    assert (
        read()
        == Row(
            1,
            {
                "request_id": "chatcmpl-2283081b",
                "ts": datetime(2025, 1, 24, 9, 20, 46, 847371, tzinfo=UTC),
                "provider": "azure",
                "model": "gpt-4o",
                "requested_model": "large",
                "input_tokens": 10,
                "output_tokens": 20,
                "cached_tokens": 4,
                "cost_usd": Decimal("0.000225000"),
                "latency_ms": 5,  # 4.583 ms
                "status": 200,
                "tag": "batch",
                "metadata": {"team": "search", "share": 0.5},
                "cluster_key": "key:" + sha256(ROW["api_key"].encode()).hexdigest()[:32],
            },
        )
    )


def test_the_same_row_as_csv_of_the_table_is_the_same() -> None:
    out = StringIO()
    writer = csv.DictWriter(out, list(ROW))
    writer.writeheader()
    writer.writerow(ROW)
    (item,) = litellm_rows(CsvRecords(BytesIO(out.getvalue().encode())))
    as_json = read()
    assert isinstance(item, Row)
    assert isinstance(as_json, Row)
    assert item.values == as_json.values


def test_objects_and_lists_of_the_endpoint_need_not_be_text() -> None:
    item = read(metadata=json.loads(ROW["metadata"]), request_tags=["batch"], cache_hit=False)
    as_text = read(cache_hit="False")
    assert isinstance(item, Row)
    assert isinstance(as_text, Row)
    assert item.values == as_text.values


@pytest.mark.parametrize(
    ("column", "changes", "expected"),
    [
        ("ts", {"startTime": "2025-01-24T09:20:46.847Z"}, datetime(2025, 1, 24, 9, 20, 46, 847000, tzinfo=UTC)),
        ("ts", {"startTime": "2025-01-24 11:20:46.847+02"}, datetime(2025, 1, 24, 9, 20, 46, 847000, tzinfo=UTC)),
        ("latency_ms", {"endTime": "2025-01-24 09:20:46.849871"}, 2),  # 2.5 ms, half to even
        ("latency_ms", {"endTime": None}, None),
        ("model", {"model": "meta/llama", "custom_llm_provider": ""}, "meta/llama"),
        ("model", {"model": "together_ai/meta/llama", "custom_llm_provider": "together_ai"}, "meta/llama"),
        ("model", {"model": "", "status": "failure"}, "large"),
        ("provider", {"custom_llm_provider": None}, None),
        ("provider", {"custom_llm_provider": "cohere_chat"}, "cohere"),
        ("provider", {"custom_llm_provider": "vertex_ai-language-models"}, "vertex_ai"),
        ("provider", {"custom_llm_provider": "-models"}, "-models"),
        ("model", {"model": "cohere_chat/command-r", "custom_llm_provider": "cohere_chat"}, "command-r"),
        ("model", {"model": "bedrock/us.m", "custom_llm_provider": "bedrock_converse"}, "us.m"),
        ("model", {"model": "azure/"}, "azure/"),
        ("requested_model", {"model_group": ""}, "gpt-4o"),
        ("requested_model", {"metadata": metadata(original_model_group="first choice")}, "first choice"),
        ("kind", {"metadata": metadata(attempted_fallbacks=1)}, "fallback"),
        ("kind", {"metadata": metadata(attempted_fallbacks=0)}, None),
        ("cached_tokens", {"metadata": "{}"}, None),
        ("cached_tokens", {"metadata": {"additional_usage_values": {"cache_read_input_tokens": 7}}}, 7),
        ("cached_tokens", {"metadata": {"usage_object": {"prompt_tokens_details": None}}}, None),
        ("metadata", {"metadata": "{}"}, None),
        ("metadata", {"metadata": {"spend_logs_metadata": {}}}, {}),
        ("cached", {"cache_hit": "True"}, True),
        ("cached", {"cache_hit": "False"}, False),
        ("cached", {"cache_hit": ""}, None),
        ("status", {"status": "failure"}, 500),
        ("status", {"status": "failure", "metadata": {"error_information": {"error_code": "429"}}}, 429),
        ("status", {"status": "failure", "metadata": {"error_information": {"error_code": "boom"}}}, 500),
        ("status", {"status": "failure", "metadata": {"error_information": {"error_code": "200"}}}, 500),
        ("status", {"status": None, "metadata": {"status": "failure"}}, 500),
        ("status", {"status": None, "metadata": None}, 200),
        ("tag", {"request_tags": "[]"}, None),
        ("tag", {"request_tags": ["User-Agent: a"]}, None),
        ("cluster_key", {"end_user": "palantir"}, "palantir"),
        ("cluster_key", {"user": "u1"}, "u1"),
        ("cluster_key", {"end_user": "default_user_id", "user": "u1"}, "u1"),
        ("cluster_key", {"api_key": ""}, None),
        ("cluster_key", {"user": ""}, "key:" + sha256(ROW["api_key"].encode()).hexdigest()[:32]),
        ("cluster_key", {"user": "", "api_key": ""}, None),
        ("request_digest", {"cache_key": "ns:abc"}, "sha256:" + sha256(b"ns:abc").hexdigest()),
        ("request_digest", {"cache_key": ""}, None),
        ("baseline_cost_usd", {}, None),
        ("cost_usd", {"spend": None}, None),
    ],
)
def test_each_column_has_its_rule(column: str, changes: dict[str, Any], expected: Any) -> None:
    assert value(column, **changes) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "", "model_group": None}, "model: is empty, and so is model_group"),
        ({"startTime": ""}, "startTime: is empty, and has to be there"),
        ({"startTime": "soon"}, 'startTime: "soon" is not a time'),
        ({"endTime": "2025-01-24 09:20:46.847370"}, "endTime: is before startTime"),
        ({"prompt_tokens": None}, "prompt_tokens: is empty"),
        ({"spend": -1}, 'spend: "-1" is negative'),
        ({"status": "maybe"}, 'status: "maybe" is neither success nor failure'),
        ({"cache_hit": "perhaps"}, "is neither True nor False"),
        ({"metadata": "{"}, "metadata: "),
        ({"metadata": "[" * 100_000}, "is nested too deeply"),
        ({"metadata": {"spend_logs_metadata": {"a": "\0"}}}, "metadata.spend_logs_metadata: an object has a character"),
        ({"request_tags": "{}"}, "is not a JSON list"),
        ({"request_tags": ["x" * 600]}, "has 600 characters; 512 are possible"),
        ({"end_user": "a\nb"}, "has a control character"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], reason: str) -> None:
    item = read(**changes)
    assert isinstance(item, Refusal)
    assert reason in item.reason


def test_a_traceback_that_no_database_could_store_does_not_refuse_the_row() -> None:
    assert value("status", status="failure", metadata={"error_information": {"traceback": "a\0b\ud800"}}) == 500


def test_a_table_without_its_columns_is_one_refusal() -> None:
    (item,) = litellm_rows(CsvRecords(BytesIO(b"request_id,startTime,prompt_tokens\na,b,c\n")))
    assert item == Refusal(1, "column missing in the header of LiteLLM's spend logs: completion_tokens")
