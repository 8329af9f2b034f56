"""Runs queued plans until it is told to stop."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, close_old_connections

from plans.runs.worker import run_next


class Command(BaseCommand):
    help = "Run queued plans until SIGTERM or Ctrl-C. Any number of workers may run; no plan runs twice at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="run what waits now, then stop")
        parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="how often to look (default 1)")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        if not options["once"]:
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: stop.set())
        while not stop.is_set():
            try:
                plan = run_next(stop)
            except (OperationalError, InterfaceError) as error:
                # The database is away; it comes back or an operator stops us. A plan that ran is taken up again.
                self.stderr.write(f"database: {error}".strip())
                close_old_connections()
                plan = None
            if plan is not None:
                self.stdout.write(f"plan {plan.pk} ({plan.name}): {plan.state}")
            elif options["once"]:
                return
            else:
                close_old_connections()
                stop.wait(options["poll"])
