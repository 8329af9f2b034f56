"""Why the change that is being made may break examples: the doors say it, `publish` reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

#: The name under which doors take it, and of how many characters it is at most.
NAME: Final = "accept_broken"
LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Reason:
    """Why examples may break; without a text they must go on holding."""

    text: str = ""
    #: The ids of those that it was given for; None where it was given for whichever break.
    shown: frozenset[str] | None = None

    def covers(self, example_id: str) -> bool:
        return bool(self.text) and (self.shown is None or example_id in self.shown)


_current: ContextVar[Reason] = ContextVar(NAME, default=Reason())  # noqa: B039


def current() -> Reason:
    return _current.get()


@contextmanager
def bind(text: str, *, shown: frozenset[str] | None = None) -> Iterator[None]:
    """Let changes inside the block break these examples for this reason; for "" they may not. A caller of the API names a
    reason before anything was shown, and means whichever break: the answer and the entry name them."""
    token = _current.set(Reason(text, shown))
    try:
        yield
    finally:
        _current.reset(token)
