"""The doors for people who are not signed in: password, code, and the way to the OpenID provider and back."""

import math
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from routing_admin.errors import status_of
from routing_admin.signin import provider
from routing_admin.signin.accounts import connect, recognise
from routing_admin.signin.errors import ProviderRefused, SignInError
from routing_admin.signin.factors import factor_id, recovery_codes_left
from routing_admin.signin.forms import CodeForm
from routing_admin.signin.guesses import lock_ends, use_counted_code
from routing_admin.signin.reasons import to_login
from routing_admin.signin.sessions import expect_code, expected_person, expected_then, sign_in, sign_in_by_provider


class SignIn(LoginView):
    """Name and password. Whoever has a second factor is asked for it before any session is authenticated."""

    next_page = "admin:index"

    def form_valid(self, form: Any) -> HttpResponse:
        person = form.get_user()
        then = self.get_success_url()
        if factor_id(person) is None:
            sign_in(self.request, person, factor=None)
            return HttpResponseRedirect(then)
        expect_code(self.request, person, then=then)
        return redirect("admin:login_code")


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    expected = expected_person(request)
    if expected is None:
        then = expected_then(request)
        return redirect("admin:login") if then is None else to_login("late", then=then)
    person, then = expected
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].widget.attrs["autofocus"] = True
    if form.is_valid():
        try:
            used = use_counted_code(request, person, form.cleaned_data["code"])
        except SignInError as error:
            form.add_error("code", str(error))
        else:
            sign_in(request, person, factor=factor_id(person))
            if used == "recovery":
                left = recovery_codes_left(person)
                messages.warning(request, f"That recovery code is used up; {left} are left. Security has new ones.")
            return HttpResponseRedirect(then)
    context = {**admin.site.each_context(request), "title": "Second factor", "form": form}
    return render(request, "signin/code.html", context, status=422 if form.errors else 200)


@login_not_required
@never_cache
@require_GET
def provider_start(request: HttpRequest) -> HttpResponse:
    _only_where_configured()
    return go_to_provider(request, then=checked_next(request))


@login_not_required
@never_cache
@require_GET
def provider_callback(request: HttpRequest) -> HttpResponse:
    _only_where_configured()
    try:
        answer = provider.finish(request)
        if answer.connects is not None:
            return _connected(request, answer)
        account = recognise(answer.account)
    except SignInError as error:
        return _refused(request, error)
    sign_in_by_provider(request, account)
    return HttpResponseRedirect(answer.then)


def locked(request: HttpRequest, _instead_of: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """What axes answers whoever is locked out with, on any page: when that ends."""
    seconds = max(1, math.ceil((lock_ends(request, credentials) - timezone.now()).total_seconds()))
    context = {"minutes": math.ceil(seconds / 60), "is_signed_in": request.user.is_authenticated}
    page = render(request, "signin/locked.html", context, status=429)
    page["Retry-After"] = str(seconds)
    return page


def go_to_provider(request: HttpRequest, *, then: str, connects: int | None = None) -> HttpResponse:
    callback_url = request.build_absolute_uri(reverse("admin:provider_callback"))
    try:
        return provider.start(request, callback_url=callback_url, then=then, connects=connects)
    except SignInError as error:
        return _refused(request, error)


def checked_next(request: HttpRequest) -> str:
    """The `next` of the request where it is a page of our own host; else the first page."""
    checked = RedirectURLMixin()
    checked.request = request
    return checked.get_redirect_url() or reverse("admin:index")


def _connected(request: HttpRequest, answer: provider.Answer) -> HttpResponse:
    if request.user.pk != answer.connects:
        raise ProviderRefused("You are not signed in any more as who wanted to connect the account. Sign in again.")
    connect(answer.account, request.user)
    messages.success(request, "Connected: from now on this account signs you in.")
    return HttpResponseRedirect(answer.then)


def _refused(request: HttpRequest, error: SignInError) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "Not signed in", "why": str(error), "code": error.code}
    return render(request, "signin/refused.html", context, status=status_of(error) or 403)


def _only_where_configured() -> None:
    if not provider.is_configured():
        raise Http404


#: What an anonymous caller may ask for beside the login page.
OPEN_PAGES = [
    path("login/code/", code, name="login_code"),
    path("login/provider/", provider_start, name="provider_start"),
    path("login/provider/callback/", provider_callback, name="provider_callback"),
]
