"""`UpstreamClient`: sends a request to an upstream, byte for byte, and hands its answer over before the body is there."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import struct
import termios
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from routes.engine import Timeouts
from routes.engine.egress import PrivateUpstream, check_addresses, literal_address
from routes.engine.errors import EgressDenied, UpstreamFailed, UpstreamTimeout
from routes.gateway.messages import Headers, Response

CONNECT_SECONDS = 5.0
FIRST_BYTE_SECONDS = 30.0
IDLE_SECONDS = 60.0
#: A line of an answer's head. Nothing that is longer has been seen but from what tries to fill memory.
_MAX_HEADER_LINE = 32 * 2**10
_CHUNK = 2**16
_DNS_SECONDS = 10
#: Lists of private upstreams whose connections are kept at a time.
_MAX_POOLS = 64
_NO_HEADERS_OF_ITS_OWN = frozenset({"User-Agent", "Accept", "Accept-Encoding", "Content-Type"})
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_PORTS = {"http": 80, "https": 443}

Guard = tuple[PrivateUpstream, ...] | None
#: (address family, address) of a name, at a port.
Lookup = Callable[[str, int, int], Awaitable[list[tuple[int, str]]]]


async def look_up(host: str, port: int, family: int) -> list[tuple[int, str]]:
    """Every address that the system knows of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    return [(info[0], str(info[4][0])) for info in found]


class UpstreamClient:
    """One for each process. Connections are kept, and each list of private upstreams has its own: on one that was allowed
    to an organisation no other rides."""

    def __init__(self, *, defaults: Timeouts | None = None, lookup: Lookup = look_up) -> None:
        given = {} if defaults is None else defaults.to_dict()
        self._connect_seconds = given.get("connect_seconds", CONNECT_SECONDS)
        self._first_byte_seconds = given.get("first_byte_seconds", FIRST_BYTE_SECONDS)
        self._idle_seconds = given.get("idle_seconds", IDLE_SECONDS)
        self._lookup = lookup
        self._pools: OrderedDict[Guard, _Pool] = OrderedDict()

    async def open(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: AsyncIterator[bytes] | bytes | None,
        *,
        timeouts: Timeouts,
        private_upstreams: Guard,
        last_moment: float | None = None,
    ) -> Response:
        """The head of the answer, its body still to come, raw as it was sent: not unpacked, redirects not followed.

        `url` is sent as it is written. A body goes out whole where it is bytes, else in pieces as it comes, with the length
        that `headers` tell, else chunked. `private_upstreams` None: the upstream is the operator's own and any address is
        good; else every address is judged, and connected to is what was judged. After `last_moment`, by the event loop's
        clock, nothing is sent; and of a request with one that has no answer, whatever the reason, nothing arrives that has
        not arrived.

        Raises `UpstreamFailed` for what cannot be reached, breaks off, or is not HTTP, `UpstreamTimeout`, `EgressDenied`,
        and what `body` raises. Reading the answer's body raises the first two.
        """
        guard_literal(url, private_upstreams)
        connect = timeouts.connect_seconds or self._connect_seconds
        first_byte = timeouts.first_byte_seconds or self._first_byte_seconds
        pool = self._pool(private_upstreams)
        # What goes out in one write needs no pieces. A larger one may take its time, and is sent like one that comes.
        given = _in_pieces(body) if isinstance(body, bytes) and len(body) > _CHUNK else body
        sent = _Body(None if isinstance(given, bytes) else given, _length(headers))
        # The head has to come so long after the last that we sent; how long a client takes to send is not its concern.
        deadline = asyncio.timeout(first_byte)
        fence = None if last_moment is None else _Fence(last_moment)
        before = _fence.set(fence)
        try:
            async with deadline:
                answer = await pool.session.request(
                    method,
                    URL(url, encoded=True),
                    headers=CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers),
                    data=given if given is None or isinstance(given, bytes) else sent.pieces(deadline, first_byte),
                    allow_redirects=False,
                    timeout=_connecting_within(connect),
                )
                sent.is_answered = True
        except BaseException as error:
            pool.left()
            raise self._said(error, sent) from error
        finally:
            _fence.reset(before)
        headers = [(name.lower(), value) for name, value in answer.raw_headers]
        if not _is_passed_on(answer.status, headers):
            answer.close()
            pool.left()
            raise UpstreamFailed("The upstream did not answer with HTTP.")
        idle = timeouts.idle_seconds or self._idle_seconds

        if fence is not None:
            fence.stand(sent)

        async def close() -> None:
            if not answer.closed:
                answer.close()
            pool.left()

        return Response(answer.status, answer.reason or "", headers, self._body(answer, idle), close)

    async def aclose(self) -> None:
        """Close what is idle now, and the rest when it ends."""
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await pool.retire()

    def _pool(self, guard: Guard) -> _Pool:
        pool = self._pools.get(guard)
        if pool is None:
            pool = self._pools[guard] = _Pool(_Resolver(guard, self._lookup))
            if len(self._pools) > _MAX_POOLS:
                oldest = next(key for key in self._pools if key is not None and key != guard)
                self._pools.pop(oldest).retire_later()
        self._pools.move_to_end(guard)
        pool.under_way += 1
        return pool

    async def _body(self, answer: aiohttp.ClientResponse, idle: float) -> AsyncIterator[bytes]:
        try:
            content = answer.content
            while True:
                # What is there already needs no clock.
                data = content.read_nowait()
                if not data:
                    if content.at_eof():
                        return
                    async with asyncio.timeout(idle):
                        data = await content.readany()
                    if not data:
                        return
                yield data
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream stopped in the middle of its answer.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFailed("The upstream broke off in the middle of its answer.") from error

    @staticmethod
    def _said(error: BaseException, sent: _Body) -> BaseException:
        """What an error of the client library means. Never with an address in it, because it is told to clients."""
        if sent.failure is not None:  # the body's own: whoever sends it broke off
            return sent.failure
        if isinstance(error, TimeoutError):
            return UpstreamTimeout("The upstream did not answer in time.")
        if isinstance(error, aiohttp.ClientConnectorError):
            refused = UpstreamFailed("The upstream cannot be reached.")
            refused.retryable = True  # type: ignore[misc]  # nothing of the request was sent
            return refused
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            return UpstreamFailed("The upstream broke off, or did not answer with HTTP.")
        return error


