"""The end of a write that was admitted: after it nothing of the write is sent, and nothing of it arrives."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import pytest
import uvloop

from routes.engine.errors import RoutingError
from routes.engine.spi import Target
from routes.gateway.messages import Response
from routes.gateway.upstream import UpstreamClient
from tests.routes.gateway.loops import in_a_loop
from tests.routes.gateway.stubs import Upstream, says
from tests.routes.gateway.test_placed import SERVICE, A, World
from tests.routes.gateway.test_router import FakeClient, a_request

Loop = Callable[[], asyncio.AbstractEventLoop]


class Slow(FakeClient):
    """Takes its time before it answers, or answers before it has taken the body."""

    def __init__(self, seconds: float = 0, *, is_early: bool = False) -> None:
        super().__init__(201)
        self.seconds, self.is_early = seconds, is_early
        self.taken: list[bytes] = []
        self.left: Any = None

    async def open(self, *given: Any, **more: Any) -> Response:
        if self.is_early:
            self.left = given[3]
            return await super().open(*given[:3], None, **more)
        await asyncio.sleep(self.seconds)
        return await super().open(*given, **more)


class Stalled:
    """An upstream that reads nothing until it is asked to, and whose system takes little for it meanwhile."""

    def __enter__(self) -> Self:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listening.settimeout(10)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()

    def world(self, client: UpstreamClient, *, write_seconds: float = 60) -> World:
        """A service whose writes all go here."""
        world = World(client=client, write_seconds=write_seconds)
        world.table.set("*", Target("here", "x", self.url))
        return world

    def accept(self) -> socket.socket:
        connection, _ = self._listening.accept()
        connection.settimeout(10)
        return connection


@in_a_loop
async def test_a_write_that_takes_longer_than_a_barrier_is_broken_off_and_a_read_is_not() -> None:
    world = World(client=Slow(0.3), write_seconds=0.1)
    world.table.set("*", A)
    assert await world() == (504, "upstream_timeout", False)
    assert world.sent == []
    assert await world(method="GET") == 201


@in_a_loop
async def test_nothing_of_a_write_is_sent_after_its_time_though_the_upstream_has_answered() -> None:
    client = Slow(is_early=True)
    world = World(client=client, write_seconds=0.1)
    world.table.set("*", A)

    async def dripping() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.2)
        yield b"late"

    request = replace(a_request("/all", method="PUT", body=b""), body=dripping())
    response = await world.router.handle(SERVICE, request)
    assert response is not None
    assert response.status == 201
    assert await anext(client.left) == b"first"
    with pytest.raises(RoutingError, match="half a minute"):
        await anext(client.left)


@in_a_loop
async def test_a_write_is_not_begun_after_its_time_though_the_event_loop_stood_still_meanwhile() -> None:
    """On a connection that was kept, so that nothing is awaited from the gate to the first byte."""
    client = UpstreamClient()
    with Upstream(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")) as upstream:
        world = World(client=client, write_seconds=0.2)
        world.table.set("*", Target("here", "x", upstream.url))
        assert await world(method="POST") == 200
        for method in ("PUT", "DELETE"):
            world.store.steps = [None, lambda: time.sleep(0.3)]
            assert await world(method=method) == (504, "upstream_timeout", False)
        assert await world(method="PATCH") == 200
        assert [seen.line.split(" ")[0] for seen in upstream.seen] == ["POST", "PATCH"]
    await client.aclose()


#: What fits the buffers of the system, and what waits in the gateway's own as well.
SIZES = pytest.mark.parametrize("size", [300_000, 8_000_000])
#: The loop that is Python's own, and the one that `make run` and the container have.
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@SIZES
@LOOPS
@pytest.mark.parametrize("why", ["it is too late", "the client goes", "the upstream says no more"])
def test_a_write_that_was_given_up_does_not_arrive_when_its_upstream_reads_again(
    why: str, loop: Loop, size: int
) -> None:
    """What was written waits in buffers of both sides, where a connection that is closed in peace delivers it all."""

    async def test() -> None:
        client = UpstreamClient()
        with Stalled() as upstream:
            world = upstream.world(client, write_seconds=60 if why == "the client goes" else 0.3)
            writing = asyncio.create_task(world(method="POST", body=b"x" * size))
            connection = await asyncio.to_thread(upstream.accept)
            if why == "the client goes":
                await asyncio.sleep(0.3)
                writing.cancel()
                with suppress(asyncio.CancelledError):
                    await writing
            else:
                if why == "the upstream says no more":
                    connection.shutdown(socket.SHUT_WR)
                status, code, _ = await writing
                assert (status, code) in [(504, "upstream_timeout"), (502, "upstream_failed")]
            await asyncio.sleep(0.1)
            assert len(await asyncio.to_thread(_read_to_the_end, connection)) < size
        await client.aclose()

    in_a_loop(test, loop)()


@SIZES
@LOOPS
@pytest.mark.parametrize("why", ["it is too late", "the client goes", "the answer is whole"])
def test_a_write_that_was_answered_early_and_not_taken_does_not_arrive_later(why: str, loop: Loop, size: int) -> None:
    async def test() -> None:
        client = UpstreamClient()
        with Stalled() as upstream:
            world = upstream.world(client, write_seconds=0.3 if why == "it is too late" else 60)
            request = a_request("/all", method="POST", body=b"x" * size)
            writing = asyncio.create_task(world.router.handle(SERVICE, request))
            connection = await asyncio.to_thread(upstream.accept)
            rest = b", so!" if why == "the answer is whole" else b""
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly" + rest)
            response = await writing
            assert response is not None
            assert response.status == 200
            if why == "it is too late":
                await asyncio.sleep(0.4)
            elif why == "the client goes":
                await response.aclose()
            else:
                assert b"".join([piece async for piece in response.body]) == b"early, so!"
            await asyncio.sleep(0.1)
            assert len(await asyncio.to_thread(_read_to_the_end, connection)) < size
            await response.aclose()
        await client.aclose()

    in_a_loop(test, loop)()


def test_a_write_whose_gateway_is_killed_does_not_arrive_later() -> None:
    with Stalled() as upstream:
        gateway = subprocess.Popen([sys.executable, "-c", _WRITES, upstream.url], stdout=subprocess.PIPE)
        with gateway:
            connection = upstream.accept()
            assert gateway.stdout is not None
            assert gateway.stdout.readline() == b"sent\n"
            gateway.kill()
        assert len(_read_to_the_end(connection)) < 300_000


#: A gateway's last write.
_WRITES = """
import asyncio, os, sys
from routes.engine import Timeouts
from routes.gateway.upstream import UpstreamClient

