"""What pages of several subjects share: numbers that forms send back, and the way to the draft of a refused change."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from routes.publish import DirectWrite


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
