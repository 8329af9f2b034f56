"""Why the change that is being made is made: the doors say it, `publish` keeps it with the version and its entry."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: The name under which doors take it, and of how many characters it is at most: in a form, and in a URL.
NAME: Final = "note"
LONGEST: Final = 10_000
LONGEST_IN_URL: Final = 500

_current: ContextVar[str] = ContextVar(NAME, default="")


def current() -> str:
    return _current.get()


@contextmanager
def bind(text: str) -> Iterator[None]:
    """What changes inside the block publish, it publishes with this note; an act that is given one keeps its own."""
    token = _current.set(text)
    try:
        yield
    finally:
        _current.reset(token)
