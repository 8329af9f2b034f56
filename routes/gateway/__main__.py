"""`python -m routes.gateway --config gateway.toml`: the gateway as a service, on granian.

SIGTERM ends it: for a moment every answer closes its connection, then no new ones are taken, what runs is finished, and
waiting rows of the log are written. SIGHUP reads the configuration again: a new process serves before the old one ends.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any, Final

try:
    from routes.gateway.app import Gateway
    from routes.gateway.config import Configuration, InvalidConfiguration, read_configuration
except ImportError as error:
    if (error.name or "").split(".")[0] not in ("aiohttp", "multidict", "prometheus_client", "yarl"):
        raise
    raise SystemExit("The gateway needs more: pip install routing-engine[gateway]") from None

#: How the process that begins tells the ones that serve. Paths and addresses; secrets only as the operator gave them.
_GIVEN: Final = {name: f"ROUTING_GATEWAY_{name.upper()}" for name in ("config", "database_url", "api_url", "listen")}
#: So long answers close their connections before a process ends, so that clients which keep theirs have gone elsewhere.
NOTICE_SECONDS: Final = 1.0
_MOST_FILES: Final = 65_536
#: Of stores, snapshots, logs and the server itself.
_OTHER_FILES: Final = 256
_FEWEST_CONNECTIONS: Final = 256


def configuration() -> Configuration:
    """What the operator says, by file and by environment. Raises `InvalidConfiguration`."""
    given = {name: os.environ.get(variable) for name, variable in _GIVEN.items()}
    path = given.pop("config")
    try:
        data = b"" if path is None else _read(path)
    except OSError as error:
        raise InvalidConfiguration([f"{path} cannot be read: {error.strerror}."]) from None
    return read_configuration(data, os.environ, **given)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def application() -> Gateway:
    """What granian serves in each of its processes."""
    return Gateway(configuration())


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m routes.gateway", description="A gateway for language models and services.")
    parser.add_argument(
        "--config", metavar="FILE", help="TOML; routes/gateway/example.toml has everything that it may say"
    )
    parser.add_argument("--database-url", metavar="URL", help="where rules come from: sqlite:///file or postgresql://…")
    parser.add_argument("--api-url", metavar="URL", help="or the application's API (the key's variable is in the file)")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="127.0.0.1:8080 unless the file says otherwise")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the port (default: 1)"
    )
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, say what is wrong with it, and end"
    )
    options = parser.parse_args(arguments)
    for name, variable in _GIVEN.items():
        if (value := getattr(options, name)) is not None:
            os.environ[variable] = os.path.abspath(value) if name == "config" else value
    try:
        told = configuration()
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise SystemExit(2) from None
    if not options.check:
        _serve(told, max(1, options.workers))


def _serve(told: Configuration, workers: int) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.server import Server

    class Serving(Server):  # type: ignore[misc, valid-type]  # one of two classes, by platform
        """Tells the processes that serve before they are stopped."""

        def notify(self) -> None:
            for worker in self.wrks:
                with suppress(ProcessLookupError, TypeError):
                    os.kill(worker.inner.pid, signal.SIGUSR1)

        def shutdown(self, exit_code: int = 0) -> None:
            self.notify()
            time.sleep(NOTICE_SECONDS)
            super().shutdown(exit_code)

    _raise_open_files()
    host, port = told.listen
    options: dict[str, Any] = {
        "address": host,
        "port": port,
        "interface": Interfaces.ASGI,
        "http": HTTPModes.http1,
        "websockets": False,
        "factory": True,
        "workers": workers,
        "respawn_interval": NOTICE_SECONDS,
        "respawn_failed_workers": True,
        # Beyond so many connections nobody is let in any more, however idle these are.
        "backpressure": _connections(),
        "workers_kill_timeout": max(1, round(told.drain_seconds)),
    }
    server = Serving("routes.gateway.__main__:application", **options)
    server.on_reload(server.notify)
    server.serve()


def _raise_open_files() -> None:
    """As many as this process may have: the usual 1,024 are for programs that do not serve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connections() -> int:
    """How many connections of clients one process takes. A part of the files is for those to upstreams; most clients are
    silent most of the time, and need none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, _MOST_FILES)
    return max(_FEWEST_CONNECTIONS, (files - _OTHER_FILES) * 3 // 4)


if __name__ == "__main__":
    main()
