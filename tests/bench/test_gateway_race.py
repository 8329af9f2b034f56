"""What the race of gateways rests on: equal requests, answers that are the provider's, a rate that is kept, and nobody who
is left out in silence."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench import contenders, gateway
from tests.bench.contenders import BODY, CONTENDERS, DIRECT, OURS, Contender, started
from tests.bench.gateway import Found, must_pass_on, providing
from tests.bench.load import ANSWER, Load, WrongAnswer, ask, end_of
from tests.bench.report import Row
from tests.bench.workload import NotHereError


@pytest.fixture(scope="module")
def provider() -> Iterator[int]:
    with providing() as port:
        yield port


@contextmanager
def saying(said: bytes) -> Iterator[int]:
    """The port of a server that answers this, to whatever comes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.recv(2**16)
                    sock.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", 40),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 59),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
    ],
)
def test_a_message_ends_where_its_framing_says(data: bytes, end: int | None) -> None:
    assert end_of(data) == end


def test_the_provider_is_asked_as_often_as_the_rate_says(provider: int) -> None:
    load = ask(provider, Contender(DIRECT, provider).request, connections=4, seconds=0.5, rate=100)
    assert 40 <= len(load.latencies) + load.late <= 51
    full = ask(provider, Contender(DIRECT, provider).request, connections=4, seconds=0.2)
    assert len(full.latencies) > len(load.latencies)


def test_quantiles_are_those_of_the_nearest_rank() -> None:
    load = Load([3.0, 1.0, 2.0, 4.0], seconds=2.0)
    assert [load.quantile(share) for share in (0.0, 0.25, 0.5, 0.99)] == [1.0, 1.0, 2.0, 4.0]
    assert load.per_second == 2.0


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
    ],
)
def test_another_answer_is_no_race(said: bytes) -> None:
    with saying(said) as port:
        contender = Contender("somebody", port)
        with pytest.raises(WrongAnswer):
            ask(port, contender.request, connections=2, seconds=0.5)


def test_who_passes_on_another_answer_takes_no_part(provider: int) -> None:
    must_pass_on(Contender(DIRECT, provider))
    other = ANSWER.replace(b"Nobody", b"Everybody")
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(other) + other
    with saying(said) as port, pytest.raises(NotHereError, match="does not pass the answer on"):
        must_pass_on(Contender("somebody", port))


def test_our_gateway_passes_the_answer_on_and_its_processes_are_counted(provider: int, tmp_path: Path) -> None:
    with started(OURS, tmp_path / "ours", provider, None) as ours:
        must_pass_on(ours)
        before = ours.cpu_seconds()
        load = ask(ours.port, ours.request, connections=4, seconds=0.5)
        assert len(ours.processes()) >= 2
        assert ours.cpu_seconds() > before
    assert load.latencies


def test_everybody_is_sent_the_same_body() -> None:
    requests = [Contender(name, 1, {"X": name}).request for name in CONTENDERS]
    assert {request.partition(b"\r\n\r\n")[2] for request in requests} == {BODY}


def test_every_round_has_an_order_of_its_own_and_everybody_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(port: int, request: bytes, **_: object) -> Load:
        asked.append(port)
        return Load([0.1], 1.0)

    monkeypatch.setattr(gateway, "ask", noted)
    found = gateway.race({str(port): Contender(str(port), port) for port in range(8)}, random.Random(1), quick=False)
    turns = asked[::3]
    rounds = [turns[start : start + 8] for start in range(0, len(turns), 8)]
    assert all(sorted(each) == list(range(8)) for each in rounds)
    assert len({tuple(each) for each in rounds}) == gateway.ROUNDS
    assert all(len(one.steady) == len(one.full) == gateway.ROUNDS for one in found.values())


def test_who_is_not_here_is_a_row_that_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    one = Found([Load([0.001], 1.0)], [Load([0.001], 1.0)], 0.1, 0.1)
    absent = {name: f"no {name} today" for name in CONTENDERS if name != OURS}
    gateway._tell_all({DIRECT: one, OURS: one}, absent)
    rows = [row for line in capsys.readouterr().out.splitlines() if (row := Row.of_line(line))]
    assert {row.held for row in rows if row.held.startswith("not run")} == {
        f"not run: {why}" for why in absent.values()
    }


def test_what_cannot_be_installed_says_what_its_package_manager_said(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=r"this cannot be installed: it is nowhere"):
        contenders._install("this", ["sh", "-c", "echo it is nowhere >&2; exit 1"], tmp_path)
    with pytest.raises(NotHereError, match=r"this cannot be installed: .*No such file"):
        contenders._install("this", ["no-such-program"], tmp_path)
