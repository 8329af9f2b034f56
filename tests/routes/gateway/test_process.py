"""The gateway as a service: a process of its own between clients and providers, through outages, changes, and its end."""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.routes.gateway import stubs
from tests.routes.gateway.database import ORG
from tests.routes.gateway.llm.scene import a_body, a_route
from tests.routes.gateway.running import Gateway
from tests.routes.gateway.services import a_service
from tests.routes.gateway.serving import TOKEN, Client, World, a_stream, completes, eventually

HAIKU = "claude-haiku"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.openai, made.other:
        yield made


def test_a_completion_is_decided_served_logged_and_explained(world: World) -> None:
    route = a_route("cheap", when={"model_in": ["gpt-4o"]}, target_model="gpt-4o-mini")
    world.database.publish(route)
    with world.gateway() as gateway:
        ask = Client(gateway)
        status, headers, said = ask()
        assert (status, said["model"]) == (200, "gpt-4o-mini")
        assert (headers["x-served-model"], headers["x-route-version"], headers["x-route-id"]) == (
            "gpt-4o-mini",
            "2",
            route.id,
        )
        assert world.openai.seen[0].header("authorization") == "Bearer sk-1"
        assert "rk_" not in world.openai.seen[0].head.decode()
        document = ask.inside(f"explain/{headers['x-request-id']}")
        assert (document["outcome"], document["org_id"]) == ("ok", ORG)
        assert document["stages"][-1]["attempts"][0]["outcome"] == "200"
        status = ask.inside("status")
        assert (status["rules"]["size"], status["organizations"], status["logs"]["dropped"]) == (1, 1, 0)
        assert b'routing_gateway_requests_total{kind="llm"' in ask.inside("metrics")
        assert ask("/_gateway/readyz")[0] == 200
        assert [model["id"] for model in ask("/v1/models")[2]["data"]] == [HAIKU, "gpt-4o", "gpt-4o-mini"]
    (row,) = world.rows()
    assert (row["request_id"], row["decided_version"], row["cost_usd"]) == (headers["x-request-id"], 2, "0.000027000")


NOT_THERE: list[tuple[str, dict[str, str], int, str]] = [
    ("/", {}, 404, "no_service"),
    ("/v1/other", {}, 404, "no_service"),
    ("/s/acme/none/x", {}, 404, "no_route"),
    ("/s/nobody/x", {}, 404, "no_service"),
    ("/_gateway/status", {}, 401, "auth_failed"),
    ("/_gateway/nothing", {"Authorization": f"Bearer {TOKEN}"}, 404, "no_route"),
    ("/_gateway/explain/x", {"Authorization": f"Bearer {TOKEN}"}, 404, "unknown_request_id"),
    ("/v1/models", {"Authorization": "Bearer rk_traffic_x_y"}, 401, "auth_failed"),
]


def test_what_is_not_there_is_told_with_a_code(world: World) -> None:
    with world.gateway() as gateway:
        for path, headers, status, code in NOT_THERE:
            answered, told, said = Client(gateway)(path, **headers)
            assert (path, answered, said["error"]) == (path, status, code)
            assert told["x-request-id"] == said["request_id"]


def test_a_change_is_followed_within_moments_and_every_row_names_the_version_that_decided(world: World) -> None:
    with world.gateway() as gateway:
        ask = Client(gateway)
        assert ask()[1]["x-served-model"] == "gpt-4o"
        for target in ("gpt-4o-mini", HAIKU):
            version = world.database.publish(a_route("r", target_model=target))
            eventually(lambda wanted=str(version): ask()[1]["x-route-version"] == wanted)
            assert ask()[1]["x-served-model"] == target
    served = {row["decided_version"]: row["model"] for row in world.rows()}
    assert served == {1: "gpt-4o", 2: "gpt-4o-mini", 3: HAIKU}


def test_a_key_that_was_taken_away_stops_within_moments(world: World) -> None:
    with world.gateway() as gateway:
        ask = Client(gateway)
        assert ask()[0] == 200
        world.database.say(keys=[])
        eventually(lambda: ask()[0] == 401)


def test_a_provider_that_is_down_is_stood_in_for_and_left_alone_and_asked_again(world: World) -> None:
    world.database.publish(a_route("r", fallbacks=(HAIKU,)))
    with world.gateway() as gateway:
        ask = Client(gateway)
        world.openai.behaviour = stubs.resets
        for _ in range(6):
            status, headers, _ = ask()
            assert (status, headers["x-served-model"]) == (200, HAIKU)
        assert ask.inside("status")["providers"]["openai"]["open"] is True
        assert len(world.openai.seen) == 3
        world.openai.behaviour = completes
        eventually(lambda: ask()[1]["x-served-model"] == "gpt-4o")
        assert ask.inside("status")["providers"]["openai"]["open"] is False
        world.openai.behaviour = world.other.behaviour = stubs.resets
        status, headers, said = ask()
        assert (status, said["error"]) == (502, "upstream_failed")
        assert set(said) == {"error", "message", "retryable", "request_id"}
        assert headers["x-request-id"] == said["request_id"]


def test_without_its_database_nothing_fails_and_a_start_finds_what_was_kept(world: World) -> None:
    world.database.publish(a_route("r", target_model="gpt-4o-mini"))
    with world.gateway() as gateway:
        ask = Client(gateway)
        assert ask()[0] == 200
        world.database.path.rename(world.path / "away")
        until = time.monotonic() + 2
        while time.monotonic() < until:
            status, headers, _ = ask()
            assert (status, headers["x-served-model"]) == (200, "gpt-4o-mini")
        eventually(lambda: ask.inside("status")["directory"]["last_error"] is not None)
    with world.gateway() as gateway:
        ask = Client(gateway)
        status, headers, _ = ask()
        assert (status, headers["x-served-model"], headers["x-route-version"]) == (200, "gpt-4o-mini", "2")
        assert ask.inside("status")["directory"]["from_disk"] is True
        (world.path / "away").rename(world.database.path)
        world.database.publish()
        eventually(lambda: ask()[1]["x-route-version"] == "3", 30)


