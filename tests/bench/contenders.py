"""Who takes part in the race of gateways: how each is had, started, and asked for the same answer.

What is not of the project lives below `.tools` and is made there by its own package manager: nginx from Debian's package,
unpacked and not installed; the Portkey gateway by npm; LiteLLM in an environment of its own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from routes.engine import Action, Conditions, Route
from tests.bench.environment import python_of
from tests.bench.report import say
from tests.bench.workload import ROOT, TOOLS, NotHereError
from tests.routes.gateway.database import KEY, GatewayDatabase
from tests.routes.gateway.running import free_port

PORTKEY = "@portkey-ai/gateway@1.15.2"
LITELLM = "litellm[proxy]==1.106.2"
ROUTES = 100
INSTALL_SECONDS, START_SECONDS = 300, 90
OURS, WITH_LOG, BARE, DIRECT, NGINX, PORTKEY_NAME, LITELLM_NAME = (
    "gateway", "gateway with its log", "granian and aiohttp alone", "direct", "nginx", "Portkey", "LiteLLM",
)  # fmt: skip
_LITELLM_KEY = "sk-bench-0123456789abcdef0123456789abcdef"
BODY = json.dumps({
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 20},
        {"role": "user", "content": "Say hello to the world in one short sentence, please. " * 10},
    ],
    "max_tokens": 32,
    "temperature": 0,
}).encode()  # fmt: skip


@dataclass
class Contender:
    """Somebody who passes requests on, once it listens. `cpu_seconds` of its processes so far, by the kernel's account."""

    name: str
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def request(self) -> bytes:
        """The same body for everybody; the headers are those that each wants."""
        headers = {"Host": f"127.0.0.1:{self.port}", "Authorization": "Bearer sk-x", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{lines}Content-Type: application/json\r\nContent-Length: {len(BODY)}"
        return f"{head}\r\n\r\n".encode() + BODY

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time, from /proc/<pid>/stat of every process."""
        return sum(times.user + times.system for times in (each.cpu_times() for each in self.processes()))

    def rss_mib(self) -> float:
        return sum(each.memory_info().rss for each in self.processes()) / 2**20


#: The command of a contender that listens on the first port and asks the provider on the second, the folder where it runs
#: and keeps its files, what it wants in its environment, and the headers that it wants.
type Made = tuple[list[str], dict[str, str], dict[str, str]]


def ours(folder: Path, port: int, provider: int, *, has_log: bool = False) -> Made:
    """A hundred routes, of which the one in the middle matches by the request's tag and asks for another model."""
    database = GatewayDatabase(folder / "db.sqlite3")
    database.publish(*(_route(number) for number in range(ROUTES)))
    logs = f'[logs]\nto = "database"\ndatabase_url = "sqlite:///{folder / "logs.sqlite3"}"\n' if has_log else ""
    (folder / "gateway.toml").write_text(
        f'listen = "127.0.0.1:{port}"\n[source]\ndatabase_url = "{database.url}"\n{logs}'
        f'[[providers]]\nname = "fake"\nbase_url = "http://127.0.0.1:{provider}/v1"\nkey_env = "FAKE_KEY"\n'
        '[models]\n"*" = "fake"\n'
    )
    command = [sys.executable, "-m", "routes.gateway", "--config", str(folder / "gateway.toml")]
    headers = {"Authorization": f"Bearer {KEY}", "X-Routing-Tag": f"tag-{ROUTES // 2}"}
    return command, {"FAKE_KEY": "sk-x", "PYTHONPATH": str(ROOT)}, headers


def with_log(folder: Path, port: int, provider: int) -> Made:
    return ours(folder, port, provider, has_log=True)


def bare(folder: Path, port: int, provider: int) -> Made:
    """The server and the client library of ours, and nothing in between."""
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--no-ws", "--http", "1", "--port", str(port)]
    environment = {"BENCH_PROVIDER": str(provider), "PYTHONPATH": str(ROOT)}
    return [*command, "--log-level", "error", "tests.bench.bare_gateway:app"], environment, {}


def _route(number: int) -> Route:
    when = {"model_in": ["gpt-4o", f"model-{number}"], "tag_equals": f"tag-{number}", "input_tokens_lt": 9000}
    return Route(
        id=f"018f0000-0000-7000-8000-{number:012}",
        name=f"route {number}",
        priority=ROUTES - number,
        when=Conditions.from_dict(when),
        then=Action("gpt-4o-mini"),
    )


def nginx(folder: Path, port: int, provider: int) -> Made:
    """`proxy_pass` and kept connections, one process that serves."""
    (folder / "nginx.conf").write_text(
        "worker_processes 1; daemon off; pid nginx.pid; error_log stderr; events { worker_connections 1024; }\n"
        "http { access_log off; keepalive_requests 100000000; client_body_temp_path b; proxy_temp_path p;\n"
        "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n"
        f"upstream provider {{ server 127.0.0.1:{provider}; keepalive 64; keepalive_requests 100000000; }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://provider; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; } } }\n'
    )
    return [_nginx(), "-p", str(folder), "-c", "nginx.conf"], {}, {}


def _nginx() -> str:
    """The program: the machine's, else Debian's package unpacked."""
    if found := shutil.which("nginx"):
        return found
    folder = TOOLS / "nginx"
    program = folder / "root" / "usr" / "sbin" / "nginx"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _install("nginx", ["apt-get", "download", "nginx"], folder)
        for package in folder.glob("nginx_*.deb"):
            _install("nginx", ["dpkg", "-x", str(package), "root"], folder)
    return str(program)


def portkey(folder: Path, port: int, provider: int) -> Made:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHereError("Node.js and npm are not here")
    home = TOOLS / "portkey"
    program = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        say(f"installing {PORTKEY} in {TOOLS.name}")
        _install(PORTKEY, [npm, "install", "--no-save", "--ignore-scripts", "--prefix", str(home), PORTKEY], home)
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{provider}/v1"}
    return [node, str(program), f"--port={port}", "--headless"], {"NODE_ENV": "production"}, headers


def litellm(folder: Path, port: int, provider: int) -> Made:
    python = Path(python_of("litellm", [LITELLM]))
    (folder / "litellm.yaml").write_text(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: "
        f"{{model: openai/gpt-4o, api_base: 'http://127.0.0.1:{provider}/v1', api_key: sk-x}}\n"
        f"general_settings: {{master_key: {_LITELLM_KEY}}}\n"
    )
    program = python.parent / "litellm"
    if not program.exists():
        raise NotHereError(f"{LITELLM} cannot be installed")
    command = [str(program), "--config", str(folder / "litellm.yaml"), "--port", str(port), "--num_workers", "1"]
    # It would ask the internet for prices, and write a line for each request.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    return command, environment, {"Authorization": f"Bearer {_LITELLM_KEY}"}


CONTENDERS: dict[str, Callable[[Path, int, int], Made]] = {
    OURS: ours, WITH_LOG: with_log, BARE: bare, NGINX: nginx, PORTKEY_NAME: portkey, LITELLM_NAME: litellm,
}  # fmt: skip


@contextmanager
def started(name: str, folder: Path, provider: int, cores: set[int] | None) -> Iterator[Contender]:
    """A contender that listens, on these cores alone. Raises `NotHereError` where it cannot be had or does not start."""
    port = free_port()
    folder.mkdir()
    command, environment, headers = CONTENDERS[name](folder, port, provider)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**_clean(), **environment}, stdout=output, stderr=subprocess.STDOUT,
            preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
    contender = Contender(name, port, headers, process)
    try:
        until = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                last = (folder / "output").read_text(errors="replace").strip().splitlines()[-1:]
                raise NotHereError(f"{name} does not start: {' '.join(last)[:200]}")
            time.sleep(0.1)
        yield contender
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _install(what: str, command: list[str], folder: Path) -> None:
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHereError(f"{what} cannot be installed: {error}") from None
    if run.returncode:
        said = (run.stderr.strip().splitlines() or ["it does not say why"])[-1]
        raise NotHereError(f"{what} cannot be installed: {said}")


def _clean() -> dict[str, str]:
    """Nothing of this process's environment that could change how one of them works."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
