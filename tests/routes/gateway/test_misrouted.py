"""A router of placements that raises, hangs, or answers nonsense, in a process of its own: the client gets a code, and the
process lives."""

import json
from pathlib import Path

from tests.routes.gateway.database import GatewayDatabase
from tests.routes.gateway.running import free_port, running
from tests.routes.gateway.services import a_service

WAYS = [
    f"{gate}{how}"
    for gate in ("", "admit-")
    for how in ("raises", "panics", "cancels", "hangs", "recurses", "nonsense", "answers-the-shape-alone")
]


def test_whatever_a_router_does_the_process_lives_and_serves_the_next(tmp_path: Path) -> None:
    database = GatewayDatabase(tmp_path / "db.sqlite3")
    database.publish(services=[a_service(paths={"/t/:how": "http://how.path.placement.invalid"})])
    config, port = tmp_path / "gateway.toml", free_port()
    config.write_text(f'admin_token_env = "TOKEN"\n[source]\ndatabase_url = "{database.url}"')
    command = [
        "granian", "--interface", "asgi", "--no-ws", "--http", "1", "--port", str(port), "--factory",
        "tests.routes.gateway.misrouted:application",
    ]  # fmt: skip
    with running(tmp_path, command, port, CONFIG=str(config), TOKEN="let-me-in") as gateway:
        worker = gateway.worker()
        ask = gateway.kept()
        for how in WAYS:
            ask.request("POST", f"/s/acme/web/t/{how}", "body")
            answer = ask.getresponse()
            said = json.loads(answer.read())
            assert (answer.status, said["error"], said["retryable"]) == (500, "internal", False), how
            assert "secret" not in said["message"]
            ask.request("GET", f"/_gateway/explain/{said['request_id']}", headers={"Authorization": "Bearer let-me-in"})
            assert json.loads(ask.getresponse().read())["error"]["code"] == "internal"
        ask.request("GET", "/_gateway/healthz")
        assert ask.getresponse().read() == b'{"status": "ok"}'
        assert gateway.worker() == worker
