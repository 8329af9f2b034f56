"""Which headers pass, in both directions, and which are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from routes.engine.spi import HeaderOp
from routes.gateway.messages import Headers, Request

VIA = b"1.1 routing-gateway"
INTERNAL = b"x-internal-"
ROUTING = b"x-routing-"
#: Of one connection, not of the message (RFC 9110, 7.6.1), beside those that `Connection` names.
HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
#: What is told of where a request came from: written by us, kept from others only where they may be believed.
FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded"})
#: `expect` is between a client and us, who read the body anyway.
_NOT_UPSTREAM = HOP_BY_HOP | {b"host", b"expect"}
#: Written into answers by us.
OWN_ANSWER = frozenset({b"x-request-id", b"x-route-id", b"x-route-version", b"x-served-model"})
#: A key of this product, whatever header it stands in.
_is_key = re.compile(rb"(?:bearer[ \t]+)?rk_(?:management|gateway|traffic)_", re.IGNORECASE).match

Networks = tuple[IPv4Network | IPv6Network, ...]


def to_upstream(
    request: Request, *, trusted: Networks = (), forces_https: bool = False, http_version: str = "1.1"
) -> Headers:
    """The headers for the upstream, in their order, without its `Host`, which follows from the URL.

    What belongs to the client's connection, `x-internal-*`, `x-routing-*` and keys of this product stay here; so does
    what another server could take for one of these, or of those that are written here, because it reads `_` as `-`. From
    a `trusted` peer what it says of where the request came from is kept, and added to.
    """
    named = _named_in_connection(request.headers)
    believed: dict[bytes, list[bytes]] = {}
    passed: Headers = []
    via: list[bytes] = []
    for name, value in request.headers:
        alike = name.replace(b"_", b"-")
        if alike in FORWARDED:
            if alike == name:
                believed.setdefault(name, []).append(value)
        elif name == b"via":
            via.append(value)
        elif not (
            alike in _NOT_UPSTREAM
            or name in named
            or alike == b"via"
            or alike.startswith((INTERNAL, ROUTING))
            or _is_key(value)
        ):
            passed.append((name, value))
    if not _is_trusted(request.peer, trusted):
        believed.clear()
    passed += _forwarded(request, believed, forces_https)
    passed.append((b"via", b", ".join([*via, VIA])))
    return passed


def to_client(headers: Headers, written: Headers) -> Headers:
    """An upstream's headers without those of its connection, `x-internal-*`, and those that we write ourselves: these are
    `written`."""
    named = _named_in_connection(headers)
    via = [value for name, value in headers if name == b"via"]
    passed = [
        (name, value)
        for name, value in headers
        if name not in HOP_BY_HOP
        and name not in named
        and name not in OWN_ANSWER
        and name != b"via"
        and not name.startswith(INTERNAL)
    ]
    return [*passed, (b"via", b", ".join([*via, VIA])), *written]


def with_header_op(headers: Headers, op: HeaderOp) -> Headers:
    """The headers after this change."""
    name = op.name.encode("ascii")
    kept = headers if op.kind == "append" else [each for each in headers if each[0] != name]
    return kept if op.value is None else [*kept, (name, op.value.encode("ascii"))]


def _named_in_connection(headers: Headers) -> frozenset[bytes]:
    """Names that `Connection` says belong to the connection. Not the framing, which it cannot take away."""
    found = {name.strip().lower() for given, value in headers if given == b"connection" for name in value.split(b",")}
    return frozenset(found - {b"content-length", b"host"})


def _forwarded(request: Request, believed: dict[bytes, list[bytes]], forces_https: bool) -> Headers:
    peer = b"unknown" if request.peer is None else request.peer.encode("ascii", "replace")
    host = next((value for name, value in request.headers if name == b"host"), b"")
    proto = b"https" if forces_https else request.scheme.encode("ascii")
    before_host, before_proto = believed.get(b"x-forwarded-host"), believed.get(b"x-forwarded-proto")
    element = b'for=%s;host="%s";proto=%s' % (_node(peer), host, proto)
    return [
        (b"x-forwarded-for", b", ".join([*believed.get(b"x-forwarded-for", ()), peer])),
        (b"x-forwarded-host", host if before_host is None else b", ".join(before_host)),
        (b"x-forwarded-proto", proto if before_proto is None or forces_https else b", ".join(before_proto)),
        (b"forwarded", b", ".join([*believed.get(b"forwarded", ()), element])),
    ]


def _node(peer: bytes) -> bytes:
    """The peer as RFC 7239 writes it: IPv6 in brackets and quotes."""
    return b'"[%s]"' % peer if b":" in peer else peer


def _is_trusted(peer: str | None, trusted: Iterable[IPv4Network | IPv6Network]) -> bool:
    if peer is None:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in trusted)
