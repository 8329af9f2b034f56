"""The application outside pytest, on the database that `tests.databases` prepared."""

import atexit
import shutil


def application() -> None:
    """Set Django up and make the tables."""
    from tests import databases

    atexit.register(shutil.rmtree, databases._folder, ignore_errors=True)
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routing_admin.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
