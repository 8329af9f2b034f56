"""Wrong codes and wrong passwords of people whose name is known count where failed sign-ins do, and lock out like them."""

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest

from routing_admin.signin.errors import WrongCode
from routing_admin.signin.factors import use_code


def use_counted_code(request: HttpRequest, person: Any, code: str) -> str:
    """As `use_code`. Whoever is locked out is not told whether the code was right: the answer becomes the lock's."""
    credentials = {"username": person.get_username()}
    try:
        if settings.AXES_ENABLED and not AxesProxyHandler.is_allowed(request, credentials):
            raise WrongCode("There were too many attempts.")
        return use_code(person, code)
    except WrongCode:
        user_login_failed.send(sender=__name__, credentials=credentials, request=request)
        raise


def is_password(request: HttpRequest, person: Any, password: str) -> bool:
    """Whether this is the person's password."""
    found = authenticate(request, username=person.get_username(), password=password)
    return found is not None and found.pk == person.pk
