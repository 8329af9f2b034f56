"""Upstreams that behave, and upstreams that do not: raw sockets, so that nothing helps them to be correct."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Behaviour = Callable[["Upstream", "Seen", Writer], Awaitable[None]]


@dataclass
class Seen:
    """A request as it came: its head, byte for byte, and its body without chunk frames, or of one that was not to be kept
    its size alone."""

    head: bytes
    body: bytes
    size: int = 0

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [(name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each == name]
        return ", ".join(found) if found else None


async def ok(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")


def says(raw: bytes, *, closes: bool = False) -> Behaviour:
    """Answers these bytes."""

    async def behave(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
        writer.write(raw)
        if closes:
            await writer.drain()
            writer.close()

    return behave


async def hangs(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    await asyncio.Event().wait()


async def hangs_in_the_answer(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await writer.drain()
    await asyncio.Event().wait()


async def resets(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    reset(writer)


async def resets_in_the_answer(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


def reset(writer: Writer) -> None:
    """Close a connection so that the other side sees a reset."""
    reset_when_closed(writer.get_extra_info("socket"))
    writer.transport.abort()


def reset_when_closed(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


cut = says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", closes=True)
cut_chunked = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", closes=True)
bad_chunk = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", closes=True)
garbage = says(b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n", closes=True)
nothing = says(b"", closes=True)
redirects = says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/inside\r\nContent-Length: 0\r\n\r\n")


async def endless_headers(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"X-More: " + b"x" * 1_000 + b"\r\n")
            await writer.drain()


async def endless_header(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-More: ")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()


async def early_hints_for_ever(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)


async def bomb(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
    packed = gzip.compress(bytes(20_000_000))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def dripping(count: int) -> Behaviour:
    """So many server-sent events, one each time that the test lets it go on."""

    async def drips(upstream: "Upstream", seen: Seen, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(count):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            await upstream.allowed_to_go_on()
        writer.write(b"0\r\n\r\n")

    return drips


drips = dripping(3)


class Upstream:
    """A server in a thread of its own. `seen` are the requests that came whole, `connections` how many there were, `broken`
    what came of those that were broken off by the other side."""

    def __init__(
        self,
        behaviour: Behaviour = ok,
        host: str = "127.0.0.1",
        *,
        tls: ssl.SSLContext | None = None,
        keeps_bodies: bool = True,
    ) -> None:
        self.behaviour = behaviour
        self._keeps_bodies = keeps_bodies
        self._tls = tls
        self.seen: list[Seen] = []
        self.partial: list[bytes] = []
        self.connections = 0
        self.gone = threading.Event()
        #: While this is not set, nothing of a body is read.
        self.pause = threading.Event()
        self.pause.set()
        self._host = host
        self._go_on = threading.Semaphore(0)
        self._is_ready = threading.Event()
        self.port = 0

    def __enter__(self) -> "Upstream":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def go_on(self) -> None:
        self._go_on.release()

    async def allowed_to_go_on(self) -> None:
        while not self._go_on.acquire(blocking=False):
            await asyncio.sleep(0.005)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[Any]] = set()

        async def connected(reader: Reader, writer: Writer) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.transport.abort() if self._stop.is_set() else writer.close()

        server = await asyncio.start_server(connected, self._host, 0, limit=2**17, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._stop.wait()
        await asyncio.sleep(0.02)  # a connection that is being taken just now is one that can be closed then
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.abort_clients()  # also those that nobody has begun to serve
        await server.wait_closed()
        # What was aborted is closed by the loop; a handshake that failed, when its alert was read.
        await asyncio.sleep(0 if self._tls is None else 0.2)

    async def _connection(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    self.partial.append(error.partial)
                return
            seen = Seen(head[:-2], b"")
            while not self.pause.is_set():
                await asyncio.sleep(0.01)
            try:
                parts = []
                async for part in _body(reader, seen):
                    seen.size += len(part)
                    if self._keeps_bodies:
                        parts.append(part)
                seen.body = b"".join(parts)
            except asyncio.IncompleteReadError:
                self.partial.append(head)
                self.gone.set()
                return
            self.seen.append(seen)
            behaving = asyncio.ensure_future(self.behaviour(self, seen, writer))
            leaving = asyncio.ensure_future(_left(writer))
            done, _ = await asyncio.wait({behaving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if behaving not in done:
                behaving.cancel()
                self.gone.set()
                return
            behaving.result()
            await writer.drain()
            if writer.is_closing():
                return


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's certificate for localhost that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def _left(writer: Writer) -> None:
    """Ends when the other side has closed."""
    transport: Any = writer.transport
    reader = transport.get_protocol()._stream_reader
    while not reader.at_eof() and not transport.is_closing():
        if reader._eof:
            return
        await asyncio.sleep(0.005)


async def _body(reader: Reader, seen: Seen) -> AsyncIterator[bytes]:
    if (seen.header("transfer-encoding") or "").lower() == "chunked":
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            part = await reader.readexactly(size + 2)
            if not size:
                return
            yield part[:-2]
    elif (length := seen.header("content-length")) is not None:
        left = int(length)
        while left:
            part = await reader.read(min(left, 2**16))
            if not part:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(part)
            yield part


@dataclass
class Listener:
    """Counts who connects, and says nothing."""

    sock: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    count: int = 0

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def connections(self) -> int:
        """How many there were so far."""
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.sock.accept()[0].close()
                self.count += 1
        return self.count


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()
    try:
        yield listener
    finally:
        listener.sock.close()
