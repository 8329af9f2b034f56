"""One step of what runs fails: a statement, or the commit."""

import os
import signal
from collections.abc import Callable
from typing import Any, Self
from unittest.mock import patch

from django.db import OperationalError, connection

COMMIT = "COMMIT"


def fail() -> None:
    raise OperationalError("broken on purpose")


def give_up() -> None:
    """As PostgreSQL does with one of two transactions that disagree."""

    class SerializationFailure(Exception):
        sqlstate = "40001"

    raise OperationalError("could not serialize access") from SerializationFailure()


def close() -> None:
    """Whoever uses the connection next finds that it is gone."""
    connection.connection.close()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Steps:
    """Counts the steps of what runs in this block, on this thread's connection, and does something before and after one of
    them."""

    def __init__(
        self,
        at: int | None = None,
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.at, self.before, self.after = at, before, after
        #: What was to be executed, in order.
        self.seen: list[str] = []

    def __enter__(self) -> Self:
        connection.ensure_connection()  # what a new connection asks is no step
        commit = connection._commit
        self._wrapped = connection.execute_wrapper(self._executed)
        self._patched = patch.object(connection, "_commit", lambda: self._take(COMMIT, commit))
        self._wrapped.__enter__()
        self._patched.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.__exit__(None, None, None)
        self._wrapped.__exit__(None, None, None)

    def _executed(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return self._take(sql, lambda: execute(sql, params, many, context))

    def _take(self, what: str, do: Callable[[], Any]) -> Any:
        self.seen.append(what)
        if len(self.seen) - 1 != self.at:
            return do()
        self.before()
        answer = do()
        self.after()
        return answer
