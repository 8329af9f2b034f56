"""Signs checkpoints of the audit logs until it is told to stop."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from audit.signing.keys import BadKeys
from audit.signing.signer import Signer, keep_signing
from audit.signing.state import AnotherSigner, BadState


class Command(BaseCommand):
    help = (
        "Look at what was added to every audit log, and sign what continues that which was signed before, until SIGTERM or"
        " Ctrl-C. Its keys and its memory stand in AUDIT_SIGNER_DIR."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round; exit 1 where a log is refused")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["once"]:
            stop = threading.Event()
            before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGTERM, signal.SIGINT)}
            try:
                keep_signing(stop)
            finally:
                for name, handler in before.items():
                    signal.signal(name, handler)
            return
        try:
            with Signer() as signer:
                done = signer.round()
        except (BadKeys, BadState, AnotherSigner, Error) as error:
            raise CommandError(str(error), returncode=2) from error
        for log, size in done.signed.items():
            self.stdout.write(f"{log}: signed {size:,} {'entry' if size == 1 else 'entries'}")
        if done.refused:
            lines = (f"{log}: REFUSED ({error.rule}): {error}" for log, error in done.refused.items())
            raise CommandError("\n".join(lines), returncode=1)