def guard_literal(url: str, guard: Guard) -> None:
    """Judges a host that is an address itself, which no resolver would see. Raises `EgressDenied`."""
    if guard is None:
        return
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if port is None or not parts.hostname or parts.username is not None:
        raise EgressDenied("The upstream is no http or https URL with a host.")
    address = literal_address(parts.hostname)
    if address is not None:
        check_addresses([address], port, guard)


def _is_passed_on(status: int, headers: Headers) -> bool:
    """Whether this can be said again. A server that is made to say a status below 100 ends, with all its requests. A 101 is
    none, because nobody was asked to speak another protocol; nor was a coding of the transfer asked for, which the client
    would not hear of."""
    if status < 200 or any(map(_has_control, (value for _, value in headers))):
        return False
    return all(value.strip().lower() == b"chunked" for name, value in headers if name == b"transfer-encoding")


@lru_cache(maxsize=64)
def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)


async def _in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


class _Pool:
    """The connections of one list of private upstreams."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self.under_way = 0
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None
        self.session = aiohttp.ClientSession(
            connector=_Connector(resolver=resolver, limit=0, ttl_dns_cache=_DNS_SECONDS),
            auto_decompress=False,
            skip_auto_headers=_NO_HEADERS_OF_ITS_OWN,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # no proxy, no .netrc: where a request goes is decided by rules alone
            max_line_size=_MAX_HEADER_LINE,
            max_field_size=_MAX_HEADER_LINE,
            read_bufsize=_CHUNK,
        )

    def left(self) -> None:
        self.under_way -= 1
        if self._is_retired and not self.under_way:
            self._closing = asyncio.ensure_future(self.session.close())

    def retire_later(self) -> None:
        self._is_retired = True
        if not self.under_way:
            self._closing = asyncio.ensure_future(self.session.close())

    async def retire(self) -> None:
        self._is_retired = True
        if not self.under_way:
            await self.session.close()


class _Fence:
    """The last moment of a request. While the request is on a connection, any end of that is a reset, also where this
    process is killed: one that is closed in peace delivers first what waits in it, here and in the system, however long its
    other end reads nothing."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def pass_to(self, connection: aiohttp.connector.Connection) -> None:
        """Raises `TimeoutError` after the last moment: no timer runs while the event loop stands still, and what it awaited
        goes on first."""
        if asyncio.get_running_loop().time() >= self._at:
            connection.close()
            raise TimeoutError
        transport = connection.transport
        if transport is None:  # closed by its other end; nothing is sent on it
            return
        sock = transport.get_extra_info("socket")
        with suppress(OSError):  # closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOT_AT_ALL)
        self._transport = transport
        connection.add_callback(partial(self._leave, transport, sock))

    def stand(self, sent: _Body) -> None:
        """The answer is there. Where it came early, what was not taken by the last moment is not sent any more."""
        transport = self._transport
        if transport is None or (sent.is_over and not _waits(transport)):
            return

        def cut() -> None:
            if not sent.is_over or _waits(transport):
                transport.abort()

        self._timer = asyncio.get_running_loop().call_at(self._at, cut)

    def _leave(self, transport: asyncio.Transport, sock: Any) -> None:
        """The connection is closed, or serves others from now on."""
        if self._transport is transport:
            self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if _waits(transport):
            transport.abort()
        else:
            with suppress(OSError):  # closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _IN_PEACE)


