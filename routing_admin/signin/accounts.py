"""Who an account at the provider is. Only writer of `ProviderAccount`.

Known is who was connected, by issuer and subject, never by e-mail. What happens to others, the settings say: nothing,
unless the installation trusts the provider with it. Nobody gets rights this way: a new person belongs to no organisation.
"""

import re
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from audit.actors import system
from audit.services import record
from routing_admin.signin.errors import AccountTaken, NobodyKnown
from routing_admin.signin.models import ProviderAccount
from routing_admin.signin.provider import Account

_NOBODY = (
    "No active person here belongs to this account. If you have a password here, sign in with it and connect the"
    " account under Security; else ask the staff of this installation."
)
BY = system("oidc")


def recognise(account: Account) -> ProviderAccount:
    """The account as it signs an active person in, connected or with a person made just now where the settings allow it.
    Raises `NobodyKnown`."""
    found = _connected(account)
    if found is None:
        try:
            found = _newly_connected(account)
        except IntegrityError:
            # The same account came twice at once, and the other one was first. Or another one of this name did.
            found = _connected(account) or _connected_after_all(account)
    if found is None or not found.person.is_active or not found.person.is_staff:
        raise NobodyKnown(_NOBODY)
    return found


def connect(account: Account, person: Any) -> None:
    """Let this account sign the person in, who asked for it. Raises `AccountTaken`."""
    try:
        with transaction.atomic():
            ProviderAccount.objects.create(issuer=account.issuer, subject=account.subject, person_id=person.pk)
            _record(person, account.issuer, by=person, action="provider_account.connected")
    except IntegrityError as error:
        raise AccountTaken(
            "This account is connected to somebody already, or you have another one. Nothing changed."
        ) from error


def disconnect(person: Any) -> bool:
    """Let no account at the present provider sign the person in any more, and answer whether one did. Sessions that it
    opened end."""
    with transaction.atomic():
        gone, _ = ProviderAccount.objects.filter(issuer=settings.OIDC_ISSUER, person_id=person.pk).delete()
        if gone:
            _record(person, settings.OIDC_ISSUER, by=person, action="provider_account.disconnected")
    return bool(gone)


def connected_account(person: Any) -> ProviderAccount | None:
    """The person's account at the present provider."""
    return ProviderAccount.objects.filter(issuer=settings.OIDC_ISSUER, person_id=person.pk).first()


def _connected(account: Account) -> ProviderAccount | None:
    found = ProviderAccount.objects.filter(issuer=account.issuer, subject=account.subject)
    return found.select_related("person").first()


def _connected_after_all(account: Account) -> ProviderAccount | None:
    try:
        # Of ten who come at once under one name, nine would choose the same next one.
        return _newly_connected(account, number=secrets.randbelow(900_000) + 100_000)
    except IntegrityError:
        # The person has another account there: providers give the address of somebody who left to somebody new.
        return None


def _newly_connected(account: Account, *, number: int = 1) -> ProviderAccount | None:
    """`number`: what a new person's name has behind it, where it is not 1."""
    people = get_user_model().objects.filter(email__iexact=account.email)[:2] if account.email else []
    with transaction.atomic():
        if not people and settings.OIDC_CREATE_PEOPLE:
            return _made(account, number)
        if len(people) != 1 or not settings.OIDC_CONNECT_BY_EMAIL or not _may_be_connected(people[0], account):
            return None
        made = ProviderAccount.objects.create(issuer=account.issuer, subject=account.subject, person=people[0])
        _record(people[0], account.issuer, by=BY, action="provider_account.connected")
        return made


def _may_be_connected(person: Any, account: Account) -> bool:
    """By e-mail alone. Not installation staff: they connect themselves."""
    # PostgreSQL takes "ı" for "i" where it ignores case.
    is_same = person.email.casefold() == account.email.casefold()
    may_sign_in = person.is_active and person.is_staff
    return account.is_email_verified and is_same and may_sign_in and not person.is_superuser


def _made(account: Account, number: int) -> ProviderAccount:
    email = account.email if account.is_email_verified and len(account.email) <= 254 else ""
    person = get_user_model().objects.create_user(
        _free_name(account, number), email=email, password=None, is_staff=True
    )
    made = ProviderAccount.objects.create(issuer=account.issuer, subject=account.subject, person=person)
    _record(person, account.issuer, by=BY, action="person.created")
    return made


def _free_name(account: Account, number: int) -> str:
    """What the person is called there, without a host and what no name here has; with this number or a later one where it
    is not 1, or the name is taken in any writing."""
    told = (account.username or account.email).partition("@")[0]
    name = re.sub(r"[^A-Za-z0-9.+_-]", "", told).strip(".+_-")[:100] or "person"
    free = name if number == 1 else f"{name}-{number}"
    while get_user_model().objects.filter(username__iexact=free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _record(person: Any, issuer: str, *, by: Any, action: str) -> None:
    payload = {"username": person.get_username(), "issuer": issuer}
    record(None, by=by, action=action, target=("user", str(person.pk)), payload=payload)
