"""Whatever comes, an upstream sees well-formed requests, one for each that the client is answered, or none."""

import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import randbits

import pytest

from tests.routes.gateway import malformed
from tests.routes.gateway.running import Gateway, proxying
from tests.routes.gateway.stubs import Seen, Upstream

SHARE = 260
AT_A_TIME = 20
_is_line = re.compile(r"[A-Z][A-Z0-9_-]* /[!-\"$-~]* HTTP/1\.1").fullmatch
_is_field = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t \x21-\x7e\x80-\xff]*").fullmatch


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
    assert "smuggled" not in seen.line or seen.body == b"", seen.head


def run(gateway: Gateway, upstream: Upstream, messages: list[bytes]) -> tuple[int, int]:
    """How many requests reached the upstream, and how many of the messages got an answer. Twenty are sent at a time, each
    over a connection of its own; the upstream saw as many requests as were answered in its name."""
    reached = answered = 0
    for start in range(0, len(messages), AT_A_TIME):
        upstream.seen.clear()
        upstream.partial.clear()
        batch = messages[start : start + AT_A_TIME]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            answers = list(pool.map(lambda raw: gateway.ask(raw, seconds=0.5), batch))
        passed = sum(answer.count(b"x-route-version: 1\r\n") for answer in answers)
        for message, answer in zip(batch, answers, strict=True):
            # A second request is served only where the first ended for certain.
            assert answer.count(b"x-route-version: 1\r\n") <= 2, message
            head = message.partition(b"\r\n\r\n")[0]
            if b"Transfer-Encoding: " in head and b"Content-Length: " in head:
                assert answer.count(b"HTTP/1.1 200") <= 1, message
        for seen in upstream.seen:
            assert_well_formed(seen)
        assert len(upstream.seen) == passed
        for partial in upstream.partial:  # what broke off was begun well
            assert _is_line(partial.split(b"\r\n")[0].decode("latin-1"))
        reached += len(upstream.seen)
        answered += sum(1 for answer in answers if answer)
    return reached, answered


def test_malformed_and_smuggled_messages_reach_no_upstream_but_as_one_well_formed_request(tmp_path: Path) -> None:
    seed = randbits(32)
    random_ = random.Random(seed)
    known = malformed.known()
    assert len(known) > 150
    messages = [*known, *(malformed.mutated(random_) for _ in range(SHARE - 150))]
    with Upstream() as upstream, proxying(tmp_path, upstream.url) as gateway:
        try:
            reached, answered = run(gateway, upstream, messages)
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        assert b"HTTP/1.1 200" in gateway.ask(malformed.GOOD.replace(b"gw", b"gw\r\nConnection: close"))
    assert 0 < reached < len(messages)
    assert answered > len(messages) // 2
