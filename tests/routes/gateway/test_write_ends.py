"""The end of a write that was admitted: after it nothing of the write is sent, and nothing of it arrives."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from routes.engine.errors import RoutingError
from routes.engine.spi import Target
from routes.gateway.messages import Response
from routes.gateway.upstream import UpstreamClient
from tests.routes.gateway.loops import in_a_loop
from tests.routes.gateway.stubs import Upstream, says
from tests.routes.gateway.test_placed import SERVICE, A, World
from tests.routes.gateway.test_router import FakeClient, a_request


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


@pytest.mark.parametrize("why", ["it is too late", "the client goes"])
@in_a_loop
async def test_a_write_that_was_given_up_does_not_arrive_when_its_upstream_reads_again(why: str) -> None:
    """What was written waits in buffers of both sides, where a connection that is closed in peace delivers it all."""
    client = UpstreamClient()
    with socket.socket() as upstream:
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        upstream.bind(("127.0.0.1", 0))
        upstream.listen()
        world = World(client=client, write_seconds=0.3 if why == "it is too late" else 60)
        world.table.set("*", Target("here", "x", f"http://127.0.0.1:{upstream.getsockname()[1]}"))
        body = b"x" * 300_000
        writing = asyncio.create_task(world(method="POST", body=body))
        if why == "it is too late":
            assert await writing == (504, "upstream_timeout", False)
        else:
            await asyncio.sleep(0.3)
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
        assert len(await asyncio.to_thread(_read_all, upstream)) < len(body)
    await client.aclose()


@pytest.mark.parametrize("why", ["it is too late", "the client goes"])
@in_a_loop
async def test_a_write_that_was_answered_early_and_not_taken_does_not_arrive_later(why: str) -> None:
    client = UpstreamClient()
    with socket.socket() as upstream:
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        upstream.bind(("127.0.0.1", 0))
        upstream.listen()
        world = World(client=client, write_seconds=0.3 if why == "it is too late" else 60)
        world.table.set("*", Target("here", "x", f"http://127.0.0.1:{upstream.getsockname()[1]}"))
        # More than the system takes, so that something waits here.
        body = b"x" * 8_000_000
        writing = asyncio.create_task(world.router.handle(SERVICE, a_request("/all", method="POST", body=body)))
        connection = (await asyncio.to_thread(upstream.accept))[0]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly")
        response = await writing
        assert response is not None
        assert response.status == 200
        if why == "it is too late":
            await asyncio.sleep(0.4)
        else:
            await response.aclose()
        assert len(await asyncio.to_thread(_read_to_the_end, connection)) < len(body)
        if why == "it is too late":
            await response.aclose()
    await client.aclose()


@in_a_loop
async def test_an_answer_that_came_early_goes_on_where_the_write_was_taken() -> None:
    client = UpstreamClient()
    with socket.socket() as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.listen()
        world = World(client=client, write_seconds=0.3)
        world.table.set("*", Target("here", "x", f"http://127.0.0.1:{upstream.getsockname()[1]}"))

        async def dripping() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(0.1)
            yield b"last"

        request = replace(a_request("/all", method="POST"), body=dripping())
        writing = asyncio.create_task(world.router.handle(SERVICE, request))
        connection = (await asyncio.to_thread(upstream.accept))[0]
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly")
            response = await writing
            assert response is not None
            await asyncio.sleep(0.5)
            connection.sendall(b", so")
            connection.sendall(b"!")
            assert b"".join([piece async for piece in response.body]) == b"early, so!"
            await response.aclose()
    await client.aclose()


def _read_all(upstream: socket.socket) -> bytes:
    return _read_to_the_end(upstream.accept()[0])


def _read_to_the_end(connection: socket.socket) -> bytes:
    got = b""
    with connection, suppress(ConnectionError):
        connection.settimeout(10)
        while data := connection.recv(2**16):
            got += data
    return got
