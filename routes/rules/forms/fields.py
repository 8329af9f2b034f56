"""Single fields. None of them judges what the engine judges: they turn text into JSON values and back, and nothing that
the engine accepts is changed by being shown and sent again."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.engine.reading import MAX_USD
from routes.engine.times import DAYS
from routes.rules.forms import lines
from routes.rules.forms.words import EMPTY


def needed[F: forms.Field](field: F) -> F:
    """The field, marked as one that must be filled in wherever it is shown: the engine says so, where it is."""
    field.is_needed = True
    field.widget.attrs["aria-required"] = "true"
    return field


_ONE_OF_THESE: Final = {"required": "Choose one.", "invalid_choice": "Choose one of the list."}


class Choice(forms.ChoiceField):
    default_error_messages: ClassVar = _ONE_OF_THESE


class Text(forms.CharField):
    """Text with its inner and outer spaces; empty for nothing."""

    default_error_messages: ClassVar = {
        "required": EMPTY,
        "null_characters_not_allowed": "It holds a control character: remove it, or type the text anew.",
    }

    def __init__(self, *, completes_from: str = "", **kwargs: Any) -> None:
        if completes_from:
            kwargs["widget"] = forms.TextInput(attrs={"list": completes_from, "autocomplete": "off"})
        super().__init__(**{"required": False, "strip": False, **kwargs})

    def to_python(self, value: Any) -> str:
        # Browsers send every line break as two characters.
        return (super().to_python(value) or "").replace("\r\n", "\n")


class LongSelect(forms.Select):
    """A list that may have a thousand entries, without groups: the same HTML, but not two templates for each of them, which
    takes a quarter of a second."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = self.get_context(name, value, attrs)["widget"]
        options = format_html_join(
            "\n",
            '<option value="{}"{}>{}</option>',
            (
                (one["value"], flatatt(one["attrs"]), one["label"])
                for _, group, _ in shown["optgroups"]
                for one in group
            ),
        )
        return format_html('<select name="{}"{}>\n{}\n</select>', name, flatatt(shown["attrs"]), options)


class Paragraph(Text):
    """Text in which line breaks become spaces."""

    widget = forms.Textarea(attrs={"rows": 2, "class": "ra-prose"})

    def to_python(self, value: Any) -> str:
        return super().to_python(value).replace("\n", " ")


class Lines(Text):
    """One value a line; values keep their inner and outer spaces, blank lines fall away."""

    widget = forms.Textarea(attrs={"rows": 3})

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line for line in super().to_python(value).split("\n") if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class Models(Lines):
    """Names of models, one a line, completed from the price table."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "data-chips": "models"})


class Notation(Text):
    """Lines in one of the notations of `lines`."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})

    def __init__(self, read: Callable[[str], Any], write: Callable[[Any], str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._read = read
        self._write = write

    def to_python(self, value: Any) -> Any:
        try:
            return self._read(value or "")
        except lines.Unreadable as error:
            raise forms.ValidationError(error.problems) from None

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str | None) or self._write is None else self._write(value)


class YesNo(forms.TypedChoiceField):
    """True, False, or None for neither."""

    default_error_messages: ClassVar = _ONE_OF_THESE

    def __init__(self, *, neither: str = "Does not matter", **kwargs: Any) -> None:
        choices = [("", neither), ("true", "Yes"), ("false", "No")]
        super().__init__(
            required=False, choices=choices, coerce=lambda value: value == "true", empty_value=None, **kwargs
        )

    def prepare_value(self, value: Any) -> Any:
        return {True: "true", False: "false"}.get(value, "") if isinstance(value, bool | None) else value


_WHOLE: Final = "Write a whole number, 0 or more, in digits alone."
_USD: Final = f"Write an amount in US dollars, from 0 to {MAX_USD:,}, with at most 9 decimals: 0.05"


class Whole(forms.IntegerField):
    default_error_messages: ClassVar = {
        "required": EMPTY, "invalid": _WHOLE, "min_value": _WHOLE, "max_value": "Write at most %(limit_value)s.",
    }  # fmt: skip
    # A browser's own field for numbers sends nothing for what it cannot read, and what was meant is gone.
    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "min_value": 0, **kwargs})


class Usd(forms.DecimalField):
    """A JSON number of US dollars."""

    default_error_messages: ClassVar = dict.fromkeys(("invalid", "min_value", "max_value", "max_decimal_places"), _USD)
    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "min_value": 0, "max_value": MAX_USD, "decimal_places": 9, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        # As people write it: not 1e-09.
        return f"{Decimal(repr(value)):f}" if isinstance(value, float) else value

    def clean(self, value: Any) -> int | float | None:  # type: ignore[override]
        amount = super().clean(value)
        return None if amount is None else int(amount) if amount == int(amount) else float(amount)


#: What browsers have fields of their own for.
_MINUTES_AND_MORE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?", re.ASCII)
_CLOCK = re.compile("[0-9]{2}:[0-9]{2}", re.ASCII)


class _ClockInput(forms.TimeInput):
    input_type = "time"

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if (shown := context["widget"]["value"]) and not _CLOCK.fullmatch(shown):
            context["widget"]["type"] = "text"
        return context


class Clock(Text):
    """A time of day as the engine reads it."""

    widget = _ClockInput


class _UtcInput(forms.DateTimeInput):
    input_type = "datetime-local"
    supports_microseconds = True

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        shown = context["widget"]["value"] or ""
        if shown and not _MINUTES_AND_MORE.fullmatch(shown):
            # A browser's own field knows milliseconds and empties what is finer, and what is no time.
            context["widget"]["type"] = "text"
        return context


class UtcTime(forms.DateTimeField):
    """A time of the clock in UTC, to the microsecond; aware."""

    default_error_messages: ClassVar = {"invalid": "Write a day and a time of it: 2026-11-30 22:00"}
    widget = _UtcInput(attrs={"step": "any"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, datetime):
            return value
        text = value.replace(tzinfo=None).isoformat()  # strftime writes early years with fewer digits
        return text.removesuffix("000") if "." in text else text.removesuffix(":00")

    def clean(self, value: Any) -> datetime | None:
        at = super().clean(value)
        try:
            return None if at is None else at.astimezone(UTC)
        except OverflowError:  # a text may carry an offset, which can lead out of the calendar
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


class Days(forms.MultipleChoiceField):
    default_error_messages: ClassVar = _ONE_OF_THESE
    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, choices=[(day, day.title()) for day in DAYS], **kwargs)


class Json(Text):
    """JSON, read as strictly as the API reads it; None for nothing."""

    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false"})

    def to_python(self, value: Any) -> Any:
        if not (value or "").strip():
            return None
        try:
            return parse_json(value.encode(errors="replace"), MAX_DEPTH, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        except DocumentRejected as error:
            raise forms.ValidationError(str(error).replace("The document", "The text")) from None

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return json.dumps(value, indent=1, ensure_ascii=False)
