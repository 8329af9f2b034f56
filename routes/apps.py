from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate


class RoutesConfig(AppConfig):
    name = "routes"

    def ready(self) -> None:
        pre_migrate.connect(_drop_views, sender=self)
        post_migrate.connect(_make_views, sender=self)


def _drop_views(*, using: str, **_: Any) -> None:
    from routes.database import drop_views

    drop_views(connections[using])


def _make_views(*, using: str, **_: Any) -> None:
    from routes.database import make_views

    make_views(connections[using])
