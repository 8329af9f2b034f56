"""Which headers pass, to an upstream and back."""

import json
from ipaddress import ip_network
from typing import Any

import pytest

from routes.gateway.headers import VIA, to_client, to_upstream
from routes.gateway.messages import Headers, Request
from tests.paths import shared

PROXY = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


def a_request(*headers: tuple[str, str], peer: str | None = "192.0.2.7", scheme: str = "http") -> Request:
    given = [(name.lower().encode(), value.encode()) for name, value in headers]
    if not any(name == b"host" for name, _ in given):
        given.insert(0, (b"host", b"gw.example:8080"))
    return Request("GET", "/", "", given, None, peer, scheme, "gw.example", "id-1")


def passed(*headers: tuple[str, str], **facts: Any) -> list[tuple[str, str]]:
    """What goes upstream, without what is always written."""
    written = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via"}
    sent = to_upstream(a_request(*headers, **facts))
    return [(name.decode(), value.decode()) for name, value in sent if name.decode() not in written]


def written(
    *headers: tuple[str, str], peer: str | None = "192.0.2.7", scheme: str = "http", **facts: Any
) -> dict[str, str]:
    sent = to_upstream(a_request(*headers, peer=peer, scheme=scheme), **facts)
    found = {name.decode(): value.decode() for name, value in sent}
    assert len(found) == len(sent)
    return found


# --- To the upstream --------------------------------------------------------------------------------------------------


def test_what_is_of_the_message_passes_in_its_order_and_as_often_as_it_came() -> None:
    given = [
        ("Accept", "a"),
        ("X-A", "1"),
        ("cookie", "c=1"),
        ("X-A", "2"),
        ("accept", "b"),
        ("Authorization", "Basic eA=="),
    ]
    assert passed(*given) == [(name.lower(), value) for name, value in given]


@pytest.mark.parametrize(
    "name",
    ["Connection", "keep-alive", "Proxy-Authenticate", "PROXY-AUTHORIZATION", "proxy-connection", "TE", "Trailer",
     "Transfer-Encoding", "Upgrade", "Expect", "X-Internal-User", "x-internal-", "X-Routing-Tag", "X-Routing-Force",
     "keep_alive", "x_internal_user", "X_Forwarded_For", "x_routing_tag", "transfer_encoding", "Host_"],
)  # fmt: skip
def test_what_is_of_the_connection_or_of_ours_stays_here(name: str) -> None:
    kept = passed((name, "x"), ("x-other", "y"))
    assert kept == ([("host_", "x"), ("x-other", "y")] if name == "Host_" else [("x-other", "y")])


def test_what_connection_names_stays_here_but_not_the_framing() -> None:
    given = [
        ("Connection", "close, X-A"),
        ("connection", "x-b,content-length,host"),
        ("X-A", "1"),
        ("X-B", "2"),
        ("X-C", "3"),
    ]
    assert passed(*given, ("Content-Length", "5")) == [("x-c", "3"), ("content-length", "5")]


@pytest.mark.parametrize(
    "value", ["Bearer rk_traffic_a_b", "bearer  rk_management_a_b", "rk_gateway_a_b", "RK_TRAFFIC_a_b"]
)
@pytest.mark.parametrize("name", ["authorization", "x-api-key", "cookie"])
def test_no_key_of_this_product_goes_upstream(name: str, value: str) -> None:
    assert passed((name, value)) == []


def test_where_a_request_came_from_is_written_and_what_a_stranger_says_of_it_is_not_believed() -> None:
    given = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-Host", "bank"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=1.1.1.1"),
    ]
    assert written(*given) == {
        "x-forwarded-for": "192.0.2.7", "x-forwarded-host": "gw.example:8080", "x-forwarded-proto": "http",
        "forwarded": 'for=192.0.2.7;host="gw.example:8080";proto=http', "via": VIA.decode(),
    }  # fmt: skip


def test_what_a_trusted_proxy_says_is_kept_and_added_to() -> None:
    given = [
        ("X-Forwarded-For", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3"), ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Proto", "https"), ("Forwarded", "for=1.1.1.1"), ("Via", "1.1 edge"),
    ]  # fmt: skip
    assert written(*given, trusted=PROXY) == {
        "x-forwarded-for": "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7", "x-forwarded-host": "shop.example",
        "x-forwarded-proto": "https", "forwarded": 'for=1.1.1.1, for=192.0.2.7;host="gw.example:8080";proto=http',
        "via": "1.1 edge, 1.1 routing-gateway",
    }  # fmt: skip


def test_an_ipv6_peer_is_written_in_brackets_where_the_standard_says_so() -> None:
    found = written(peer="2001:db8::7", trusted=PROXY)
    assert found["x-forwarded-for"] == "2001:db8::7"
    assert found["forwarded"].startswith('for="[2001:db8::7]";')


@pytest.mark.parametrize("peer", [None, "not an address", "@"])
def test_a_peer_that_is_no_address_is_nobody_to_trust(peer: str | None) -> None:
    found = written(
        ("X-Forwarded-For", "1.1.1.1"), peer=peer, trusted=(*PROXY, ip_network("0.0.0.0/0"), ip_network("::/0"))
    )
    assert found["x-forwarded-for"] == (peer or "unknown")


def test_the_scheme_is_the_real_one_or_https_by_setting() -> None:
    assert written(scheme="https")["x-forwarded-proto"] == "https"
    forced = written(("X-Forwarded-Proto", "http"), trusted=PROXY, forces_https=True)
    assert forced["x-forwarded-proto"] == "https"
    assert forced["forwarded"].endswith("proto=https")


# --- To the client ----------------------------------------------------------------------------------------------------


def test_an_answers_headers_pass_but_those_of_its_connection_and_those_that_are_ours() -> None:
    given: Headers = [
        (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"connection", b"close, x-hop"), (b"x-hop", b"1"),
         (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"), (b"keep-alive", b"x"), (b"x-internal-host", b"10.0.0.1"),
         (b"x-request-id", b"theirs"),
        (b"x-route-version", b"9"), (b"x-route-id", b"9"), (b"x-served-model", b"9"), (b"via", b"1.0 theirs"),
         (b"server", b"nginx"),
        (b"location", b"/x"),
    ]  # fmt: skip
    assert to_client(given, [(b"x-request-id", b"id-1")]) == [
        (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"5"), (b"server", b"nginx"),
         (b"location", b"/x"),
        (b"via", b"1.0 theirs, 1.1 routing-gateway"), (b"x-request-id", b"id-1"),
    ]  # fmt: skip


# --- The public cases -------------------------------------------------------------------------------------------------


def cases() -> dict[str, dict[str, Any]]:
    read = json.loads(shared("cases/placements.json").read_text())["forward_headers"]
    return {case["id"]: case for case in read}


def test_the_public_cases_of_headers_hold() -> None:
    found = cases()
    # What they drop beside the connection's: `accept-encoding`, which passes here, because bodies are never unpacked.
    every = [(name, "x") for name in found["fh-all"]["given"] if name != "Host"]
    kept = {name for name, _ in passed(*every)}
    assert kept - {"accept-encoding", "content-length"} == set(found["fh-all"]["kept"])
    never = set(found["fh-never"]["never"]) - {"accept-encoding", "content-length"}
    assert {name for name, _ in passed(*((name, "x") for name in never if name != "host"))} == set()
