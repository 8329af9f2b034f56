"""Where sessions are kept: in the database, under the digests of their cookies."""

from hashlib import sha256
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone


class SessionStore(DatabaseStore):
    """Who reads the database, or a copy of it, has nobody's cookie.

    Only what is synchronous, as all here is. A cookie that can be no session's is none: PostgreSQL refuses to look for some
    texts, with an error.
    """

    def _validate_session_key(self, key: Any) -> bool:
        return bool(super()._validate_session_key(key) and key.isascii() and key.isalnum())

    def _get_session_from_db(self) -> Any:
        rows = self.model.objects.filter(session_key=_digest(self.session_key), expire_date__gt=timezone.now())
        found = rows.first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(_digest(session_key)))

    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.session_key = _digest(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(_digest(key))


def _digest(key: Any) -> str:
    """So much of it as the column has: 160 bits. The key is random, so that nobody can try them all."""
    return sha256(str(key).encode()).hexdigest()[:40]
