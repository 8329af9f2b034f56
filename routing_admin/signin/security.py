"""A person's own page "Security": the second factor, recovery codes, the password, the account at the provider."""

import time
from base64 import b32encode
from typing import Any, Final

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout, update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.safestring import mark_safe
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from routing_admin.errors import status_of
from routing_admin.signin import factors, passwords, provider
from routing_admin.signin.accounts import connected_account, disconnect
from routing_admin.signin.errors import FactorExists, NoFactor, NoPassword, SignInError
from routing_admin.signin.forms import ChangePasswordForm, CodeForm, ConnectForm, SetUpForm
from routing_admin.signin.guesses import is_password, use_counted_code
from routing_admin.signin.sessions import is_by_provider, prove
from routing_admin.signin.views import go_to_provider

_NEW_FACTOR: Final = "signin_new_factor"
#: So long the secret of a factor is good that is not set up yet: whoever comes to the session later does not see it.
_NEW_FACTOR_SECONDS: Final = 600
_MAY_CONNECT_UNTIL: Final = "signin_may_connect_until"
_MAY_CONNECT_SECONDS: Final = 300


@require_http_methods(["GET", "HEAD"])
def security(request: HttpRequest) -> HttpResponse:
    return _page(request)


def _page(request: HttpRequest, **bound: Any) -> HttpResponse:
    """The page, with the form that was refused, or with `may_go`: the account may be connected now."""
    person = request.user
    factor = factors.factor_id(person)
    context = {
        **admin.site.each_context(request),
        "title": "Security",
        "has_factor": factor is not None,
        "has_password": person.has_usable_password(),
        "is_by_provider": is_by_provider(request),
        "is_required": settings.REQUIRE_SECOND_FACTOR,
        "codes_left": factors.recovery_codes_left(person) if factor is not None else 0,
        "provider_name": settings.OIDC_NAME,
        "account": connected_account(person) if provider.is_configured() else None,
        "renew_form": bound.get("renew_form") or CodeForm(prefix="renew"),
        "remove_form": bound.get("remove_form") or CodeForm(prefix="remove"),
        "connect_form": bound.get("connect_form") or _connect_form(person, None),
        "may_go": bound.get("may_go", False),
    }
    is_refused = any(isinstance(form, forms.Form) and form.errors for form in bound.values())
    return render(request, "signin/security.html", context, status=422 if is_refused else 200)


