"""Which addresses may be connected to: whatever they are called, and whatever hides in them."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine.egress import PrivateUpstream, check_addresses, forbidden_reason, literal_address
from routes.engine.errors import EgressDenied, InvalidRoute

#: The machine itself, its link, everybody, and where clouds keep credentials: closed whatever an organisation is allowed.
NEVER = """
0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 169.254.0.1 169.254.169.254 169.254.170.2 224.0.0.1 239.255.255.255
255.255.255.255 100.100.100.200 192.0.0.192 168.63.129.16 fd00:ec2::254 fd20:ce::254
:: ::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::ffff:0.0.0.0 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1
64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:7f00:1:: 2001:0:4136:e378:8000:63bf:80ff:fffe
2001:db8::5efe:127.0.0.1 2600::200:5efe:169.254.169.254 ::ffff:168.63.129.16
""".split()
#: Somebody's own, or nobody's: open only where an organisation's list says so.
NOT_PUBLIC = """
10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.254
64:ff9b:1::1 64:ff9b::10.0.0.1 100::1 2001:db8::1 2001:2::1 2001:20::1 2001:10::1 2002:a00:1:: 3fff::1 5f00::1
fc00::1 fd12:3456::1 4000::1 ::ffff:10.0.0.1 ::ffff:192.168.1.1 ::8.8.8.8 ::ffff:0:8.8.8.8 1::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255
198.17.255.255 198.20.0.1 223.255.255.254
2606:4700::1111 2a00:1450::1 2600::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 9.255.255.255 11.0.0.0 168.63.129.15
""".split()
#: Spellings that `getaddrinfo` takes, with what they are.
SPELLINGS = {
    "2130706433": "127.0.0.1", "0x7f000001": "127.0.0.1", "017700000001": "127.0.0.1", "0177.0.0.1": "127.0.0.1",
    "0x7f.1": "127.0.0.1", "127.1": "127.0.0.1", "127.0.1": "127.0.0.1", "0x7f.0x0.0x0.0x1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "00": "0.0.0.0", "0": "0.0.0.0", "0x0": "0.0.0.0", "10.1": "10.0.0.1", "0xa9fea9fe": "169.254.169.254",
    "2852039166": "169.254.169.254", "169.254.43518": "169.254.169.254", "0251.0376.0251.0376": "169.254.169.254",
    "１２７.0.0.1": "127.0.0.1", "①②⑦.⓪.⓪.①": "127.0.0.1", "127。0。0。1": "127.0.0.1", "127．0．0．1": "127.0.0.1",
    "[::1]": "::1", "::1": "::1", "[::ffff:127.0.0.1]": "::ffff:127.0.0.1", "[fe80::1%25eth0]": "fe80::1%25eth0",
    "[0:0:0:0:0:0:0:1]": "::1", "[::ffff:7f00:1]": "::ffff:127.0.0.1", "8.8.8.8": "8.8.8.8",
}  # fmt: skip
EVERYTHING = tuple(
    PrivateUpstream(network, 443)
    for network in "1.0.0.0/8 100.64.0.0/10 192.0.0.0/24 168.0.0.0/8 fd00::/8 2000::/3 64:ff9b::/96 ::8000:0/97".split()
)


def test_more_than_sixty_spellings_are_looked_at() -> None:
    assert len({*NEVER, *NOT_PUBLIC, *SPELLINGS}) > 90


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_closed_whatever_is_allowed(address: str) -> None:
    assert "metadata" in str(forbidden_reason(address, 443, EVERYTHING))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_closed(address: str) -> None:
    reason = forbidden_reason(address, 443)
    assert reason is not None
    assert "list of private upstreams" in reason
    assert address not in reason


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_open(address: str) -> None:
    assert forbidden_reason(address, 443) is None


@pytest.mark.parametrize(("spelled", "meant"), SPELLINGS.items())
def test_an_address_is_known_however_it_is_spelled(spelled: str, meant: str) -> None:
    assert literal_address(spelled) == ip_address(meant)


@pytest.mark.parametrize(
    "host",
    ["example.com", "a", "localhost", "127.0.0.1.example.com", "1.2.3.4.5", "256.1.1.1", "0x", "", ".", "1.1.1.1 x", "[::1",
     "0x7g.1", "beef", "99999999999"],
)  # fmt: skip
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{:d}", "{:#x}", "0{:o}"]))
def test_it_is_what_the_system_would_connect_to(number: int, spelling: str) -> None:
    text = spelling.format(number)
    (info, *_) = socket.getaddrinfo(text, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    assert literal_address(text) == ip_address(info[4][0]) == IPv4Address(number)


@given(st.integers(0, 2**128 - 1))
def test_what_python_calls_private_is_never_open(number: int) -> None:
    address = IPv6Address(number)
    if not address.is_global or address.is_multicast or address.is_link_local:
        assert forbidden_reason(address, 443) is not None


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_whatever_it_hides(number: int) -> None:
    plain = IPv4Address(number)
    mapped = forbidden_reason(IPv6Address(f"::ffff:{plain}"), 443)
    assert mapped == forbidden_reason(plain, 443)
    if not plain.is_global:
        assert forbidden_reason(plain, 443) is not None
    if mapped is not None:
        for clothes in ("::{}", "::ffff:0:{}", "64:ff9b::{}", "2600::5efe:{}"):
            assert forbidden_reason(IPv6Address(clothes.format(plain)), 443) is not None
        assert forbidden_reason(IPv6Address(0x2002 << 112 | number << 80 | 1), 443) is not None


# --- An organisation's own upstreams ----------------------------------------------------------------------------------


def test_a_private_upstream_opens_its_network_at_its_port_and_no_more() -> None:
    allowed = (PrivateUpstream("10.1.0.0/16", 8080), PrivateUpstream("fd12::/32", 443))
    assert forbidden_reason("10.1.2.3", 8080, allowed) is None
    assert forbidden_reason("::ffff:10.1.2.3", 8080, allowed) is None
    assert forbidden_reason("fd12::7", 443, allowed) is None
    for address, port in [
        ("10.1.2.3", 8081),
        ("10.2.0.1", 8080),
        ("fd13::7", 443),
        ("fd12::7", 80),
        ("127.0.0.1", 8080),
    ]:
        assert forbidden_reason(address, port, allowed) is not None


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "127.0.0.0/8", "127.0.0.1/32", "126.0.0.0/7", "169.254.0.0/16", "::/0", "::1/128", "fe80::/10",
     "ff00::/8", "224.0.0.0/4", "10.0.0.1/8", "10.0.0.0/33", "ten", "", "localhost", "fe80::/10%eth0"],
)  # fmt: skip
def test_a_network_that_must_stay_closed_or_is_none_is_refused(network: str) -> None:
    with pytest.raises(InvalidRoute) as caught:
        PrivateUpstream.from_dict({"network": network, "port": 80})
    assert [issue["path"] for issue in caught.value.issues] == ["network"]


@pytest.mark.parametrize("port", [0, -1, 65_536, "80", 80.5, True, None])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    with pytest.raises(InvalidRoute) as caught:
        PrivateUpstream.from_dict({"network": "10.0.0.0/8", "port": port})
    assert [issue["path"] for issue in caught.value.issues] == ["port"]


@pytest.mark.parametrize(
    "raw", [None, [], "10.0.0.0/8", {}, {"network": "10.0.0.0/8"}, {"network": "10.0.0.0/8", "port": 1, "x": 1}]
)
def test_what_is_no_private_upstream_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidRoute):
        PrivateUpstream.from_dict(raw)


def test_a_private_upstream_is_written_as_it_was_read() -> None:
    raw = {"network": "10.1.0.0/16", "port": 8080}
    assert PrivateUpstream.from_dict(raw).to_dict() == raw
    assert PrivateUpstream("fd12:0:0::/32", 1) == PrivateUpstream("fd12::/32", 1)


# --- Several addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [[], ["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["::1", "2600::1"]])
def test_of_several_addresses_every_one_has_to_be_good(addresses: list[str]) -> None:
    with pytest.raises(EgressDenied):
        check_addresses(addresses, 443)


def test_good_addresses_pass() -> None:
    check_addresses(["8.8.8.8", IPv6Address("2600::1")], 443)
    check_addresses(iter(["10.0.0.1", "8.8.8.8"]), 80, [PrivateUpstream("10.0.0.0/8", 80)])
