"""Wrong codes and wrong passwords of people whose name is known count where failed sign-ins do, and lock out like them."""

from datetime import datetime
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_cool_off, get_failure_limit
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest
from django.utils import timezone

from routing_admin.signin.errors import WrongCode
from routing_admin.signin.factors import use_code


def use_counted_code(request: HttpRequest, person: Any, code: str) -> str:
    """As `use_code`. Whoever is locked out is not told whether the code was right: the answer becomes the lock's."""
    credentials = {"username": person.get_username()}
    try:
        if settings.AXES_ENABLED and not AxesProxyHandler.is_allowed(request, credentials):
            request.axes_locked_out = True  # else it counts, and the lock begins anew
            raise WrongCode("There were too many attempts.")
        return use_code(person, code)
    except WrongCode:
        user_login_failed.send(sender=__name__, credentials=credentials, request=request)
        raise


def is_password(request: HttpRequest, person: Any, password: str) -> bool:
    """Whether this is the person's password."""
    found = authenticate(request, username=person.get_username(), password=password)
    return found is not None and found.pk == person.pk


def lock_ends(request: HttpRequest, credentials: dict[str, Any] | None) -> datetime:
    """When so many of the attempts that count are over that who is locked out now may try again."""
    counted = 0
    [attempts] = AxesProxyHandler.get_implementation().get_user_attempts(request, credentials)
    for at, failures in attempts.order_by("-attempt_time").values_list("attempt_time", "failures_since_start"):
        counted += failures
        if counted >= get_failure_limit(request, credentials):
            return at + get_cool_off(request)
    return timezone.now()  # somebody unlocked it in between
