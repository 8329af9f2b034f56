"""The log's bytes and hashes, without a database."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.log import tree
from audit.log.canonical import NotCanonical, canonical_bytes, parse
from audit.log.check import Checker
from audit.log.entry import MAX_BYTES, BadEntry, Entry, payload_hash, time_text
from tests.paths import shared

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


# --- Canonical JSON ---------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_the_canonical_bytes_are_those_of_another_implementation_and_read_back(value: Any) -> None:
    data = canonical_bytes(value)
    assert data == rfc8785.dumps(value)
    assert parse(data) == value


def test_keys_sort_by_utf16_units_and_not_by_code_points() -> None:
    # U+FF61 comes after U+1F600 in UTF-16 (D83D DE00), before it as a code point.
    assert canonical_bytes({"｡": 1, "😀": 2}) == '{"😀":2,"｡":1}'.encode()


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), 2**53, -(2**53), "\ud800", {1: 2}, {"a": {3}}, b"x", {"\udfff": 1}]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)


def test_nesting_is_bounded() -> None:
    value: Any = 0
    for _ in range(70):
        value = [value]
    with pytest.raises(NotCanonical, match="64"):
        canonical_bytes(value)
    with pytest.raises(NotCanonical):
        parse(b"[" * 100_000)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"1.0", b"NaN", b"\xff", b"", b'"\\u0041"']
)
def test_bytes_that_another_reader_could_write_otherwise_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        parse(data)


def test_the_published_examples_of_rfc_8785_agree_where_they_hold_no_floats() -> None:
    folder = shared("vectors/rfc8785-jcs")
    compared = refused = 0
    for path in sorted(Path(folder / "input").glob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        try:
            data = canonical_bytes(value)
        except NotCanonical:
            refused += 1
            continue
        assert data == (folder / "output" / path.name).read_bytes(), path.name
        compared += 1
    assert (compared, refused) == (4, 2)


# --- The tree ---------------------------------------------------------------------------------------------------------

# Leaves and roots of the test tree of the Certificate Transparency projects (RFC 6962).
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def edge_of(leaves: list[bytes]) -> list[bytes]:
    edge: list[bytes] = []
    for size, leaf in enumerate(leaves):
        edge = tree.append(size, edge, tree.leaf_hash(leaf))
    return edge


def plain_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return tree.EMPTY_ROOT
    if len(leaves) == 1:
        return tree.leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return tree.node_hash(plain_root(leaves[:k]), plain_root(leaves[k:]))


@pytest.mark.parametrize("size", ROOTS)
def test_roots_are_those_of_rfc_6962(size: int) -> None:
    assert tree.root(edge_of(LEAVES[:size])).hex() == ROOTS[size]


@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 100, 257])
def test_the_right_edge_gives_the_root_of_the_definition(size: int) -> None:
    leaves = [str(n).encode() for n in range(size)]
    edge = edge_of(leaves)
    assert len(edge) == size.bit_count()
    assert tree.root(edge) == plain_root(leaves)
    assert tree.unpack(tree.pack(edge)) == edge


def test_an_edge_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        tree.append(3, [b"x" * 32], b"y" * 32)
    with pytest.raises(ValueError, match="whole number"):
        tree.unpack(b"x" * 33)


# --- Entries ----------------------------------------------------------------------------------------------------------


def an_entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "log": "routing.example/audit/01900000-0000-7000-8000-000000000001",
        "seq": 0,
        "ts": "2026-11-21T08:00:00.000001Z",
        "actor_type": "api_key",
        "actor_id": "k1",
        "on_behalf_of": "7",
        "action": "route.created",
        "target_type": "route",
        "target_id": "01900000-0000-7000-8000-000000000002",
        "request_id": None,
        "version_before": 0,
        "version_after": 1,
        "payload_sha256": payload_hash(b"s" * 16, b"{}"),
        "prev": None,
    }
    return Entry(**{**fields, **changes})


def test_the_bytes_of_an_entry_never_change() -> None:
    data = an_entry().to_bytes()
    assert data == (
        b'{"action":"route.created","actor":{"id":"k1","on_behalf_of":"7","type":"api_key"},'
        b'"log":"routing.example/audit/01900000-0000-7000-8000-000000000001",'
        b'"payload_sha256":"7525933f0e78f8a1b6144ced4eb2b43a4468d44f5ba6ba03c155c11d5196e53b",'
        b'"prev":null,"request_id":null,"seq":0,'
        b'"target":{"id":"01900000-0000-7000-8000-000000000002","type":"route"},'
        b'"ts":"2026-11-21T08:00:00.000001Z","v":1,"version_after":1,"version_before":0}'
    )
    assert tree.leaf_hash(data).hex() == "827dd3afb5d0164d91e99f01fe9e6fde8c046c47de5a99a8935eb7354d75ab0e"
    assert Entry.from_bytes(data) == an_entry()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"seq": -1}, "wrong_shape"),
        ({"seq": True}, "wrong_shape"),
        ({"ts": "2026-11-21T08:00:00Z"}, "wrong_shape"),
        ({"ts": "2026-11-21T08:00:00.000001+00:00"}, "wrong_shape"),
        ({"ts": "2026-02-30T08:00:00.000001Z"}, "wrong_shape"),
        ({"ts": "2026-11-21T24:00:00.000000Z"}, "wrong_shape"),
        ({"version_before": -1}, "wrong_shape"),
        ({"version_after": False}, "wrong_shape"),
        ({"action": "a\0"}, "wrong_shape"),
        ({"target_id": "a\0"}, "wrong_shape"),
        ({"actor_type": "root"}, "wrong_shape"),
        ({"actor_id": 7}, "wrong_shape"),
        ({"prev": "00" * 32}, "wrong_shape"),
        ({"seq": 1}, "wrong_shape"),
        ({"seq": 1, "prev": "XX" * 32}, "wrong_shape"),
        ({"payload_sha256": "0"}, "wrong_shape"),
        ({"version_after": 1.0}, "bad_canonical"),
        ({"action": "\ud800"}, "bad_canonical"),
        ({"target_id": "x" * MAX_BYTES}, "too_large"),
    ],
)
def test_an_entry_that_is_none_is_refused_by_rule(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(BadEntry) as caught:
        an_entry(**changes).to_bytes()
    assert caught.value.rule == rule


@given(st.data())
@settings(max_examples=300)
def test_what_is_taken_for_an_entry_is_canonical_and_whatever_text_it_holds_is_read_back(data: st.DataObject) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    names = ("actor_id", "on_behalf_of", "action", "target_type", "target_id", "request_id")
    entry = an_entry(**{name: data.draw(texts) for name in names})
    written = entry.to_bytes()
    assert Entry.from_bytes(written) == entry
    assert canonical_bytes(json.loads(written)) == written
    place, other = data.draw(st.integers(0, len(written) - 1)), data.draw(st.binary(max_size=3))
    for changed in (written[:place] + other + written[place + 1 :], written[:place] + other + written[place:]):
        try:
            found = Entry.from_bytes(changed)
        except BadEntry:
            continue
        assert canonical_bytes(json.loads(changed)) == changed == found.to_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "\\u0008",
        "\\u0009",
        "\\u000a",
        "\\u000c",
        "\\u000d",
        "\\u000B",
        "\\u001F",
        "\\u0020",
        "\\u0041",
        "\\/",
        "\\u00e9",
    ],
)
def test_a_character_is_written_in_one_way(text: str) -> None:
    data = an_entry(action="ACTION").to_bytes().replace(b"ACTION", text.encode())
    json.loads(data)
    with pytest.raises(BadEntry) as caught:
        Entry.from_bytes(data)
    assert caught.value.rule == "bad_canonical"


@pytest.mark.parametrize("key", json.loads(an_entry().to_bytes()))
def test_a_missing_or_an_extra_key_is_refused(key: str) -> None:
    raw = json.loads(an_entry().to_bytes())
    del raw[key]
    for changed in (raw, {**raw, key: raw.get(key), "more": 1}):
        with pytest.raises(BadEntry):
            Entry.from_bytes(canonical_bytes(changed))


def test_times_are_utc_with_six_digits() -> None:
    assert time_text(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2026-01-02T03:04:05.000006Z"
    assert time_text(datetime(99, 1, 2, tzinfo=UTC)) == "0099-01-02T00:00:00.000000Z"
    east = timezone(timedelta(hours=5, minutes=30))
    assert time_text(datetime(2026, 1, 2, 3, 4, 5, tzinfo=east)) == "2026-01-01T21:34:05.000000Z"
    with pytest.raises(ValueError, match="without a zone"):
        time_text(datetime(2026, 1, 2))


def test_a_backslash_before_u0000_is_text_and_no_nul() -> None:
    entry = an_entry(action="\\u0000")
    assert Entry.from_bytes(entry.to_bytes()) == entry


# --- Chains -----------------------------------------------------------------------------------------------------------

Stored = tuple[bytes, bytes | None, bytes | None]


def a_chain(length: int) -> list[Stored]:
    chain: list[Stored] = []
    prev = None
    for seq in range(length):
        payload, salt = canonical_bytes({"n": seq}), bytes([seq]) * 16
        data = an_entry(seq=seq, prev=prev, payload_sha256=payload_hash(salt, payload)).to_bytes()
        prev = tree.leaf_hash(data).hex()
        chain.append((data, payload, salt))
    return chain


def first_break(chain: list[Stored]) -> tuple[int, str] | None:
    checker = Checker(an_entry().log)
    for index, stored in enumerate(chain):
        try:
            checker.take(*stored)
        except BadEntry as error:
            return index, error.rule
    return None


def test_an_honest_chain_passes_and_gives_its_root() -> None:
    chain = a_chain(20)
    assert first_break(chain) is None
    checker = Checker(an_entry().log)
    for stored in chain:
        checker.take(*stored)
    assert checker.root == plain_root([data for data, _, _ in chain])


@pytest.mark.parametrize("at", [0, 7, 18])
def test_each_attack_on_a_chain_is_found_where_it_happened(at: int) -> None:
    def attacked(change: Any) -> tuple[int, str] | None:
        chain = a_chain(20)
        change(chain)
        return first_break(chain)

    def edit(chain: list[Stored]) -> None:
        data, payload, salt = chain[at]
        chain[at] = (data.replace(b"route.created", b"route.deleted"), payload, salt)

    def swap(chain: list[Stored]) -> None:
        chain[at], chain[at + 1] = chain[at + 1], chain[at]

    def other_log(chain: list[Stored]) -> None:
        data, payload, salt = chain[at]
        chain[at] = (data.replace(b"routing.example", b"another.example"), payload, salt)

    # An edited entry is still an entry; what breaks is the link of the next one to it.
    assert attacked(edit) == (at + 1, "wrong_prev")
    assert attacked(swap) == (at, "wrong_seq")
    assert attacked(lambda chain: chain.pop(at)) == (at, "wrong_seq")
    assert attacked(lambda chain: chain.insert(at, chain[at])) == (at + 1, "wrong_seq")
    assert attacked(other_log) == (at, "wrong_log")
    assert attacked(lambda chain: chain.__setitem__(at, (chain[at][0], b'{"n":"x"}', chain[at][2]))) == (
        at,
        "wrong_payload",
    )
    assert attacked(lambda chain: chain.__setitem__(at, (*chain[at][:2], None))) == (at, "wrong_payload")
    assert attacked(lambda chain: chain.__setitem__(at, (*chain[at][:2], b"short"))) == (at, "wrong_payload")


def test_time_does_not_go_back() -> None:
    checker = Checker(an_entry().log)
    payload, salt = b"{}", b"s" * 16
    first = an_entry(ts="2026-11-21T08:00:00.000002Z").to_bytes()
    checker.take(first, payload, salt)
    second = an_entry(seq=1, prev=tree.leaf_hash(first).hex(), ts="2026-11-21T08:00:00.000001Z").to_bytes()
    with pytest.raises(BadEntry) as caught:
        checker.take(second, payload, salt)
    assert caught.value.rule == "time_went_back"
