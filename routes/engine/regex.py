"""RE2 patterns: search in linear time whatever the pattern and the text, with the extra `regex` (google-re2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from routes.engine.reading import printable

#: What one compiled pattern may take, in bytes; a pattern that needs more is refused, which takes some milliseconds.
_MAX_MEMORY = 1 << 20
#: What such a refusal counts for, in instructions: as many as take as long.
_REFUSED = 16_000
_MISSING = "Patterns are searched by RE2, which is not installed here: install routing-engine[regex]."


def check_pattern(pattern: str) -> tuple[tuple[str, str] | None, int]:
    """Code and message of what is wrong with the pattern, or None; and how many instructions it is compiled to."""
    try:
        return None, _compiled(pattern).programsize
    except ImportError:
        return ("needs_extra", _MISSING), 0
    except ValueError as error:
        what, _, part = printable(str(error)).partition(": ")  # as RE2 says it: "missing ): (a"
        return ("bad_pattern", f"This is no RE2 pattern: {what}" + (f", in “{part}”." if part else ".")), _REFUSED


def searcher(patterns: Iterable[str]) -> Callable[[str], str | None]:
    """A function that answers the first of the patterns that is found in a text, or None.

    Raises `ImportError` where RE2 is not installed and `ValueError` for what is no pattern.
    """
    searches = [(pattern, _compiled(pattern).search) for pattern in patterns]

    def search(text: str) -> str | None:
        for pattern, found in searches:
            if found(text) is not None:
                return pattern
        return None

    return search


def _compiled(pattern: str) -> Any:
    try:
        import re2
    except ImportError:
        raise ImportError(_MISSING) from None
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else "it cannot be compiled"
        text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        raise ValueError(text) from None
