"""Adds the shipped prices to the table."""

from typing import Any

from django.core.management.base import BaseCommand

from audit.actors import system
from routes.catalog.services import install_shipped_prices, shipped_source


class Command(BaseCommand):
    help = "Add the shipped prices that are not in the table yet. Existing prices stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        added = install_shipped_prices(by=system("install_prices"))
        self.stdout.write(f"{added} prices added ({shipped_source()}).")
