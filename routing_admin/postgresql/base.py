"""Django's backend for PostgreSQL, which asks an idle connection whether it lives only where something came on it."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A server that ends, restarts or drops a connection says farewell on it, so one on which nothing came lives as far as
    anybody can know: a network that went away in silence keeps the stock question waiting too. That question would be a
    round trip before each request, as long as most of what is asked then.
    """

    def close_if_health_check_failed(self) -> None:
        if self.connection is not None and not self.health_check_done and _is_silent(self.connection):
            self.health_check_done = True
        super().close_if_health_check_failed()


def _is_silent(connection: base.Database.Connection) -> bool:
    if connection.closed:
        return False
    asked = select.poll()
    asked.register(connection.fileno(), select.POLLIN)
    return not asked.poll(0)