def test_events_of_a_stream_pass_one_by_one(world: World) -> None:
    world.openai.behaviour = stubs.drips
    with world.gateway() as gateway, gateway.connect() as sock:
        sock.sendall(a_stream(b"Connection: close\r\n"))
        got = b""
        for number in range(3):
            while b"data: %d\n\n" % number not in got:
                got += sock.recv(2**16)
            assert b"data: %d" % (number + 1) not in got
            world.openai.go_on()
        while part := sock.recv(2**16):
            got += part
    assert got.endswith(b"0\r\n\r\n")
    assert world.rows()[0]["is_stream"] is True


def test_a_client_that_goes_away_ends_the_call_to_its_provider(world: World) -> None:
    world.openai.behaviour = stubs.drips
    with world.gateway() as gateway:
        with gateway.connect() as sock:
            sock.sendall(a_stream())
            got = b""
            while b"data: 0" not in got:
                got += sock.recv(2**16)
        assert world.openai.gone.wait(5)
    assert [row["status"] for row in world.rows()] == [499]


def test_many_idle_connections_keep_nobody_out(world: World) -> None:
    """More than the thousand that a server and a process are given by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4_096:
        pytest.skip(f"a process may open {hard:,} files here, and so may the gateway")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4_096), hard))
    idle = []
    try:
        with world.gateway() as gateway:
            idle = [gateway.connect() for _ in range(1_500)]
            assert Client(gateway)()[0] == 200
            assert gateway.descriptors() > 1_500
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_is_killed_is_replaced(world: World) -> None:
    with world.gateway() as gateway:
        assert Client(gateway)()[0] == 200
        before = gateway.worker()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: _serves(gateway), 20)
        assert gateway.worker() != before


def _serves(gateway: Gateway) -> bool:
    try:
        return Client(gateway)()[0] == 200
    except OSError:
        return False


def test_a_model_that_is_no_header_is_named_in_one_all_the_same(world: World) -> None:
    with world.gateway() as gateway:
        for model, told in (
            ("gpt-4o\r\nX-Evil: 1", r"gpt-4o\r\nX-Evil: 1"),
            ("gpt-ä\x7f", r"gpt-\xe4\x7f"),
            ("gpt-" + "x" * 90_000, "gpt-" + "x" * 496),
        ):
            status, headers, said = Client(gateway)(body=a_body(model=model))
            assert (status, said["model"], headers["x-served-model"]) == (200, model, told)
            assert "x-evil" not in headers


def test_services_are_found_by_host_and_by_prefix_and_lead_nowhere_inside(world: World) -> None:
    world.database.publish(services=[a_service("web", paths={"/**": world.openai.url})])
    world.database.say(hosts={"web.acme.example": "web"})
    with world.gateway() as gateway:
        ask = Client(gateway)
        for path, host in (("/s/acme/web/a/b", "gw"), ("/a/b", "web.acme.example"), ("/a", "WEB.acme.example:8080")):
            status, _, said = ask(path, Host=host)
            assert (status, said["error"]) == (502, "egress_denied")  # the upstream is this machine
    assert world.openai.seen == []


# --- Its end, and its second life -------------------------------------------------------------------------------------


class Load:
    """Clients that ask all the time, over connections that they keep, and note whatever goes wrong."""

    def __init__(self, gateway: Gateway, count: int = 4) -> None:
        self.answered = 0
        self.wrong: list[Any] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(gateway,)) for _ in range(count)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, gateway: Gateway) -> None:
        ask = Client(gateway)
        while not self._is_over.is_set():
            try:
                status, _, said = ask()
            except Exception as error:
                self.wrong.append(error)
                ask = Client(gateway)
            else:
                self.answered += 1
                if status != 200:
                    self.wrong.append(said)


def test_a_reload_loses_no_request_and_reads_the_configuration_again(world: World) -> None:
    with world.gateway() as gateway, Load(gateway) as load:
        eventually(lambda: load.answered > 50)
        before = gateway.worker()
        config = world.path / "gateway.toml"
        config.write_text(config.read_text().replace('listen = "', 'instance = "second"\nlisten = "'))
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: Client(gateway).inside("status")["instance"] == "second", 20)
        eventually(lambda: not Path(f"/proc/{before}").exists(), 20)
        answered = load.answered
        eventually(lambda: load.answered > answered + 50)
    assert load.wrong == []


def test_the_end_finishes_what_runs_writes_what_waits_and_takes_nothing_new(world: World) -> None:
    world.openai.behaviour = stubs.drips
    with world.gateway() as gateway, gateway.connect() as sock:
        sock.sendall(a_stream())
        got = sock.recv(2**16)
        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: _is_refused(gateway))
        for _ in range(3):
            world.openai.go_on()
        while part := sock.recv(2**16):
            got += part
        assert got.endswith(b"0\r\n\r\n")
        assert gateway.process.wait(15) == 0
    assert [row["status"] for row in world.rows()] == [200]


def _is_refused(gateway: Gateway) -> bool:
    try:
        gateway.connect(1).close()
    except OSError:
        return True
    return False


def test_a_configuration_that_is_wrong_is_told_and_nothing_starts(world: World, capfd: Any) -> None:
    from routes.gateway.__main__ import main

    with pytest.raises(SystemExit) as caught:
        main(["--config", str(world.path / "nowhere.toml")])
    assert caught.value.code == 2
    assert "cannot be read" in capfd.readouterr().err
