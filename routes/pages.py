"""What pages of several subjects share: numbers that forms send back, why something is done, and the way to the draft of a
refused change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from routes import noted
from routes.publish import DirectWrite
from routes.texts import several_lines


def whole_number(text: str) -> int | None:
    """The number that these digits are; None for what is none, and for more than a column holds."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def seen(request: HttpRequest, name: str) -> int:
    """The version or revision that a page showed, as its form sends it back; -1, which nothing ever has, for none."""
    number = whole_number(request.POST.get(name, ""))
    return -1 if number is None else number


def kept_as_draft(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """To the draft of a plan that a change became which needs approval; None where it became none."""
    if not isinstance(error, DirectWrite) or error.plan is None:
        return None
    messages.warning(request, f"{error} Have it replayed, and ask somebody else to approve it.")
    return redirect("admin:plan", request.org.slug, error.plan.pk)


class NoteField(forms.CharField):
    """Why somebody publishes what they do."""

    widget = forms.Textarea(attrs={"rows": 2, "class": "ra-prose"})

    def __init__(self, **more: Any) -> None:
        help_text = "Why; it stands in the history and in the audit log."
        super().__init__(
            required=False, max_length=noted.LONGEST, validators=[several_lines], help_text=help_text, **more
        )


class Why(forms.Form):
    """The note of a page whose own form knows none."""

    note = NoteField()

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if request.method == "POST" else None)

    def is_acceptable(self) -> bool:
        """Whether there is none, or one that can be kept."""
        return not self.is_bound or self.is_valid()

    @contextmanager
    def bound(self) -> Iterator[None]:
        """What is published inside the block is published with it."""
        with noted.bind(self.cleaned_data["note"] if self.is_bound and self.is_valid() else ""):
            yield
