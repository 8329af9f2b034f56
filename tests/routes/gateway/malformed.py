"""Requests that servers have read differently from one another: the known classes, and seeded mutations of good ones."""

import random
from collections.abc import Iterator

GOOD = b"POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: gw\r\n\r\n"


def _framings() -> Iterator[bytes]:
    """Two lengths, or one that is none, each before something that would be a second request."""
    for coding in (
        b"chunked", b" chunked", b"chunked ", b"\tchunked", b"Chunked", b"CHUNKED", b"xchunked", b"chunked, identity",
        b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"chunked;q=1", b'"chunked"',
        b"chun\x0bked",
        b"chunked\x00", b"\x00chunked", b"chunke\x64\r\n x",
    ):  # fmt: skip
        for length in (b"3", b"0", b"60"):
            yield (
                b"POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: %s\r\nTransfer-Encoding: %s\r\n\r\n"
                % (length, coding)
                + b"0\r\n\r\n"
                + SECOND
            )
        yield b"POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n" % coding + SECOND
    for length in (
        b"3, 3", b"3, 4", b"+3", b"-3", b"0x3", b"3.0", b"3e0", b" 3", b"3 ", b"03", b"3\x00", b"\x003", b"",
        b"abc", b"9" * 30,
        b"18446744073709551616", b"3;a", b"\xb3", b"3\r\nContent-Length: 4", b"3\r\ncontent-length: 3",
    ):  # fmt: skip
        yield b"POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: %s\r\n\r\nabc" % length + SECOND
    for name in (
        b"Content-Length ",
        b"Content-Length\t",
        b" Content-Length",
        b"Content_Length",
        b"Content-Length\x00",
        b"Content\r\n-Length",
    ):
        yield b"POST /a HTTP/1.1\r\nHost: gw\r\n%s: 3\r\n\r\nabc" % name + SECOND
    for name in (
        b"Transfer-Encoding ",
        b"Transfer_Encoding",
        b"Transfer-Encoding\x0b",
        b" Transfer-Encoding",
        b"X: y\rTransfer-Encoding",
    ):
        yield b"POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\n%s: chunked\r\n\r\n0\r\n\r\n" % name + SECOND


def _chunks() -> Iterator[bytes]:
    head = b"POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (
        b"3\nabc\n0\n\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nab\r\n0\r\n\r\n", b"zz\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n",
        b"3;a=\r\nabc\r\n0\r\n\r\n", b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n',
        b"10000000000000003\r\nabc\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n", b"3\r\nabc\r\n0\r\nHost: evil\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n", b"3\r\nabc\r\n00\r\n\r\n",
        b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n", b"3\r\nabc\r\n0\r\n\r", b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    ):  # fmt: skip
        yield head + body + SECOND
        yield head + body


def _heads() -> Iterator[bytes]:
    for line in (
        b"GET /a", b"GET /a HTTP/1.1 x", b"GET  /a HTTP/1.1", b"GET /a  HTTP/1.1", b" GET /a HTTP/1.1",
        b"GET\t/a HTTP/1.1", b"GET /a HTTP/2.0",
        b"GET /a HTTP/1.2", b"GET /a HTTP/0.9", b"GET /a http/1.1", b"GET /a HTTP/1.10", b"GET a HTTP/1.1",
        b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1",
        b"GET http://evil/a HTTP/1.1", b"GET http://gw/../a HTTP/1.1", b"GET //evil/a HTTP/1.1",
        b"CONNECT gw:80 HTTP/1.1", b"TRACE /a HTTP/1.1",
        b"GET /a/../b HTTP/1.1", b"GET /a/%2e%2e/b HTTP/1.1", b"GET /a%2fb HTTP/1.1", b"GET /a%5cb HTTP/1.1",
        b"GET /a\\b HTTP/1.1",
        b"GET /a%00b HTTP/1.1", b"GET /a\x00b HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET /a?b#c HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1", b"GET /a%zz HTTP/1.1",
        b"GET /a;..;/b HTTP/1.1", b"GET /..;/b HTTP/1.1", b"get /a HTTP/1.1", b"G\x00T /a HTTP/1.1",
        b"GET /a\rb HTTP/1.1", b"",
        b"PRI * HTTP/2.0", b"GET " + b"/" * 100_000 + b" HTTP/1.1",
    ):  # fmt: skip
        yield line + b"\r\nHost: gw\r\n\r\n"
    for fields in (
        b"", b"Host: gw\r\nHost: gw", b"Host: gw\r\nhost: evil", b"Host: ", b"Host: a b", b"Host: a,b",
        b"Host: a@b", b"Host: gw\\evil", b"Host: gw/evil",
        b"Host: gw\r\n X: folded", b"Host: gw\r\nX: a\r\n b", b"Host : gw", b"Host: gw\r\nX: a\rb",
        b"Host: gw\r\nX: a\x00b", b"Host: gw\r\n: x",
        b"Host: gw\r\nX", b"Host: gw\r\nX Y: z", b"Host: gw\nX: y",
        b"Host: gw\r\nX: a\n\nGET /smuggled HTTP/1.1\r\nHost: gw", b"Host: gw\r\n\xe9: x",
        b"Host: gw\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        b"Host: gw\r\nUpgrade: websocket\r\nConnection: Upgrade",
        b"Host: gw\r\nExpect: 200-continue", b"Host: gw\r\nX: " + b"y" * 70_000, b"\r\n".join([b"Host: gw",
        *([b"X: y"] * 5_000)]),
    ):  # fmt: skip
        yield b"GET /a HTTP/1.1\r\n" + fields + b"\r\n\r\n"
    yield b"GET /a HTTP/1.1\nHost: gw\n\n" + SECOND
    yield b"GET /a HTTP/1.1\rHost: gw\r\r" + SECOND
    yield b"POST /a HTTP/1.0\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND
    yield b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"
    yield b"\r\n\r\n" + SECOND


