"""Filters that several subjects use."""

from typing import Any

import django_filters as filters
from django import forms
from django.core.exceptions import ValidationError

from audit.times import read_time


class _TimeField(forms.Field):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        try:
            return read_time(value)
        except ValueError as error:
            raise ValidationError(str(error), "bad_time") from None


class TimeFilter(filters.Filter):
    """A moment in RFC 3339 with its zone."""

    field_class = _TimeField


class _FlagField(forms.Field):
    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        if value in ("true", "false"):
            return value == "true"
        raise ValidationError("true or false.", "bad_flag")


class FlagFilter(filters.Filter):
    """`true` or `false`: a stock one takes anything else for no filter, and answers with everything."""

    field_class = _FlagField


class _WholeField(forms.IntegerField):
    def to_python(self, value: Any) -> Any:
        if value not in self.empty_values and not (value.isascii() and value.isdigit()):
            raise ValidationError("A whole number.", "invalid")  # a stock one takes 1.0
        return super().to_python(value)


class WholeFilter(filters.Filter):
    """A whole number from 0, in digits."""

    field_class = _WholeField


class _TextField(forms.CharField):
    def __init__(self, **more: Any) -> None:
        super().__init__(strip=False, max_length=500, **more)  # refuses U+0000, which PostgreSQL does not compare


class TextFilter(filters.Filter):
    """Exactly this text."""

    field_class = _TextField
