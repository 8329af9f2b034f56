"""Granian with two processes as production runs it, without a database: what they count together, and what they log."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deployment import PRODUCTION
from tests.paths import ROOT
from tests.test_serve import a_free_port

TOKEN = "t" * 32
SETTINGS = "routing_admin.settings"
NAME = 'routing_admin_request_duration_seconds_count{method="GET",route="healthz",status="2xx"}'


@dataclass
class Serving:
    process: "subprocess.Popen[str]"
    port: int
    counts: Path
    lines: list[str] = field(default_factory=list)

    def get(self, path: str) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        self.lines += output.splitlines()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    port, counts = a_free_port(), tmp_path / "counts"
    environment = {
        "PATH": os.environ["PATH"], **PRODUCTION, "DOTENV": "", "METRICS_TOKEN": TOKEN, "STATIC_ROOT": str(tmp_path),
        "PROMETHEUS_MULTIPROC_DIR": str(counts), "DATABASE_URL": f"sqlite:///{tmp_path / 'none' / 'db'}",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "2", "--port", str(port),
         "--log-config", "routing_admin/logs/granian.json", "routing_admin.wsgi:application"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    served = Serving(process, port, counts)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            served.get("/healthz")
            break
        except OSError:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
    yield served
    served.stop()


def test_the_server_s_own_lines_are_json_once_the_application_is_loaded() -> None:
    program = """
import logging, django
from granian.log import LogLevels, configure_logging
configure_logging(LogLevels.info)
django.setup()
logging.getLogger("_granian").info("said")
"""
    environment = {"PATH": os.environ["PATH"], **PRODUCTION, "DOTENV": "", "DJANGO_SETTINGS_MODULE": SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert json.loads(done.stderr)["logger"] == "_granian"


def test_two_processes_count_together_and_every_line_of_theirs_is_json(serving: Serving) -> None:
    def counted() -> int:
        status, text = serving.get("/metrics")
        assert status == 200, text
        assert "routing_admin_database_up 0.0" in text
        [line] = [line for line in text.splitlines() if line.startswith(NAME)]
        return int(float(line.rpartition(" ")[2]))

    before = counted()
    # Until both have answered; which of them does is the kernel's choice.
    asked = 0
    until = time.monotonic() + 30
    while len(list(serving.counts.glob("histogram_*.db"))) < 2 or asked < 10:
        assert time.monotonic() < until
        assert serving.get("/healthz")[0] == 200
        asked += 1
    assert {counted() for _ in range(10)} == {before + asked}
    assert serving.get("/nothing/rk_management_id_5ec2e7")[0] == 400, "not a host of ours"
    serving.stop()
    told = [json.loads(line) for line in serving.lines]
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in told)
    assert {"_granian", "routing_admin.requests", "routing_admin.metrics.stored"} <= {line["logger"] for line in told}
    [line] = [line for line in told if line["event"] == "request"]
    assert (line["status"], line["route"]) == (400, "unresolved")
    assert "5ec2e7" not in "".join(serving.lines)
