"""The facts of a request: what of them the client says, what the key, and what the gateway."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from routes.engine import Price, PriceTable, RequestContext
from routes.engine.tokens import count_tokens
from routes.gateway.directory import DirectoryOrganization, TrafficKey
from routes.gateway.llm.context import forced_route, read_context

AT = datetime(2026, 11, 23, tzinfo=UTC)
ORG = DirectoryOrganization("018f0000-0000-7000-8000-000000000001", "acme", "active")
PRICES = PriceTable(
    [
        Price(
            provider="openai",
            model="gpt-4o",
            input_nano_per_million=2_500_000_000,
            output_nano_per_million=10_000_000_000,
        )
    ]
)
BODY: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 10}


def a_key(**facts: Any) -> TrafficKey:
    return TrafficKey("key1", ORG, **facts)


def context(
    body: dict[str, Any] = BODY,
    headers: list[tuple[bytes, bytes]] | None = None,
    key: TrafficKey | None = None,
    names: frozenset[str] = frozenset(),
) -> RequestContext:
    return read_context(
        body,
        headers or [],
        org_id=ORG.org_id,
        key=key or a_key(),
        header_names=names,
        request_id="made-here",
        prices=PRICES,
        count=count_tokens,
        at=AT,
    )


def test_tokens_are_counted_and_the_estimate_is_of_the_requested_model() -> None:
    read = context()
    assert (read.model, read.input_tokens, read.at, read.request_id) == ("gpt-4o", 100, AT, "made-here")
    assert read.estimated_cost_nano_usd == 100 * 2_500 + 10 * 10_000
    assert context({**BODY, "model": "other"}).estimated_cost_nano_usd is None


def test_the_tag_is_a_header_of_ours_and_without_it_there_is_none() -> None:
    assert context(headers=[(b"x-routing-tag", b"batch")]).tag == "batch"
    assert context().tag is None


def test_what_is_fixed_on_the_key_wins_over_what_the_body_says() -> None:
    body = {**BODY, "metadata": {"team": "mine", "stage": "dev", "count": 5, "none": None}}
    assert context(body, key=a_key(metadata={"team": "fixed"})).metadata == {"team": "fixed", "stage": "dev"}
    assert context({**BODY, "metadata": "text"}, key=a_key(metadata={"team": "fixed"})).metadata == {"team": "fixed"}


def test_only_headers_that_conditions_name_are_looked_at() -> None:
    sent = [(b"x-tier", b"gold"), (b"cookie", b"secret"), (b"x-tier", b"blue")]
    assert context(headers=sent, names=frozenset({"x-tier"})).headers == {"x-tier": ("gold", "blue")}
    assert context(headers=sent).headers == {}


def test_a_user_is_known_by_a_digest_and_a_request_without_one_by_its_key() -> None:
    digest = hashlib.sha256(f"{ORG.org_id}\nann@acme.example".encode()).hexdigest()[:32]
    assert context({**BODY, "user": "ann@acme.example"}).sticky_key == digest
    for user in (None, "", 5, ["ann"]):
        assert context({**BODY, "user": user}).sticky_key == "key1"


@pytest.mark.parametrize(("allows", "taken"), [(True, "cheap"), (False, None)])
def test_a_route_is_forced_by_keys_that_may(allows: bool, taken: str | None) -> None:
    assert forced_route([(b"x-routing-force", b"cheap")], a_key(allows_force=allows)) == taken
    assert forced_route([], a_key(allows_force=True)) is None


def test_no_header_breaks_the_reading() -> None:
    read = context(headers=[(b"x-routing-tag", b"\xff\xfe"), (b"x-a", b"\xff")], names=frozenset({"x-a"}))
    assert read.tag == "��"
    assert read.headers == {"x-a": "�"}
