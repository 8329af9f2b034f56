"""The whole loop with real processes: application, worker, gateway, two providers, and clients that never stop asking."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plans.logs.models import RequestLog
from routes.catalog.services import install_shipped_prices
from routes.fleet.models import GatewayInstance
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from tests.api.test_another_process import url_of_test_database
from tests.build import BY, a_person, a_route, an_org
from tests.paths import ROOT
from tests.routes.gateway.llm.scene import a_body
from tests.routes.gateway.running import Gateway, free_port, running
from tests.routes.gateway.stubs import Seen, Upstream, Writer
from tests.routes.gateway.test_process import completes

pytestmark = pytest.mark.django_db(transaction=True)
REQUESTS = 2_000
CLIENTS = 8


async def elsewhere(upstream: Upstream, seen: Seen, writer: Writer) -> None:
    await completes(upstream, seen, writer)


@contextmanager
def a_process(*command: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "DATABASE_URL": url_of_test_database(), **more},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Api:
    """The application, asked with somebody's key."""

    def __init__(self, web: Gateway, org: Organization, role: str) -> None:
        person = a_person(f"{role}-1", org, role)
        self._key = create_key(org, name=role, role=role, by=person).text
        self._web, self._base = web, f"/api/v1/orgs/{org.slug}/"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        connection = self._web.kept()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Host": "localhost"}
        connection.request(method, self._base + path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status < 300, said
        return said


class Clients:
    """Ask over connections that they keep, and note what they are told: by id the version and the model that served."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._gateway, self._key = gateway, key
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.told: dict[str, tuple[int, str]] = {}
        self.wrong: list[Any] = []

    def __enter__(self) -> "Clients":
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        connection = self._gateway.kept()
        headers = {"Authorization": f"Bearer {self._key}"}
        while not self._is_over.is_set():
            number += CLIENTS
            data = json.dumps(a_body(user=f"user-{number % 300}"))
            try:
                connection.request("POST", "/v1/chat/completions", data, headers)
                answer = connection.getresponse()
                said = answer.read()
            except Exception as error:
                self.wrong.append(error)
                return
            with self._lock:
                if answer.status != 200:
                    self.wrong.append(said)
                told = int(answer.headers["X-Route-Version"]), answer.headers["X-Served-Model"]
                self.told[answer.headers["X-Request-Id"]] = told

    def wait_for(self, count: int) -> None:
        eventually(lambda: self.wrong or len(self.told) >= count, 60)


def eventually(true: Any, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_traffic_becomes_a_plan_that_is_applied_under_the_traffic_it_was_made_of(tmp_path: Path) -> None:
    install_shipped_prices(by=BY)
    org = an_org(approval="plans")
    a_route(org, "other", when={"tag_equals": "other"}, then={"target_model": "gpt-4o-mini"})
    staff = a_person("root", is_superuser=True)
    gateway_key = create_key(org, name="gw", kind="gateway", by=staff).text
    traffic_key = create_key(org, name="clients", kind="traffic", by=staff).text
    with ExitStack() as stack:
        openai, other = stack.enter_context(Upstream(completes)), stack.enter_context(Upstream(elsewhere))
        web_port = free_port()
        command = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(web_port)]
        environment = {"DATABASE_URL": url_of_test_database()}
        (tmp_path / "web").mkdir()
        web = stack.enter_context(
            running(tmp_path / "web", [*command, "routing_admin.wsgi:application"], web_port, **environment)
        )
        stack.enter_context(a_process("manage.py", "worker", "--poll", "0.1"))
        gateway = stack.enter_context(a_gateway(tmp_path, web_port, openai, other, gateway_key))
        author, approver = Api(web, org, "editor"), Api(web, org, "approver")
        clients = stack.enter_context(Clients(gateway, traffic_key))

        clients.wait_for(REQUESTS)
        rows = RequestLog.objects.of(org)
        eventually(lambda: rows.count() >= REQUESTS)
        plan = author("POST", "plans/", _a_plan())
        url = f"plans/{plan['id']}/"
        author("POST", f"{url}project/")
        eventually(lambda: author("GET", url)["state"] == "projected", 60)
        projected = author("GET", url)
        assert projected["result"]["sample_size"] >= REQUESTS
        assert projected["result"]["verdict"] == "saves"
        approver("POST", f"{url}approve/")
        applied = approver("POST", f"{url}apply/")
        before = len(clients.told)
        eventually(lambda: _newest(clients) == (applied["version"], "claude-haiku-4-5"))
        clients.wait_for(before + 500)
        clients.__exit__()
        assert clients.wrong == []
        eventually(lambda: rows.count() == len(clients.told))
        eventually(lambda: GatewayInstance.objects.filter(org=org, running=applied["version"]).exists(), 40)
    _check(clients, rows, applied["version"])
    assert len(openai.seen) + len(other.seen) == len(clients.told)


def _a_plan() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "name": "everything to haiku",
        "window_start": (now - timedelta(hours=1)).isoformat(),
        "window_end": (now + timedelta(hours=1)).isoformat(),
        "routes": [{"name": "all", "when": {"model_in": ["gpt-4o"]}, "then": {"target_model": "claude-haiku-4-5"}}],
    }


def _newest(clients: Clients) -> tuple[int, str]:
    return next(reversed(clients.told.values()))


def _check(clients: Clients, rows: Any, version: int) -> None:
    """Each request was decided by the version before or by the one after, by none in between; its row says which."""
    logged = {
        request_id: (decided, model)
        for request_id, decided, model in rows.values_list("request_id", "decided_version", "model")
    }
    assert logged == clients.told
    counted = Counter(clients.told.values())
    assert set(counted) == {(version - 1, "gpt-4o"), (version, "claude-haiku-4-5")}
    assert counted[version - 1, "gpt-4o"] >= REQUESTS
    costs = set(rows.filter(model="gpt-4o").values_list("cost_usd", flat=True))
    assert costs == {rows.filter(model="gpt-4o").first().cost_usd}
    assert None not in costs


@contextmanager
def a_gateway(tmp_path: Path, web_port: int, openai: Upstream, other: Upstream, key: str) -> Iterator[Gateway]:
    port = free_port()
    config = tmp_path / "gateway.toml"
    config.write_text(
        f"""
        listen = "127.0.0.1:{port}"
        instance = "loop-1"
        [source]
        api_url = "http://localhost:{web_port}"
        key_env = "GATEWAY_KEY"
        poll_seconds = 0.3
        [logs]
        to = "api"
        batch_seconds = 0.2
        [[providers]]
        name = "openai"
        base_url = "{openai.url}/v1"
        [[providers]]
        name = "anthropic"
        base_url = "{other.url}/v1"
        [models]
        "gpt-*" = "openai"
        "claude-*" = "anthropic"
        """
    )
    (tmp_path / "gw").mkdir()
    with running(tmp_path / "gw", ["routes.gateway", "--config", str(config)], port, GATEWAY_KEY=key) as gateway:
        yield gateway
