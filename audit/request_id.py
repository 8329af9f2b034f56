"""The id of the request that is being served, for entries and problems."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The request's id; None outside a request."""
    return _current.get()


@contextmanager
def bind(value: str) -> Iterator[None]:
    """Make this the current request's id inside the block."""
    token = _current.set(value)
    try:
        yield
    finally:
        _current.reset(token)
