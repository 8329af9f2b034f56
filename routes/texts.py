"""Names and notes that people write, by the engine's rule for texts: they come into logs, headers and pages; and which name
was meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Final

from django.core.exceptions import ValidationError

from routes.engine.reading import unsupported_in

#: What makes lines, and columns in them.
_LINES: Final = dict.fromkeys(map(ord, "\t\n\r"))
#: How much of a word has to be alike: a letter of five or six may be wrong.
_ALIKE: Final = 0.72
#: Comparing more names, or longer texts, takes longer than anybody waits for a hint.
_NAMES: Final = 2_000
_LONGEST: Final = 60


def nearest(text: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """The names that are written almost so, or have a word that is: the nearest first, none for a long text."""
    wanted = text.strip().casefold()
    if not wanted or len(wanted) > _LONGEST:
        return []
    spelled: dict[str, list[str]] = {}
    for name in islice(names, _NAMES):
        folded = name.casefold()
        for key in {folded, *re.split(r"[\W_]+", folded)}:
            several = spelled.setdefault(key, [])
            several.insert(0 if key == folded else len(several), name)  # a whole name before those that have the word
    close = get_close_matches(wanted, spelled, most, _ALIKE)
    return list(dict.fromkeys(name for key in close for name in spelled[key]))[:most]


def one_line(text: str) -> None:
    """Raises `ValidationError` for control characters, line separators and lone surrogates: a validator of Django's."""
    if unsupported_in(text):
        message = "Control characters, line separators and lone surrogates are refused. Leave them out."
        raise ValidationError(message, "unsupported_value")


def several_lines(text: str) -> None:
    """The same, where there may be several lines, and tabs."""
    one_line(text.translate(_LINES))
