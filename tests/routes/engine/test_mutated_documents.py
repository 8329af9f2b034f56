"""Hostile documents: whatever the bytes, the structure, the texts or the row of a store, loading gives an `Engine` that
decides, or `DocumentRejected`. The campaign `documents` loads a hundred times as many."""

import json
import zlib
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from routes.engine import Document, Engine, RequestContext
from routes.engine.errors import DocumentRejected
from routes.engine.store import document_of_row
from tests.campaign.documents import CODES, Loaded, load_mutated
from tests.paths import shared
from tests.routes.engine.build import ORG, document, raw_route
from tests.routes.engine.hostile import KINDS, TIMES_BEYOND, Raw, signed, vectors

PARTS, DOCUMENTS = 2, 450


@cache
def loaded(part: int) -> Loaded:
    return load_mutated(f"suite {part}", DOCUMENTS)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_document_becomes_an_engine_that_decides_or_is_rejected(part: int) -> None:
    told = loaded(part)
    assert not told.faults, "\n".join(told.faults)
    assert told.documents >= DOCUMENTS


def test_the_mutations_reach_every_kind_of_end_and_every_code() -> None:
    parts = [loaded(part) for part in range(PARTS)]
    outcomes = {tuple(outcome.split(": ")) for told in parts for outcome in told.outcomes}
    assert {end for _, end in outcomes} == {"rejected", "in part", "loaded"}
    # Without the texts of others, their kinds change the structure.
    assert {kind for kind, _ in outcomes} == set(KINDS)
    assert {("part", end) for end in ("rejected", "in part", "loaded")} <= outcomes
    assert {code for told in parts for code in told.codes} == CODES
    assert all(told.decided > 300 for told in parts)


def envelope(**content: Any) -> dict[str, Any]:
    """A document as an object, with keys of its content replaced."""
    raw = document(raw_route(1)).to_dict()
    return raw | {"content": raw["content"] | content}


def test_every_naughty_string_is_a_name_and_a_keyword_or_the_reason_why_not() -> None:
    shared("vectors/naughty-strings.json")
    strings, _ = vectors()
    assert len(strings) > 500
    routes = [
        raw_route(number, name=f"{number} {text}", when={"prompt_contains_any_of": [text], "metadata": {"k": [text]}})
        for number, text in enumerate(strings, 1)
    ]
    engine = Engine.from_document(Document.from_bytes(signed(envelope(routes=routes))))
    assert len(engine.routes) > 400
    assert {issue["code"] for skipped in engine.skipped for issue in skipped.issues} <= {
        "blank_value", "unsupported_value", "out_of_range",
    }  # fmt: skip
    for route in engine.routes:
        [word] = route.when.prompt_contains_any_of
        context = RequestContext(prompt=f"-{word}-", metadata={"k": word})
        assert engine.decide(context).reason == "matched"
        assert engine.decide(context, force=route.name).route_id == route.id


@pytest.mark.parametrize(
    "place", ["whole", "content", "routes", "a route", "when", "then", "default", "services", "meta"]
)
def test_no_text_of_the_json_test_suite_makes_another_error(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", "routes.engine")
    shared("vectors/json-test-suite")
    _, suite = vectors()
    assert len(suite) > 300
    mark = "\x02"
    raws: dict[str, Any] = {
        "whole": mark,
        "content": envelope() | {"content": mark},
        "routes": envelope(routes=mark),
        "a route": envelope(routes=[mark, raw_route(2)]),
        "when": envelope(routes=[raw_route(1, when=mark), raw_route(2)]),
        "then": envelope(routes=[raw_route(1, then=mark), raw_route(2)]),
        "default": envelope(default=mark),
        "services": envelope(services=mark),
        "meta": envelope(routes=[raw_route(1, meta={"x-suite": mark}), raw_route(2)]),
    }
    parsed = 0
    for text in suite:
        try:
            raw = json.loads(text)
            whole = json.loads(json.dumps(raws[place]).replace(json.dumps(mark), json.dumps(raw)))
            data = signed(whole)
        except (ValueError, RecursionError):
            data = signed(raws[place]).replace(json.dumps(mark).encode(), text)
        try:
            engine = Engine.from_document(Document.from_bytes(data))
        except DocumentRejected:
            continue
        assert engine.decide(RequestContext("m")) == engine.explain(RequestContext("m")).decision
        parsed += 1
    # Where a malformed value costs only its own route, the document loads.
    assert (parsed > 20) is (place in ("routes", "a route", "when", "then", "meta"))


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e999", "-1e999", "9" * 5_000, '{"a":1,"a":2}', "[" * 40 + "]" * 40, "[" * 100_000, '"\\ud800"',
     '"\ud800"', "9007199254740993", "01", "'a'", "\ufeff1", "tru"],
)  # fmt: skip
def test_what_is_no_json_value_for_every_reader_rejects_the_whole_document_wherever_it_stands(text: str) -> None:
    for raw in (
        envelope(routes=[raw_route(1, priority=Raw(text))]),
        envelope(routes=[raw_route(1, meta={"x-a": [Raw(text)]}), raw_route(2)]),
        envelope(default=Raw(text)),
        envelope() | {"version": Raw(text)},
        envelope() | {"org_slug": Raw(text)},
    ):
        with pytest.raises(DocumentRejected):
            Engine.from_document(Document.from_bytes(signed(raw)))


def test_a_hostile_route_is_skipped_by_its_index_and_the_others_decide() -> None:
    routes = [raw_route(1, when={"model_in": ["a"]}), {"id": 5}, raw_route(3, when={"not": []}), None, raw_route(5)]
    engine = Engine.from_document(Document.from_bytes(signed(envelope(routes=routes))))
    assert [(skipped.index, skipped.issues[0]["path"]) for skipped in engine.skipped] == [
        (1, "name"), (2, "when.not"), (3, ""),
    ]  # fmt: skip
    assert engine.decide(RequestContext("a")).route_name == "route 1"
    assert engine.decide(RequestContext("b")).route_name == "route 5"


def row(**columns: Any) -> Document:
    good = document(raw_route(1))
    content = zlib.compress(json.dumps(good.content, separators=(",", ":"), sort_keys=True).encode())
    whole = {
        "org_slug": "acme",
        "status": "active",
        "version": 3,
        "published_at": datetime(2026, 11, 21, tzinfo=UTC),
        "digest": good.digest,
        "content": content,
    }
    return document_of_row(ORG, **whole | columns)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("org_slug", value) for value in (None, 5, b"acme", "a\nb", "\ud800")),
        *(("status", value) for value in (None, 1, "", "ACTIVE", b"active")),
        *(("version", value) for value in (None, True, -1, 3.0, "3", 2**63, b"3")),
        *(("digest", value) for value in (None, "", 5, b"sha256:", "sha256:" + "0" * 64)),
        *(("content", value) for value in (b"", b"x", "text", 5, memoryview(b"x"), zlib.compress(b"[]"), None)),
        ("published_at", datetime(2026, 11, 21)),
    ],
)
def test_a_row_with_one_hostile_column_is_rejected(column: str, value: Any) -> None:
    assert row().version == 3
    with pytest.raises(DocumentRejected):
        row(**{column: value})


@pytest.mark.parametrize("published_at", TIMES_BEYOND)
def test_a_row_of_a_time_that_no_document_can_hold_is_rejected(published_at: datetime) -> None:
    with pytest.raises(DocumentRejected):
        row(published_at=published_at)


def test_the_same_seed_gives_the_same_documents() -> None:
    assert load_mutated("again", 40).outcomes == load_mutated("again", 40).outcomes