@sensitive_post_parameters("password", "code")
@require_http_methods(["GET", "HEAD", "POST"])
def factor_set_up(request: HttpRequest) -> HttpResponse:
    person = request.user
    if factors.factor_id(person) is not None:
        return redirect("admin:security")
    if not person.has_usable_password():
        return _without_password(request, "Set up a second factor", "so there is none to protect with a second factor.")
    key, is_new = _key_to_set_up(request)
    form = SetUpForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            if is_new:
                form.add_error(
                    "code", "This page was open for more than ten minutes. Scan the other secret that it shows now."
                )
            elif not is_password(request, person, form.cleaned_data["password"]):
                form.add_error("password", "This is not your password.")
            else:
                factor, codes = factors.set_up(person, key=key, code=form.cleaned_data["code"])
                del request.session[_NEW_FACTOR]
                prove(request, factor)
                return _codes(request, "Your second factor is set up.", codes)
        except FactorExists:
            return redirect("admin:security")
        except SignInError as error:
            form.add_error("code", str(error))
    device = factors.unsaved_device(person, key)
    context = {
        **admin.site.each_context(request),
        "title": "Set up a second factor",
        "form": form,
        "qr_code": _qr_code(device.config_url),
        "secret": _in_fours(device),
        "is_required": settings.REQUIRE_SECOND_FACTOR,
    }
    return render(request, "signin/set_up.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters("renew-code")
@require_POST
def recovery_codes_renew(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.POST, prefix="renew")
    if not _is_proved(request, form):
        return _page(request, renew_form=form)
    try:
        codes = factors.renew_recovery_codes(request.user)
    except NoFactor:
        return redirect("admin:security")  # it went away in between
    return _codes(request, "The former recovery codes do not work any more.", codes)


@sensitive_post_parameters("remove-code")
@require_POST
def factor_remove(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.POST, prefix="remove")
    if not _is_proved(request, form):
        return _page(request, remove_form=form)
    try:
        factors.remove(request.user, by=request.user)
    except NoFactor:
        return redirect("admin:security")  # it went away in between
    prove(request, None)
    messages.success(request, "Your second factor and its recovery codes are removed.")
    return redirect("admin:security")


@sensitive_post_parameters("password", "code", "new_password1", "new_password2")
@require_http_methods(["GET", "HEAD", "POST"])
def password_change(request: HttpRequest) -> HttpResponse:
    """In place of the stock page, where the present password could be guessed at without end."""
    person = request.user
    if not person.has_usable_password():
        return _without_password(request, "Change your password", "so there is none to change.")
    data = request.POST if request.method == "POST" else None
    form = ChangePasswordForm(person, data, with_code=factors.factor_id(person) is not None)
    if _is_proved_by_password(request, form):
        passwords.change(person, form.cleaned_data["new_password1"])
        update_session_auth_hash(request, person)
        messages.success(request, "Your password is changed. Your other sessions have ended.")
        return redirect("admin:security")
    context = {**admin.site.each_context(request), "title": "Change your password", "form": form}
    return render(request, "signin/password.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters("connect-password", "connect-code")
@require_POST
def provider_connect(request: HttpRequest) -> HttpResponse:
    """Asks for the password, and then offers the way. A form cannot lead to another host under our policy; a link can."""
    _only_where_configured()
    form = _connect_form(request.user, request.POST)
    if not _is_proved_by_password(request, form):
        return _page(request, connect_form=form)
    request.session[_MAY_CONNECT_UNTIL] = time.time() + _MAY_CONNECT_SECONDS
    return _page(request, may_go=True)


@require_GET
def provider_go(request: HttpRequest) -> HttpResponse:
    _only_where_configured()
    if time.time() > request.session.pop(_MAY_CONNECT_UNTIL, 0):
        return redirect("admin:security")
    return go_to_provider(request, then=reverse("admin:security"), connects=request.user.pk)


@require_POST
def provider_disconnect(request: HttpRequest) -> HttpResponse:
    _only_where_configured()
    if not request.user.has_usable_password():
        messages.error(request, "You have no password: without this account you could not sign in.")
    elif disconnect(request.user):
        messages.success(request, f"Your account at {settings.OIDC_NAME} does not sign you in any more.")
        if is_by_provider(request):
            logout(request)
            return redirect("admin:login")
    return redirect("admin:security")


def _is_proved(request: HttpRequest, form: forms.Form) -> bool:
    """Whether the form has a code that is right; uses it up. The form says why not."""
    if not form.is_valid():
        return False
    try:
        use_counted_code(request, request.user, form.cleaned_data["code"])
    except SignInError as error:
        form.add_error("code", str(error))
        return False
    return True


def _is_proved_by_password(request: HttpRequest, form: forms.Form) -> bool:
    """Whether the form has the right password, and then the right code where it asks for one. The form says why not."""
    if form.is_valid() and not is_password(request, request.user, form.cleaned_data["password"]):
        form.add_error("password", "This is not your password.")
    return _is_proved(request, form) if "code" in form.fields else form.is_valid()


def _without_password(request: HttpRequest, title: str, why: str) -> HttpResponse:
    error = NoPassword(
        f"You have no password here, {why} Your account at {settings.OIDC_NAME or 'the provider'} signs you in. Ask the"
        " staff of this installation if you want a password too."
    )
    context = {**admin.site.each_context(request), "title": title, "why": str(error), "code": error.code}
    return render(request, "signin/no_password.html", context, status=status_of(error) or 403)


def _codes(request: HttpRequest, done: str, codes: list[str]) -> HttpResponse:
    """Shown in the answer to this very request, because nothing that outlives it may hold them."""
    context = {
        **admin.site.each_context(request),
        "title": "Recovery codes",
        "done": done,
        "text": "\n".join(codes) + "\n",
    }
    return render(request, "signin/codes.html", context)


def _connect_form(person: Any, data: Any) -> ConnectForm:
    return ConnectForm(data, prefix="connect", with_code=factors.factor_id(person) is not None)


def _key_to_set_up(request: HttpRequest) -> tuple[str, bool]:
    """The secret that the session sets up, and whether it was made just now. A page that is loaded again, or refused, shows
    the same one: it was scanned."""
    kept = request.session.get(_NEW_FACTOR)
    if kept is not None and time.time() <= kept["until"]:
        return kept["key"], False
    key = factors.new_key()
    request.session[_NEW_FACTOR] = {"key": key, "until": time.time() + _NEW_FACTOR_SECONDS}
    return key, True


def _qr_code(url: str) -> str:
    """Black on white in any theme, or cameras do not read it. Attributes alone: styles would break the policy."""
    svg = segno.make(url, error="m", micro=False).svg_inline(
        scale=5, dark="#000", light="#fff", title="QR code of the secret below", omitsize=True
    )
    return mark_safe(svg)  # noqa: S308  the library draws modules; the title is ours


def _in_fours(device: Any) -> str:
    text = b32encode(device.bin_key).decode("ascii")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _only_where_configured() -> None:
    if not provider.is_configured():
        raise Http404


PAGES = [
    path("security/", security, name="security"),
    path("security/second-factor/", factor_set_up, name="factor_set_up"),
    path("security/second-factor/remove/", factor_remove, name="factor_remove"),
    path("security/recovery-codes/", recovery_codes_renew, name="recovery_codes_renew"),
    path("password_change/", password_change, name="password_change"),
    path("security/provider/", provider_connect, name="provider_connect"),
    path("security/provider/go/", provider_go, name="provider_go"),
    path("security/provider/disconnect/", provider_disconnect, name="provider_disconnect"),
]
for _page_of in PAGES:
    _page_of.callback.required_role = "anybody"