#: How long a socket goes on sending after it was closed: its end is a reset, or waits for nothing.
_NOT_AT_ALL = struct.pack("ii", 1, 0)
_IN_PEACE = struct.pack("ii", 0, 0)


def _waits(transport: asyncio.Transport) -> bool:
    """Whether something was written that the other end's system has not taken."""
    if transport.get_write_buffer_size():  # uvloop writes when its turn ends, so what waits here may be all there is
        return True
    with suppress(OSError, ValueError):  # closed
        return any(fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4)))
    return False


#: Of the request that the present task sends.
_fence: ContextVar[_Fence | None] = ContextVar("fence", default=None)


class _Connector(aiohttp.TCPConnector):
    """Asks a request's fence right before it is sent, again where a kept connection had died and another is tried."""

    async def connect(self, *given: Any, **more: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*given, **more)
        if (fence := _fence.get()) is not None:
            fence.pass_to(connection)
        return connection


class _Resolver(AbstractResolver):
    """Answers the very addresses that it judged, so that a name cannot change its mind in between."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        self._guard = guard
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._lookup(host, port, family)
        if self._guard is not None:
            check_addresses([address for _, address in found], port, self._guard)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
            for family, address in found
        ]

    async def close(self) -> None:
        return


class _Body:
    """The request's body on its way out: as long as was told, and never sent twice."""

    def __init__(self, body: AsyncIterator[bytes] | None, length: int | None) -> None:
        self._body = body
        self._length = length
        self._is_begun = False
        #: Whether all of it was handed to the connection.
        self.is_over = body is None
        #: Whether the head of the answer is there, which may be before all of the body was sent; nothing waits for it then.
        self.is_answered = False
        #: What whoever sends the body raised.
        self.failure: BaseException | None = None

    async def pieces(self, deadline: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
        if self._is_begun:  # the client library tries a kept connection again that was closed; half of a body is none
            raise aiohttp.ClientPayloadError
        self._is_begun = True
        assert self._body is not None
        loop = asyncio.get_running_loop()
        sent = 0
        while True:
            if not self.is_answered:
                deadline.reschedule(None)
            try:
                data = await anext(self._body, None)
            except BaseException as error:
                self.failure = error
                raise
            if not self.is_answered:
                deadline.reschedule(loop.time() + seconds)
            if data is None:
                break
            sent += len(data)
            yield data
        if self._length is not None and sent != self._length:
            raise aiohttp.ClientPayloadError
        self.is_over = True


def _length(headers: Headers) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)
