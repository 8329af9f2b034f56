"""Why the change that is being made may break examples: the doors say it, `publish` reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: The name under which doors take it, and of how many characters it is at most.
NAME: Final = "accept_broken"
LONGEST: Final = 500

_current: ContextVar[str] = ContextVar(NAME, default="")


def current() -> str:
    """The reason; "" where nobody gave one, and examples must go on holding."""
    return _current.get()


@contextmanager
def bind(reason: str) -> Iterator[None]:
    """Let changes inside the block break examples for this reason; for "" they may not."""
    token = _current.set(reason)
    try:
        yield
    finally:
        _current.reset(token)
