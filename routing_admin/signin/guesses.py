"""Wrong codes and wrong passwords of people whose name is known count where failed sign-ins do, and lock out like them."""

import logging
from datetime import datetime
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_cool_off, get_failure_limit
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from audit.services import record
from routing_admin.addresses import client_address
from routing_admin.signin.errors import WrongCode
from routing_admin.signin.factors import use_code

log = logging.getLogger(__name__)


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """Under which name axes counts an attempt. A name that nobody has may be a password in the wrong field: only its digest
    is kept."""
    name = (credentials or request.POST).get("username")
    if not name or get_user_model().objects.filter(username=name).exists():
        return name
    return f"? {salted_hmac('signin.counted_name', name, algorithm='sha256').hexdigest()}"


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


def failures_of(request: HttpRequest, person: Any) -> int:
    """How many failed attempts under the person's name count still, from all addresses together."""
    since = timezone.now() - get_cool_off(request)
    counted = AccessAttempt.objects.filter(username=person.get_username(), attempt_time__gte=since)
    return counted.aggregate(failures=Sum("failures_since_start", default=0))["failures"]


def unlock(person: Any, *, by: Any) -> bool:
    """Let failed attempts under the person's name count no more, from any address, and answer whether there were some."""
    with transaction.atomic():
        gone = AxesProxyHandler.reset_attempts(username=person.get_username())
        if gone:
            payload = {"username": person.get_username(), "attempts": gone}
            record(None, by=by, action="person.unlocked", target=("user", str(person.pk)), payload=payload)
    return bool(gone)


def tell(*, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """A line of the log for a failure that axes has counted: from where, and whose name it was. A name that nobody has may
    be a password in the wrong field, and is not told."""
    name = credentials.get("username")
    person = get_user_model().objects.filter(username=name).values_list("pk", flat=True).first() if name else None
    address = client_address(request) if request is not None else None
    more = {
        **({"address": address} if address else {}),
        **({"target": f"user:{person}"} if person is not None else {}),
    }
    if not getattr(request, "axes_locked_out", False):
        log.info("sign-in failed", extra=more)
    elif request.axes_failures_since_start is not None:  # it was counted, so this one locked
        log.warning("sign-in failed, locked out", extra=more)
    else:
        log.info("sign-in refused, locked out", extra=more)
