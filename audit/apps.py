from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        from audit.log.links import is_host

        if not is_host(settings.AUDIT_ORIGIN):
            # It is kept for ever, in what is signed: every bundle would be refused.
            raise ImproperlyConfigured(
                f"AUDIT_ORIGIN is the host name of this installation, at most 200 characters of ASCII without spaces and"
                f" plus signs, not {settings.AUDIT_ORIGIN!r}."
            )
        pre_migrate.connect(_drop_triggers, sender=self)
        post_migrate.connect(_make_triggers, sender=self)


def _make_triggers(*, using: str, **_: Any) -> None:
    from audit.database import make_triggers

    make_triggers(connections[using])


def _drop_triggers(*, using: str, plan: Any = (), **_: Any) -> None:
    """SQLite removes no column that a trigger names. Only where a migration of ours runs: else there would be a moment
    without them at each release."""
    from audit.database import drop_triggers

    if connections[using].vendor == "sqlite" and any(migration.app_label == "audit" for migration, _ in plan):
        drop_triggers(connections[using])
