"""Routers that misbehave, in a process of its own, which outlives them."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.loop.addresses import own_address
from tests.routes.gateway.database import GatewayDatabase
from tests.routes.gateway.running import Gateway, free_port, running
from tests.routes.gateway.services import a_service
from tests.routes.gateway.stubs import Upstream

#: What the router does, by the path.
FAULTS = (
    "raises",
    "panics",
    "is-cancelled",
    "hangs",
    "answers-nothing",
    "answers-nonsense",
    "answers-a-hollow-decision",
)


def ask(gateway: Gateway, how: str, method: str = "POST") -> tuple[int, Any]:
    """The status, and the error where there is one, asked on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.request(method, f"/s/acme/web/{how}", "data" if method == "POST" else None)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, None if answer.status == 200 else json.loads(text)["error"]


def test_whatever_a_router_does_its_process_lives_and_serves_all_others(tmp_path: Path) -> None:
    database = GatewayDatabase(tmp_path / "db.sqlite3")
    database.publish(services=[a_service(paths={"/:how": "https://placement.invalid"})])
    with Upstream(host=own_address()) as upstream:
        database.say(private_upstreams=[{"network": f"{own_address()}/32", "port": upstream.port}])
        port = free_port()
        command = ["granian", "--interface", "asgi", "--no-ws", "--host", "127.0.0.1", "--port", str(port)]
        command += ["tests.routes.gateway.misrouted:app"]
        environment = {"DATABASE": database.url, "UPSTREAM": upstream.url}
        with running(tmp_path, command, port, **environment) as gateway, ThreadPoolExecutor(50) as clients:
            worker = gateway.worker()
            assert ask(gateway, "fine") == (200, None)
            # The ones that hang are waited for, while all others are answered.
            hanging = [clients.submit(ask, gateway, "hangs") for _ in range(20)]
            others = [how for how in FAULTS if how != "hangs"]
            for method in ("GET", "POST"):
                for how in others:
                    assert (how, ask(gateway, how, method)) == (how, (500, "internal"))
                    assert ask(gateway, "fine", method) == (200, None)
            assert {each.result() for each in hanging} == {(500, "internal")}
            assert ask(gateway, "fine") == (200, None)
            assert gateway.worker() == worker
        assert len(upstream.seen) == 2 + 2 * len(others)
        assert "secret" not in "".join(seen.head.decode() for seen in upstream.seen)
