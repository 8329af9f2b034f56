"""Where sessions are kept: in the database, as Django does."""

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore


class SessionStore(DatabaseStore):
    """A cookie that can be no session's is none: PostgreSQL refuses to look for some texts, with an error."""

    def _validate_session_key(self, key: Any) -> bool:
        return bool(super()._validate_session_key(key) and key.isascii() and key.isalnum())
