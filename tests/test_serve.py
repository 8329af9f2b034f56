"""`make run` without make: a new person's first minute, in a process of its own."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.paths import ROOT
from tests.routes.engine.build import eventually


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """`manage.py serve` with its data in a folder of its own, until the block ends: then Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = a_free_port()
        self.output = ""

    def __enter__(self) -> "Served":
        self.environment = {
            **os.environ, "DOTENV": "", "DEBUG": "true", "SECRET_KEY": "s" * 50, "API_KEY_PEPPERS": "1=p",
            "DATA_DIR": str(self.folder), "STATIC_ROOT": str(self.folder / "static"),
            "DATABASE_URL": f"sqlite:///{self.folder / 'db.sqlite3'}", "PYTHONUNBUFFERED": "1",
            "AUDIT_SIGNER": "worker", "AUDIT_SIGNER_DIR": str(self.folder / "signer"),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(self.port)],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.get("/admin/login/")
                return self
            except OSError:
                assert self.process.poll() is None, self.process.communicate()[0]
                time.sleep(0.2)
        raise AssertionError("nothing served within a minute")

    def get(self, path: str, **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def has(self, path: str, key: str) -> bool:
        try:
            return bool(self.get(path, Authorization=f"Bearer {key}"))
        except urllib.error.HTTPError:
            return False

    def __exit__(self, *_: object) -> None:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.send_signal(signal.SIGINT)
        self.output = self.process.communicate(timeout=15)[0]
        assert self.process.returncode == 0, self.output
        assert len(children) == 2, "a server and a worker"
        # Whoever adopts orphans takes a moment to bury them.
        assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children)), "nothing is left"


def test_the_first_run_makes_a_demo_later_ones_keep_it_and_a_port_in_use_is_said(tmp_path: Path) -> None:
    kept = tmp_path / "first-run.txt"
    with Served(tmp_path) as first:
        text = kept.read_text(encoding="utf-8")
        key = re.search(r"rk_management_\w+", text)
        assert key is not None
        routes = first.get("/api/v1/orgs/demo/routes/", Authorization=f"Bearer {key[0]}")
        assert "summaries to a small model" in routes
        services = first.get("/api/v1/orgs/demo/services/", Authorization=f"Bearer {key[0]}")
        assert '"slug":"site"' in services
        placements = first.get("/api/v1/orgs/demo/placements/", Authorization=f"Bearer {key[0]}")
        assert '"partition":"*"' in placements
        assert eventually(lambda: first.has("/api/v1/orgs/demo/audit/checkpoint/", key[0]), seconds=60), (
            "the worker signs"
        )
        assert "color-scheme" in first.get("/admin/login/")
        assert "--ra-accent" in first.get("/static/routing_admin/tokens.css")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for said in (f"http://127.0.0.1:{first.port}/", "edda", "arno", "ada ", "Four things to try", key[0]):
        assert said in first.output
    with Served(tmp_path) as second:
        assert first.port != second.port
        assert routes == second.get("/api/v1/orgs/demo/routes/", Authorization=f"Bearer {key[0]}")
        third = subprocess.run(
            [sys.executable, "manage.py", "serve", "--port", str(second.port)],
            cwd=ROOT, env=second.environment, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert third.returncode != 0
        assert f"serve --port {second.port + 1}" in third.stderr
    assert kept.read_text(encoding="utf-8") == text
    assert str(kept) in second.output
    assert "password" not in second.output.replace("names and passwords", "")
