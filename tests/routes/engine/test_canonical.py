"""Canonical JSON, ids and money: bytes and integers that everybody agrees on."""

import json
import struct
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from routes.engine.canonical import NotCanonical, canonical_bytes
from routes.engine.ids import canonical_uuid, uuid7
from routes.engine.money import nano_usd, usd_number
from tests.paths import shared
from tests.routes.engine.build import json_values

doubles = st.binary(min_size=8, max_size=8).map(lambda data: struct.unpack("d", data)[0])


@given(json_values)
def test_canonical_bytes_are_those_of_another_implementation(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(NotCanonical):
            canonical_bytes(value)
    else:
        assert canonical_bytes(value) == expected


@given(doubles)
def test_any_double_is_written_as_another_implementation_writes_it(value: float) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.FloatDomainError:
        with pytest.raises(NotCanonical):
            canonical_bytes(value)
    else:
        assert canonical_bytes(value) == expected


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_the_published_vectors_hold(name: str) -> None:
    folder = shared("vectors/rfc8785-jcs")
    value = json.loads((folder / "input" / f"{name}.json").read_text(encoding="utf-8"))
    assert canonical_bytes(value) == (folder / "output" / f"{name}.json").read_bytes()


# The table of RFC 8785, appendix B.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(bits: str, text: str) -> None:
    [value] = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_bytes(value) == text.encode()


def test_keys_are_in_the_order_of_utf16_code_units() -> None:
    # U+1F600 is a surrogate pair starting with D83D, so it comes before U+FB01 although its code point is higher.
    assert canonical_bytes({"\ufb01": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb01":1}'.encode()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 2**53, -(2**53), "\ud800", {"\udfff": 1}, {1: 2}, {None: 1}, {1, 2}, b"a",
     nested(201), nested(100_000), Decimal(1)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_not_every_reader_can_hold_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes({"a": value})


def test_an_id_is_canonical_whatever_way_it_was_given() -> None:
    text = "0190aabb-ccdd-7eee-8fff-001122334455"
    for given_as in (text, text.upper(), text.replace("-", ""), UUID(text)):
        assert canonical_uuid(given_as) == text


@pytest.mark.parametrize(
    "wrong",
    ["", "acme", "{0190aabb-ccdd-7eee-8fff-001122334455}", "0190aabb-ccdd7eee8fff001122334455",
     "urn:uuid:0190aabb-ccdd-7eee-8fff-001122334455", "0190aabb-ccdd-7eee-8fff-00112233445５",
     "0190aabb-ccdd-7eee-8fff-001122334455\n", 5, None, b"a"],
)  # fmt: skip
def test_what_is_no_id_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        canonical_uuid(wrong)


def test_new_ids_sort_also_while_the_clock_stands_or_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2 * 10**18] * 50 + [2 * 10**18 - 10**9] * 50)
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    monkeypatch.setattr("routes.engine.ids._last_tick", 0)
    made = [uuid7() for _ in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100


def test_new_ids_are_version_7_and_sort_in_the_order_they_were_made() -> None:
    made = [uuid7() for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(UUID(text).version == 7 and canonical_uuid(text) == text for text in made)


@given(st.floats(-1e7, 1e7) | st.integers(0, 10**15).map(lambda nano: nano / 10**9))
def test_money_is_rounded_half_to_even_from_the_shortest_decimal(amount: float) -> None:
    expected = int((Decimal(repr(amount)) * 10**9).to_integral_value("ROUND_HALF_EVEN"))
    assert nano_usd(amount) == expected
    assert nano_usd(Decimal(repr(amount))) == expected


@pytest.mark.parametrize(
    ("amount", "nano"),
    [(5e-10, 0), (1.5e-9, 2), (2.5e-9, 2), (Decimal("0.0000000005"), 0), (Decimal("0.00000000050001"), 1),
     (0.02, 20_000_000), (1, 10**9), (Decimal("1e-999999"), 0), (-2.5e-9, -2),
     (517.3266249315, 517_326_624_932)],
)  # fmt: skip
def test_amounts_at_the_border_go_to_the_even_side(amount: Any, nano: int) -> None:
    assert nano_usd(amount) == nano


@pytest.mark.parametrize("amount", [True, "0.1", None, float("nan"), float("inf"), Decimal("NaN"), Decimal("1e999999")])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        nano_usd(amount)


@given(st.integers(0, 10**15))
def test_an_amount_survives_the_way_through_json(nano: int) -> None:
    assert nano_usd(json.loads(json.dumps(usd_number(nano)))) == nano
