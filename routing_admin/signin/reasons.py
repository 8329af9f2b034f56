"""Why somebody has to sign in again. The URL of the login page names a reason; the page knows these texts and no other."""

from typing import Final

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import MAX_URL_LENGTH, url_has_allowed_host_and_scheme, urlencode

REASON_FIELD_NAME: Final = "reason"
REASONS: Final = {
    "over": "Your session was over: nobody used it for long, or something about your sign-in changed.",
    "unsaved": "You were not signed in any more when you sent that, so nothing was saved. Sign in, and send it once more.",
    "late": "Your password was given more than five minutes ago, or your sign-in changed since. Give it once more.",
    "outdated": "The login page was out of date, and nothing was sent. Sign in now. If you see this again, let your"
    " browser keep the cookies of this page.",
}


def to_login(reason: str, *, then: str) -> HttpResponse:
    """To the login page, which says why, and leads to `then`: a URL of our own."""
    assert reason in REASONS, reason
    if len(then) > MAX_URL_LENGTH:  # the page would not lead there, and a redirect must not be too long itself
        then = reverse("admin:index")
    return redirect(f"{reverse('admin:login')}?{urlencode({REASON_FIELD_NAME: reason, REDIRECT_FIELD_NAME: then})}")


def back_to(request: HttpRequest) -> str:
    """Where somebody was who has to sign in: the page itself or, of what was sent, the page that it was written on."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    page = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    return page if is_ours else reverse("admin:index")


def said(request: HttpRequest) -> str:
    """The text of the reason that the URL names; "" where it names none that is known."""
    return REASONS.get(request.GET.get(REASON_FIELD_NAME, ""), "")
