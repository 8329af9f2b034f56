"""Names and notes that people write, by the engine's rule for texts: they come into logs, headers and pages."""

from typing import Final

from django.core.exceptions import ValidationError

from routes.engine.reading import unsupported_in

#: What makes lines, and columns in them.
_LINES: Final = dict.fromkeys(map(ord, "\t\n\r"))


def one_line(text: str) -> None:
    """Raises `ValidationError` for control characters, line separators and lone surrogates: a validator of Django's."""
    if unsupported_in(text):
        message = "Control characters, line separators and lone surrogates are refused. Leave them out."
        raise ValidationError(message, "unsupported_value")


def several_lines(text: str) -> None:
    """The same, where there may be several lines, and tabs."""
    one_line(text.translate(_LINES))
