"""Transactions that the database gave up so that another could go on: they are repeated whole, a few times."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Final

from django.db import Error, OperationalError, connection

#: serialization_failure and deadlock_detected, of which a repeat gets further. Whoever waited for a lock in vain
#: (lock_not_available, SQLite's busy) waited as long as anybody should.
_GIVEN_UP: Final = ("40001", "40P01")
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.02


def repeated[**P, T](act: Callable[P, T]) -> Callable[P, T]:
    """The function, which opens one transaction, run again from its beginning where the database gave that up.

    Inside somebody else's transaction it runs once: to repeat that is theirs. Raises the database's own error after four
    attempts.
    """

    @wraps(act)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, _ATTEMPTS):
            if connection.in_atomic_block:
                break
            try:
                return act(*args, **kwargs)
            except OperationalError as error:
                if not was_given_up(error):
                    raise
            # Two that met once should not meet again.
            time.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311  nothing secret
        return act(*args, **kwargs)

    return run


def is_busy(error: Error) -> bool:
    """Whether it waited in vain for somebody else's lock: the database serves."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", "") == "55P03" or getattr(cause, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def was_given_up(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in _GIVEN_UP
