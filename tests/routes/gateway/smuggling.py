"""Messages against a gateway, and what its upstream saw of each: the suite tries a few, a campaign many."""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import batched

from tests.routes.gateway import malformed
from tests.routes.gateway.running import Gateway
from tests.routes.gateway.stubs import Seen, Upstream, Writer

AT_A_TIME = 20
#: How long a client waits for more of an answer.
SECONDS = 0.5
_is_line = re.compile(r"[A-Z][A-Z0-9_-]* /[!-\"$-~]* HTTP/1\.1").fullmatch
_is_field = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t \x21-\x7e\x80-\xff]*").fullmatch
_numbers_in = re.compile(rb"\r\nx-seen: ([0-9]+)\r\n", re.IGNORECASE).findall
_is_size = re.compile(rb"[0-9A-Fa-f]{1,15}").fullmatch


async def numbers(upstream: Upstream, seen: Seen, writer: Writer) -> None:
    """Answers with the number that a request has among those that came."""
    number = next(index for index, each in enumerate(upstream.seen) if each is seen)
    writer.write(b"HTTP/1.1 200 OK\r\nX-Seen: %d\r\nContent-Length: 2\r\n\r\n" % number)
    if not seen.line.startswith("HEAD "):
        writer.write(b"ok")


def assert_well_formed(seen: Seen) -> None:
    """One request that every server reads alike."""
    assert _is_line(seen.line), seen.head
    assert all(_is_field(line) for line in seen.head.split(b"\r\n")[1:] if line), seen.head
    names = [name for name, _ in seen.headers]
    assert names.count("host") == 1, seen.head
    assert names.count("content-length") + names.count("transfer-encoding") <= 1, seen.head
    assert seen.header("transfer-encoding") in (None, "chunked"), seen.head
    assert ".." not in seen.line.split("?")[0].split("/"), seen.head
    assert "%2f" not in seen.line.split("?")[0].lower()


# --- Reading by the book ----------------------------------------------------------------------------------------------


def bodies_in(data: bytes) -> list[bytes]:
    """The bodies of the requests that a message holds, as RFC 9112 reads it: where one is in doubt, or its end is, nothing
    after it is a request, because whoever reads must not guess. A reader may refuse more than this one, and never find
    more."""
    found = []
    while (end := _end_of_head(data)) is not None:
        lines = re.split(rb"\r?\n", data[:end].strip(b"\r\n"))
        data = data[end:]
        fields = [
            (name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines[1:])
        ]
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        lengths = {value for name, value in fields if name == b"content-length"}
        whole: tuple[bytes, bytes] | None = b"", data
        if codings:
            whole = _chunks(data) if codings == [b"chunked"] else None
        elif lengths:
            length = lengths.pop()
            size = int(length) if re.fullmatch(rb"[0-9]{1,18}", length) else None
            whole = None if lengths or size is None or len(data) < size else (data[:size], data[size:])
        if whole is None:
            return found
        body, data = whole
        found.append(body)
        named = b",".join(value.lower() for name, value in fields if name == b"connection")
        options = {option.strip(b" \t") for option in named.split(b",")}
        is_old = not lines[0].endswith(b" HTTP/1.1")
        if b"close" in options or (is_old and b"keep-alive" not in options) or (codings and (lengths or is_old)):
            return found
    return found


def _end_of_head(data: bytes) -> int | None:
    start = len(data) - len(data.lstrip(b"\r\n"))
    found = re.compile(rb"\n\r?\n").search(data, start)
    return None if found is None else found.end()


def _chunks(data: bytes) -> tuple[bytes, bytes] | None:
    """The body of these chunks and what is behind them; None where they break off or break a rule."""
    body = b""
    while True:
        line, found, data = data.partition(b"\r\n")
        size, _, _ = line.partition(b";")
        if not found or not _is_size(size.rstrip(b" \t")):
            return None
        count = int(size, 16)
        if not count:
            break
        if data[count : count + 2] != b"\r\n":
            return None
        body, data = body + data[:count], data[count + 2 :]
    while True:  # trailers
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None
        if not line:
            return body, data


# --- Trying -----------------------------------------------------------------------------------------------------------


def messages(seed: int, count: int) -> Iterator[list[bytes]]:
    """All that is known, and then so many more as make up the count; each in the pieces in which it is sent."""
    random_ = random.Random(seed)
    known = malformed.known()
    yield from ([raw] for raw in known)
    for _ in range(count - len(known)):
        yield malformed.in_pieces(random_, malformed.mutated(random_))


def send_all(
    gateway: Gateway, upstream: Upstream, sent: Iterator[list[bytes]], say: Callable[[str], None] = lambda line: None
) -> Counter[str]:
    """What came of the messages, counted. Raises `AssertionError` where the upstream saw anything but well-formed requests,
    of each message those at most that it holds by the book, with the bodies that they have there; or where an answer came
    to somebody else."""
    upstream.behaviour = numbers
    counts = Counter[str]()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for batch in batched(sent, AT_A_TIME, strict=False):
            _send(gateway, upstream, batch, pool, counts)
            if counts["messages"] % 1000 < AT_A_TIME:
                say(", ".join(f"{count:,} {what}" for what, count in counts.items()))
    return counts


def _send(
    gateway: Gateway, upstream: Upstream, batch: Sequence[list[bytes]], pool: ThreadPoolExecutor, counts: Counter[str]
) -> None:
    upstream.seen.clear()
    upstream.partial.clear()
    # Each from an address of its own, by which the upstream tells whose a request is.
    addresses = [f"127.0.1.{number + 1}" for number in range(len(batch))]
    answers = list(pool.map(lambda pieces, address: _ask(gateway, pieces, address), batch, addresses))
    seen = list(upstream.seen)
    for each in seen:
        assert_well_formed(each)
    for partial in upstream.partial:  # what broke off was begun well
        assert _is_line(partial.split(b"\r\n")[0].decode("latin-1")), partial
    assert {each.header("x-forwarded-for") for each in seen} <= set(addresses)
    for pieces, answer, address in zip(batch, answers, addresses, strict=True):
        raw = b"".join(pieces)
        own = [number for number, each in enumerate(seen) if each.header("x-forwarded-for") == address]
        allowed = iter(bodies_in(raw))
        for number in own:
            # In their order, some of them perhaps refused.
            assert any(seen[number].body == body for body in allowed), f"{raw!r} became {seen[number]}"
        answered = [int(number) for number in _numbers_in(answer)]
        assert set(answered) <= set(own), f"{raw!r} was answered what is not its own: {answer!r}"
        assert len(answered) == len(set(answered)), f"{raw!r} was answered twice: {answer!r}"
        counts["messages"] += 1
        counts["answered"] += bool(answer)
        counts["passed on as a request"] += bool(own)
        counts["passed on as two"] += len(own) > 1
        counts["passed on, and broken off before the answer"] += len(answered) < len(own)


def _ask(gateway: Gateway, pieces: list[bytes], address: str) -> bytes:
    got = b""
    with suppress(TimeoutError, ConnectionError), gateway.connect(SECONDS, address) as sock:
        for piece in pieces:
            sock.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.01)
        while data := sock.recv(2**16):
            got += data
    return got