def known() -> list[bytes]:
    return [*_framings(), *_chunks(), *_heads()]


_HEADS = [
    b"POST /a HTTP/1.1\r\nHost: gw\r\n", b"PUT /a?b=c HTTP/1.1\r\nHost: gw:80\r\nAccept: */*\r\n",
    b"DELETE /a HTTP/1.1\r\nHost: gw\r\n",
    b"POST /a HTTP/1.0\r\nHost: gw\r\nConnection: keep-alive\r\n", b"POST http://gw/a HTTP/1.1\r\nHost: gw\r\n",
    b"POST /a HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\n", b"POST /a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n",
    b"POST /a HTTP/1.1\r\nHost: gw\r\nConnection: content-length, x\r\n",
]  # fmt: skip
_BODIES = [
    b"Content-Length: 3\r\n\r\nabc", b"Content-Length: 0\r\n\r\n", b"\r\n",
    b"Content-Length: 40\r\n\r\n" + SECOND + b"12345",
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX-T: 1\r\n\r\n",
    b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
]  # fmt: skip
_FIELDS = [
    b"Content-Length: 0\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Host: evil\r\n", b"Connection: host\r\n", b"Connection: transfer-encoding\r\n",
    b"X: y\n", b" folded\r\n", b"Content-Length:\r\n 3\r\n", b"Content_Length: 9\r\n", b"Upgrade: h2c\r\n", b"\r\n", b"\n",
]  # fmt: skip


def mutated(random_: random.Random) -> bytes:
    """A request, with another one behind it or not, in which some bytes were changed, added, dropped, repeated or moved,
    or which ends too early."""
    data = bytearray(random_.choice([GOOD, CHUNKED, random_.choice(_HEADS) + random_.choice(_BODIES)]))
    data += random_.choice([b"", SECOND])
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data))
        end = min(len(data), at + random_.randint(1, 20))
        match random_.randrange(8):
            case 0:
                data[at] = random_.randrange(256)
            case 1:
                data.insert(at, random_.choice(b"\r\n\t \x00:,;0123456789abcdefghij\x0b\x0c\x7f\x80\xff"))
            case 2 if len(data) > 1:
                del data[at]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                moved = data[at:end]
                del data[at:end]
                to = random_.randint(0, len(data))
                data[to:to] = moved
            case 5:
                lines = [found for found in range(len(data)) if data.startswith(b"\r\n", found)] or [0]
                to = random_.choice(lines) + 2
                data[to:to] = random_.choice(_FIELDS)
            case 6 if random_.random() < 0.2:
                del data[max(1, at) :]
            case _:
                data[at : at + 1] = random_.choice(
                    [b"\r\n", b"\n", b"\r", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"]
                )
    return bytes(data)


def in_pieces(random_: random.Random, data: bytes) -> list[bytes]:
    """The same message as it may come over a network: mostly at once, now and then cut where a reader has to wait."""
    if random_.random() < 0.75:
        return [data]
    cuts = sorted(random_.randint(0, len(data)) for _ in range(random_.randint(1, 3)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
