"""Runs queued plans, applies those whose time has come, and signs the audit logs where nobody else does, until it is told
to stop."""

import logging
import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, close_old_connections, connections

from audit.signing.signer import keep_signing
from plans.replay.memory import keep_freed_memory
from plans.runs.applying import apply_due
from plans.runs.failures import in_one_line
from plans.runs.worker import log_of, run_next
from routes.transactions import is_busy

log = logging.getLogger(__name__)


def seconds(text: str) -> float:
    """A pause; without one the worker would ask the database without end."""
    given = float(text)
    if not 0 < given <= threading.TIMEOUT_MAX:
        raise ArgumentTypeError(f"write a number above 0, not {text}")
    return given


class Command(BaseCommand):
    help = (
        "Run queued plans, and apply scheduled ones at their time, until SIGTERM or Ctrl-C. Any number of workers may run;"
        " no plan runs twice at once, and none is applied twice. With AUDIT_SIGNER=worker one of them signs the audit logs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="apply what is due and run what waits now, then stop; exit with 1 where the database is away",
        )
        parser.add_argument(
            "--poll", type=seconds, default=1.0, metavar="SECONDS", help="how often to look (default 1)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        keep_freed_memory()
        stop = threading.Event()
        # Also with --once: a plan that is left without a word waits for its lease to run out.
        before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGTERM, signal.SIGINT)}
        # A replay takes minutes, and a time is a time.
        beside = [threading.Thread(target=_keep_times, args=(stop, options["poll"]), name="clock", daemon=True)]
        if settings.AUDIT_SIGNER == "worker":
            beside.append(threading.Thread(target=keep_signing, args=(stop,), name="signer", daemon=True))
        try:
            if options["once"]:
                _apply_due()
            else:
                for thread in beside:
                    thread.start()
            self._run(stop, options)
        except Error as error:
            raise CommandError(_away(error)) from error
        finally:
            stop.set()
            for thread in beside:
                if thread.ident is not None:
                    thread.join()
            for name, handler in before.items():
                signal.signal(name, handler)

    def _run(self, stop: threading.Event, options: dict[str, Any]) -> None:
        said = ""
        while not stop.is_set():
            try:
                plan = run_next(stop)
            except Error as error:
                # The database comes back, or an operator stops us. A plan that ran is taken up again.
                plan, now = None, _away(error)
                if options["once"]:
                    raise
                if now != said:
                    log.error(said := now)
            else:
                if said:
                    log.info("The database serves again.")
                said = ""
            if plan is not None:
                log_of(plan).info("plan %s is %s", plan.pk, plan.state)
            elif options["once"]:
                return
            else:
                close_old_connections()
                stop.wait(options["poll"])


def _away(error: Error) -> str:
    why = "Somebody holds what the worker needs" if is_busy(error) else "The database does not serve"
    return f"{why}, and plans wait: {in_one_line(error)}"


def _keep_times(stop: threading.Event, poll: float) -> None:
    """Apply what is due until it is told to stop. That the database is away says the main thread, which asks it too."""
    while not stop.is_set():
        try:
            _apply_due()
        except Error:
            log.debug("Nothing can be applied while the database does not serve.", exc_info=True)
        except Exception:  # whatever it is, the clock goes on
            log.exception("Plans could not be applied at their time.")
        close_old_connections()
        stop.wait(poll)
    connections.close_all()


def _apply_due() -> None:
    for plan in apply_due():
        log_of(plan).info("plan %s is %s at its time", plan.pk, plan.state)
