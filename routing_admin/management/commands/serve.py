"""What `make run` starts: the web server and the worker, under one Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from routing_admin.demo import FILE_NAME, TRAFFIC_MARK, add_traffic, install, is_installed


class Command(BaseCommand):
    help = "Serve the admin and run the worker until Ctrl-C; the first time with a demo organisation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-demo", action="store_true", help="do not make the demo organisation")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "`serve` is for one's own machine (DEBUG=true). In production run granian and `manage.py worker` as"
                " services of their own; see the README."
            )
        self._want_port(options["host"], options["port"])
        call_command("migrate", verbosity=0)
        address = f"http://{options['host']}:{options['port']}"
        kept = settings.DATA_DIR / FILE_NAME
        if not options["no_demo"] and not is_installed():
            text = install(address)
            # Kept before anything else can fail: the passwords stand nowhere else.
            kept.touch(mode=0o600)
            kept.write_text(text, encoding="utf-8")
            self.stdout.write(text)
        if not options["no_demo"] and not (settings.DATA_DIR / TRAFFIC_MARK).exists():
            self.stdout.write("Making synthetic traffic for the demo organisation …")
            add_traffic()
            (settings.DATA_DIR / TRAFFIC_MARK).touch()
        self.stdout.write(f"\nServing {address}  (Ctrl-C stops; names and passwords: {kept})", ending="\n\n")
        self.stdout.flush()
        self._serve(options["host"], options["port"])

    def _want_port(self, host: str, port: int) -> None:
        # granian would share the port with another server of ours, and the kernel deal requests out among them.
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CommandError(
                    f"Nothing can be served on {host} port {port}: {error.strerror}. If the port is in use, stop what"
                    f" uses it, or take another one: manage.py serve --port {port + 1 if port < 65535 else 8001}"
                ) from error

    def _serve(self, host: str, port: int) -> None:
        # Sessions of their own: Ctrl-C reaches only this process, which then stops both in order.
        children = [
            subprocess.Popen(command, start_new_session=True)  # noqa: S603  fixed commands
            for command in (
                [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port),
                 "--workers", "1", "--blocking-threads", "4", "--workers-kill-timeout", "5", "--log-level", "warning",
                 "routing_admin.wsgi:application"],
                [sys.executable, "manage.py", "worker"],
            )
        ]  # fmt: skip
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, lambda *_: stop.set())
        while not stop.wait(0.3):
            if any(child.poll() is not None for child in children):
                break
        died = not stop.is_set()
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
        if died:
            raise CommandError("The server or the worker ended; its message is above.")
