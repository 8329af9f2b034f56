#!/usr/bin/env python
"""Django's command line for Routing Admin."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routing_admin.settings")
    if sys.argv[1:2] != ["serve"]:
        os.environ.setdefault("STATEMENT_TIMEOUT_SECONDS", "0")  # a command takes as long as it takes
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except ImproperlyConfigured as error:
        sys.exit(f"{error}. `make .env` writes what this machine needs; .env.example lists what there is.")
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` has; what is left must not fail when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
