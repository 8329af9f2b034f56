"""A gateway in a process of its own, asked over raw sockets."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.paths import ROOT


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class Gateway:
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    #: What is still open to it.
    open: list[http.client.HTTPConnection] = field(default_factory=list)

    def connect(self, seconds: float = 10.0, source: str = "127.0.0.1") -> socket.socket:
        """From any address of this machine, such as all of 127.0.0.0/8."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds, source_address=(source, 0))

    def kept(self) -> http.client.HTTPConnection:
        """A connection for many requests."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.open.append(connection)
        return connection

    def ask(self, raw: bytes, *, seconds: float = 10.0) -> bytes:
        """What comes back on a connection of its own until it is closed, or nothing more comes for so long."""
        got = b""
        with self.connect(seconds) as sock, suppress(TimeoutError, ConnectionError):
            sock.sendall(raw)
            while data := sock.recv(2**16):
                got += data
        return got

    def worker(self) -> int:
        """The process that serves."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        serving = [
            int(each) for each in children if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()
        ]
        return serving[-1]

    def peak_kib(self) -> int:
        """The most memory that the serving process had, ever or since `forget_peak`."""
        status = Path(f"/proc/{self.worker()}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    def forget_peak(self) -> None:
        """From now on the peak is that of what it has now."""
        Path(f"/proc/{self.worker()}/clear_refs").write_text("5")

    def descriptors(self) -> int:
        """How many files and sockets the serving process has open."""
        return len(os.listdir(f"/proc/{self.worker()}/fd"))


@contextmanager
def running(tmp_path: Path, command: list[str], port: int, **environment: str) -> Iterator[Gateway]:
    """The gateway of this command, once it takes connections."""
    log = tmp_path / "gateway.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
    gateway = Gateway(port, process, log)
    try:
        for _ in range(400):
            if process.poll() is not None:
                raise AssertionError(f"The gateway ended: {log.read_text()[-3000:]}")
            try:
                gateway.connect(1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield gateway
    finally:
        for connection in gateway.open:
            connection.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def proxying(tmp_path: Path, upstream: str) -> Iterator[Gateway]:
    """Granian with the test's application, in front of this upstream."""
    port = free_port()
    command = ["granian", "--interface", "asgi", "--no-ws", "--http", "1", "--host", "127.0.0.1", "--port", str(port)]
    with running(tmp_path, [*command, "tests.routes.gateway.application:app"], port, UPSTREAM=upstream) as gateway:
        yield gateway