async def write():
    asyncio.get_running_loop().call_later(0.3, os.write, 1, b"sent\\n")
    moment = asyncio.get_running_loop().time() + 60
    body = b"x" * 300_000
    client = UpstreamClient()
    await client.open("POST", sys.argv[1], [], body, timeouts=Timeouts(), private_upstreams=None, last_moment=moment)

asyncio.run(write())
"""


@in_a_loop
async def test_a_connection_whose_write_was_answered_is_kept_and_ends_in_peace() -> None:
    client = UpstreamClient()
    with Stalled() as upstream:
        world = upstream.world(client)
        for number in range(2):
            writing = asyncio.create_task(world(method="POST", body=b"{}"))
            if not number:
                connection = await asyncio.to_thread(upstream.accept)
            got = b""
            while not got.endswith(b"\r\n0\r\n\r\n"):
                got += await asyncio.to_thread(connection.recv, 2**16)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            assert await writing == 201
        await client.aclose()
        with connection:  # ends, and is not reset
            assert await asyncio.to_thread(connection.recv, 1) == b""


@in_a_loop
async def test_an_answer_that_came_early_goes_on_where_the_write_was_taken() -> None:
    client = UpstreamClient()
    with Stalled() as upstream:
        world = upstream.world(client, write_seconds=0.3)

        async def dripping() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(0.1)
            yield b"last"

        request = replace(a_request("/all", method="POST"), body=dripping())
        writing = asyncio.create_task(world.router.handle(SERVICE, request))
        with await asyncio.to_thread(upstream.accept) as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly")
            response = await writing
            assert response is not None
            await asyncio.sleep(0.5)
            connection.sendall(b", so")
            connection.sendall(b"!")
            assert b"".join([piece async for piece in response.body]) == b"early, so!"
            await response.aclose()
    await client.aclose()


def _read_to_the_end(connection: socket.socket) -> bytes:
    got = b""
    with connection, suppress(ConnectionError):
        while data := connection.recv(2**16):
            got += data
    return got
