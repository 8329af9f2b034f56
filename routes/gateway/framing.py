"""What of HTTP is well-formed and means the same to us and to every upstream. The rest is refused, and nothing is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from routes.engine.errors import MalformedRequest, MethodNotAllowed
from routes.engine.path_patterns import check_path
from routes.gateway.messages import Headers, Request

MAX_HEADER_BYTES = 64 * 2**10
_MAX_LENGTH_DIGITS = 15
_is_method = re.compile(r"[A-Z][A-Z0-9_-]{0,31}").fullmatch
_is_query = re.compile(rb"[!-\"$-~]*").fullmatch
_is_digits = re.compile(rb"[0-9]+").fullmatch
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_read_host = re.compile(
    rf"(\[[0-9a-f:.]+\]|(?=.{{1,253}}(?::|\Z)){_LABEL}(?:\.{_LABEL})*)\.?(?::[0-9]{{1,5}})?"
).fullmatch
#: TRACE echoes what it was sent, keys too; CONNECT asks for a tunnel.
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})


def read_request(scope: Mapping[str, Any], body: AsyncIterator[bytes], request_id: str) -> Request:
    """The request of an ASGI scope. Raises `MalformedRequest`, `UnsafePath` and `MethodNotAllowed`.

    There is exactly one valid `Host`; a length is one number and does not stand beside a `Transfer-Encoding`, which is
    `chunked` and nothing else; the path is safe (`check_path`), the query visible ASCII.
    """
    method: str = scope["method"]
    if not _is_method(method):
        raise MalformedRequest("A method is a word in upper case.")
    if method in _REFUSED_METHODS:
        raise MethodNotAllowed(
            f"{method} is not passed on.", ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
        )
    headers: Headers = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    named = {b"host": hosts, b"content-length": lengths, b"transfer-encoding": codings}
    size = 0
    for given, value in scope["headers"]:
        name = given.lower()
        headers.append((name, value))
        size += len(name) + len(value)
        if name in named:
            named[name].append(value)
    if size > MAX_HEADER_BYTES:
        raise MalformedRequest(f"The headers of a request have at most {MAX_HEADER_BYTES:,} bytes together.")
    host = _host(hosts)
    has_body = _check_framing(lengths, codings)
    path = scope["raw_path"].decode("latin-1")
    check_path(path)
    query: bytes = scope["query_string"]
    if not _is_query(query):
        raise MalformedRequest("A query is visible ASCII without #; everything else is percent-encoded.")
    client = scope.get("client")
    return Request(
        method=method,
        path=path,
        query=query.decode("ascii"),
        headers=headers,
        body=body if has_body else None,
        peer=None if client is None else client[0],
        scheme=scope["scheme"],
        host=host,
        request_id=request_id,
    )


def _host(given: list[bytes]) -> str:
    if len(given) != 1:
        raise MalformedRequest(f"A request has one Host; this one has {len(given)}.")
    found = _read_host(given[0].decode("latin-1").lower())
    if found is None:
        raise MalformedRequest("Host is a name or an address, and perhaps a port.")
    return found[1]


def _check_framing(lengths: list[bytes], codings: list[bytes]) -> bool:
    """Whether there is a body."""
    if codings:
        if lengths:
            raise MalformedRequest("A request has a Content-Length or a Transfer-Encoding, not both.")
        if len(codings) > 1 or codings[0].strip().lower() != b"chunked":
            raise MalformedRequest("The only Transfer-Encoding is chunked.")
        return True
    if not lengths:
        return False
    if len(lengths) > 1 or not _is_digits(lengths[0]) or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise MalformedRequest("Content-Length is one number.")
    return int(lengths[0]) > 0
