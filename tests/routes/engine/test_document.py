"""`Document`: what a version publishes; parsing is strict, and `DocumentRejected` is all that it raises."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import Action, Document, Engine, Route
from routes.engine.document import content_of, digest_of
from routes.engine.errors import DocumentRejected
from tests.paths import SHARED
from tests.routes.engine.build import ORG, OTHER_ORG, document, json_values, raw_route, raw_routes, unhurried

PUBLISHED = datetime(2026, 11, 21, 8, 30, 0, 5, UTC)


def whole() -> Document:
    content = {"default": None, "routes": [raw_route(1), raw_route(2)], "services": []}
    return Document.build(content, ORG, "acme", 41, PUBLISHED, "active")


GOOD = whole().to_bytes()


def test_the_envelope_has_every_key_and_the_content_its_digest() -> None:
    raw = whole().to_dict()
    assert list(raw) == [
        "schema", "org_id", "org_slug", "status", "version", "published_at", "digest", "signature", "placements",
        "content",
    ]  # fmt: skip
    assert raw["schema"] == 1
    assert raw["published_at"] == "2026-11-21T08:30:00.000005Z"
    assert (raw["signature"], raw["placements"]) == (None, [])
    # From the command line: printf '%s' '{"default":null,"routes":[],"services":[]}' | sha256sum
    empty = Document.build({"services": [], "routes": [], "default": None}, ORG)
    assert empty.digest == "sha256:0869063da396ee4b2071c47223e9518bd5f7d9f8b9539480c4cf73b26e9b34cc"
    assert empty.version == 0
    assert empty.published_at is None


def test_a_document_survives_bytes_and_objects() -> None:
    assert Document.from_bytes(GOOD) == whole()
    assert Document.from_dict(whole().to_dict()) == whole()
    assert Document.from_bytes(json.dumps(whole().to_dict(), indent=4).encode()) == whole()


def test_equal_content_has_an_equal_digest_whatever_the_version_or_organisation() -> None:
    assert document(raw_route(1), version=1).digest == document(raw_route(1), org_id=OTHER_ORG, version=9).digest
    assert document(raw_route(1)).digest != document(raw_route(1, priority=101)).digest
    assert (
        document(raw_route(1, priority=100.0)).digest == document(raw_route(1)).digest
    )  # one number in canonical JSON


def test_the_order_of_routes_is_part_of_the_content() -> None:
    assert document(raw_route(1), raw_route(2)).digest != document(raw_route(2), raw_route(1)).digest


def test_a_document_holds_its_own_copy_of_the_content() -> None:
    raw = raw_route(1)
    built = document(raw)
    raw["name"] = "changed"
    assert built.content["routes"][0]["name"] == "route 1"


@unhurried
@given(st.lists(raw_routes, max_size=3))
def test_any_routes_survive_the_way_through_bytes(raws: list[dict[str, Any]]) -> None:
    built = document(*raws)
    loaded = Document.from_bytes(built.to_bytes())
    assert loaded == built
    assert loaded.content["routes"] == raws


def envelope(**changes: Any) -> bytes:
    raw = whole().to_dict() | changes
    return json.dumps({key: value for key, value in raw.items() if value is not ...}).encode()


def with_content(**changes: Any) -> bytes:
    """A document with a changed content whose digest may well fit."""
    content = whole().content | changes
    return envelope(content={key: value for key, value in content.items() if value is not ...})


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


REFUSED: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'"\xff"',
    "UTF-16": whole().to_bytes().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a list": b"[]",
    "null": b"null",
    "something behind": GOOD + b"{}",
    "a key twice": GOOD.replace(b'"version":41', b'"version":41,"version":41'),
    "a key twice, deep inside": GOOD.replace(b'"priority":100', b'"priority":100,"priority":100', 1),
    "NaN": GOOD.replace(b'"version":41', b'"version":NaN'),
    "Infinity": GOOD.replace(b'"priority":100', b'"priority":Infinity', 1),
    "-Infinity": GOOD.replace(b'"priority":100', b'"priority":-Infinity', 1),
    "a number that overflows": GOOD.replace(b'"priority":100', b'"priority":1e999', 1),
    "an integer that not every reader holds": GOOD.replace(b'"priority":100', b'"priority":9007199254740993', 1),
    "an integer of 5,000 digits": GOOD.replace(b'"priority":100', b'"priority":' + b"9" * 5000, 1),
    "a lone surrogate in the content": GOOD.replace(b"route 1", rb"\ud800"),
    "a lone surrogate in the slug": GOOD.replace(b"acme", rb"\ud800"),
    "a control character in the slug": GOOD.replace(b"acme", rb"a\n"),
    "too deep": GOOD.replace(b'"model_in":[]', b'"model_in":' + deep(40), 1),
    "much too deep": deep(200_000),
    "a digest of something else": GOOD.replace(b"route 1", b"route 9"),
    "no digest": envelope(digest=...),
    "a null digest": envelope(digest=None),
    "schema 2": envelope(schema=2),
    "schema 2 with other keys": envelope(schema=2, routes=[], content=...),
    "schema 0": envelope(schema=0),
    "schema 1.0": envelope(schema=1.0),
    "schema true": envelope(schema=True),
    "schema text": envelope(schema="1"),
    "no schema": envelope(schema=...),
    "an unknown key": envelope(extra=1),
    "an id that is none": envelope(org_id="acme"),
    "a null id": envelope(org_id=None),
    "a slug that is no text": envelope(org_slug=5),
    "an unknown status": envelope(status="sleeping"),
    "a status that is no text": envelope(status=["active"]),
    "version true": envelope(version=True),
    "version 41.0": envelope(version=41.0),
    "version -1": envelope(version=-1),
    "version text": envelope(version="41"),
    "a time without a zone": envelope(published_at="2026-11-21T08:30:00"),
    "a day that does not exist": envelope(published_at="2026-02-30T08:30:00Z"),
    "a week date": envelope(published_at="2026-W10-1T00:00:00Z"),
    "a time that leaves the calendar": envelope(published_at="0001-01-01T00:00:00+10:00"),
    "a time that is a number": envelope(published_at=5),
    "a signature": envelope(signature="x"),
    "placements": envelope(placements=[{}]),
    "content that is a list": envelope(content=[]),
    "content that is null": envelope(content=None),
    "a default that is a list": with_content(default=[]),
    "a default of another digest": with_content(default={"target_model": "m"}),
    "services that are no list": with_content(services={"slug": "a"}),
    "routes that are no list": with_content(routes={}),
    "no routes": with_content(routes=...),
    "no default": with_content(default=...),
    "an unknown key in the content": with_content(extra=None),
    "too many routes": with_content(routes=[0] * 2001),
    "too many bytes": with_content(routes=["x" * 8_500_000]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bytes_that_are_no_document_are_rejected(name: str) -> None:
    with pytest.raises(DocumentRejected) as caught:
        Document.from_bytes(REFUSED[name])
    assert 5 < len(str(caught.value)) < 300
    assert (caught.value.code, caught.value.http_status, caught.value.retryable) == ("document_rejected", 422, False)


def test_a_changed_content_is_rejected_for_itself_and_not_only_for_its_digest() -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    wrong: list[dict[str, Any]] = [
        {"default": []}, {"default": "m"}, {"services": {}}, {"services": None}, {"routes": None}, {"routes": "r"},
        {"routes": [0] * 2001}, {"extra": None}, {"routes": deep}, {"default": {"fallbacks": deep}}, {"services": deep},
        {"routes": ["x" * 8_500_000]}, {"routes": [float("nan")]}, {"routes": ["\ud800"]}, {"services": [10**20]},
        {"routes": [{5: 1}]}, {"routes": [object()]},
    ]  # fmt: skip
    for changes in wrong:
        with pytest.raises(DocumentRejected):
            Document.build({"default": None, "routes": [], "services": []} | changes, ORG)
    for content in (None, [], {"default": None, "routes": []}):
        with pytest.raises(DocumentRejected):
            Document.build(content, ORG)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "envelope",
    [{"org_id": "acme"}, {"org_id": 5}, {"org_slug": "a\nb"}, {"org_slug": None}, {"status": "sleeping"}, {"version": -1},
     {"version": True}, {"version": 2**53}, {"published_at": datetime(2026, 11, 21)}],
)  # fmt: skip
def test_an_envelope_that_no_engine_would_load_is_not_built(envelope: dict[str, Any]) -> None:
    with pytest.raises(DocumentRejected):
        Document.build(whole().content, **{"org_id": ORG} | envelope)


def test_a_default_and_services_are_part_of_the_content_and_of_its_digest() -> None:
    content = whole().content
    default = content | {"default": {"target_model": "m"}}
    services = content | {"services": [{"slug": "users", "enabled": True, "timeouts": {}, "paths": []}]}
    digests = {Document.build(each, ORG).digest for each in (content, default, services)}
    assert len(digests) == 3
    loaded = Document.from_bytes(Document.build(default, ORG, "acme", 1).to_bytes())
    assert loaded.content["default"] == {"target_model": "m"}


def test_content_is_built_from_values_in_the_order_given() -> None:
    routes = [Route.from_dict(raw_route(2)), Route.from_dict(raw_route(1))]
    content = content_of(routes, default=Action("m", traffic_pct=5))
    assert content == {
        "default": {"target_model": "m", "traffic_pct": 5}, "routes": [raw_route(2), raw_route(1)], "services": [],
    }  # fmt: skip
    assert content_of([]) == {"default": None, "routes": [], "services": []}
    assert Document.build(content, ORG).digest == digest_of(content)


@pytest.mark.parametrize("number", [1e17, -9007199254740992.0, 999999999999999900000.0])
def test_a_content_that_could_not_be_read_again_is_not_built(number: float) -> None:
    with pytest.raises(DocumentRejected):
        document(raw_route(1, meta={"x-number": number}))


def test_more_bytes_than_a_load_takes_are_not_even_parsed() -> None:
    with pytest.raises(DocumentRejected, match="more than 16,777,216 bytes"):
        Document.from_bytes(b" " * (16 * 1024 * 1024 + 1))


def test_the_message_about_a_newer_schema_says_so() -> None:
    with pytest.raises(DocumentRejected, match=r"schema 2.*up to 1"):
        Document.from_bytes(REFUSED["schema 2"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T08:30:00Z", PUBLISHED.replace(microsecond=0)),
        ("2026-11-21t08:30:00.000005z", PUBLISHED),
        ("2026-11-21T09:30:00.000005999+01:00", PUBLISHED),
        (None, None),
    ],
)
def test_a_time_is_read_as_utc(text: str | None, expected: datetime | None) -> None:
    assert Document.from_bytes(envelope(published_at=text)).published_at == expected


def test_a_time_is_written_as_utc_with_six_digits() -> None:
    time = datetime(2026, 11, 21, 10, 30, tzinfo=timezone(timedelta(hours=2)))
    assert (
        Document.build(whole().content, ORG, published_at=time).to_dict()["published_at"]
        == "2026-11-21T08:30:00.000000Z"
    )
    with pytest.raises(DocumentRejected):
        Document.build(whole().content, ORG, published_at=datetime(2026, 11, 21))


edits = st.lists(
    st.tuples(
        st.integers(0, len(GOOD)),
        st.integers(0, 8),
        st.binary(max_size=4) | st.sampled_from([b"[", b'"', b"{}", b"\\u"]),
    ),
    min_size=1,
    max_size=4,
)


@given(edits)
def test_mutated_bytes_are_a_document_or_rejected(changes: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for at, removed, put in changes:
        data = data[:at] + put + data[at + removed :]
    load_or_be_rejected(data)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_document_or_rejected(data: bytes) -> None:
    load_or_be_rejected(data)


@given(st.sampled_from(sorted(whole().to_dict())), json_values)
def test_any_value_in_any_place_is_a_document_or_rejected(key: str, value: Any) -> None:
    load_or_be_rejected(json.dumps(whole().to_dict() | {key: value}).encode())
    load_or_be_rejected(json.dumps(whole().to_dict() | {"content": whole().content | {"routes": [value]}}).encode())


@pytest.mark.skipif(not (SHARED / "vectors/json-test-suite").exists(), reason="../shared/vectors is not here")
def test_the_json_test_suite_makes_no_other_error() -> None:
    for path in sorted((SHARED / "vectors/json-test-suite").iterdir()):
        load_or_be_rejected(path.read_bytes())


def load_or_be_rejected(data: bytes) -> None:
    try:
        loaded = Document.from_bytes(data)
    except DocumentRejected:
        return
    Engine.from_document(loaded)
    assert Document.from_bytes(loaded.to_bytes()) == loaded
