from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        post_migrate.connect(_make_triggers, sender=self)


def _make_triggers(*, using: str, **_: Any) -> None:
    from audit.database import make_triggers

    make_triggers(connections[using])
