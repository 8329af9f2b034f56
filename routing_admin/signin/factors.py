"""The second factor of people: codes of an authenticator app (TOTP, RFC 6238), and recovery codes. Only writer of both.

Wrong codes of the app make the next ones wait, twice as long each time, in the row itself: for all processes and addresses
together. Recovery codes cannot be guessed and never wait, so that whoever guesses keeps nobody out.
"""

import secrets
from base64 import b32encode
from binascii import unhexlify
from hashlib import sha256
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from audit.services import record
from routing_admin.signin.ends import factor_changed
from routing_admin.signin.errors import FactorExists, NoFactor, TooManyWrongCodes, WrongCode

RECOVERY_CODES: Final = 10
#: Without those that are read as another. Sixteen of them are 79 bits: their plain digest tells nothing.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_LENGTH: Final = 16
_TOLERANCE_STEPS: Final = 1
_NAME: Final = "app"
#: After so many wrong codes the wait grows no more: 1,024 s, 84 guesses a day of which 3 in a million are right, from
#: however many addresses. That is a chance of 1 in 4,000 a day, and the owner's app works again soon after the last guess.
_MOST_FAILURES: Final = 11


def new_key() -> str:
    """A new secret for an app: 20 random bytes as hex."""
    return secrets.token_hex(20)


def unsaved_device(person: Any, key: str) -> TOTPDevice:
    """What the app is told of: its `config_url` is what the QR code holds."""
    return TOTPDevice(user=person, name=_NAME, key=key, tolerance=_TOLERANCE_STEPS)


def factor_id(person: Any) -> int | None:
    """The id of the person's second factor, None without one. No query for whoever the session's backend loaded."""
    if hasattr(person, "second_factor_id"):
        known: int | None = person.second_factor_id
        return known
    return TOTPDevice.objects.filter(user=person.pk, confirmed=True).values_list("pk", flat=True).first()


def recovery_codes_left(person: Any) -> int:
    return StaticToken.objects.filter(device__user=person.pk).count()


def set_up(person: Any, *, key: str, code: str) -> tuple[int, list[str]]:
    """Make the app that knows the secret the person's second factor. Answers its id, and the recovery codes, which
    nobody can learn again. Raises `WrongCode`, `FactorExists`."""
    totp = TOTP(unhexlify(key))
    digits = _plain(code)
    if not _is_of_app(digits) or not totp.verify(int(digits), tolerance=_TOLERANCE_STEPS):
        raise WrongCode("This is not the code of the moment. Look at the app again; its clock must be right.")
    with transaction.atomic():
        _lock(person)
        if TOTPDevice.objects.filter(user=person.pk).exists():
            raise FactorExists("You have a second factor already. Remove it first.")
        device = unsaved_device(person, key)
        device.user_id, device.last_t, device.drift = person.pk, totp.t(), totp.drift
        device.save()
        codes = _new_codes(person)
        factor_changed(person)
        _record(person, by=person, action="second_factor.added")
    return device.pk, codes


def renew_recovery_codes(person: Any) -> list[str]:
    """New recovery codes; the former ones end. Raises `NoFactor`."""
    with transaction.atomic():
        _lock(person)
        if not TOTPDevice.objects.filter(user=person.pk).exists():
            raise NoFactor("There is no second factor to recover. Set one up first.")
        codes = _new_codes(person)
        _record(person, by=person, action="recovery_codes.renewed")
    return codes


def remove(person: Any, *, by: Any, action: str = "second_factor.removed") -> None:
    """Take the person's second factor and recovery codes away; sessions that a password opened end. Raises `NoFactor`."""
    with transaction.atomic():
        _lock(person)
        removed, _ = TOTPDevice.objects.filter(user=person.pk).delete()
        if not removed:
            raise NoFactor("There is no second factor to remove.")
        StaticDevice.objects.filter(user=person.pk).delete()
        factor_changed(person)
        _record(person, by=by, action=action)


def use_code(person: Any, code: str) -> str:
    """Use up a code of the app or a recovery code. Answers "app" or "recovery"; raises `WrongCode`, and
    `TooManyWrongCodes` without having looked at it. Not inside a transaction that a refusal would roll back."""
    text = _plain(code)
    is_of_app = _is_of_app(text)
    with transaction.atomic():
        devices = TOTPDevice.objects if is_of_app else StaticDevice.objects
        device = devices.select_for_update().filter(user=person.pk, confirmed=True).first()
        if device is not None:
            device.throttling_failure_count = min(device.throttling_failure_count, _MOST_FAILURES)
        wait = None if device is None else _wait_seconds(device)
        is_right = device is not None and wait is None and device.verify_token(text if is_of_app else _digest(text))
        if is_right and not is_of_app:
            # The owner need not wait for what somebody else guessed.
            for app in TOTPDevice.objects.select_for_update().filter(user=person.pk):
                app.throttle_reset()
    # Outside, because what was counted must stay.
    if wait is not None:
        raise TooManyWrongCodes(
            f"There were too many wrong codes. The next one is looked at in {wait:,} s; a recovery code works now."
        )
    if not is_right:
        raise WrongCode("This is neither the code of the moment nor an unused recovery code. A code works once.")
    return "app" if is_of_app else "recovery"


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _is_of_app(text: str) -> bool:
    return len(text) == 6 and text.isascii() and text.isdigit()


def _wait_seconds(device: TOTPDevice | StaticDevice) -> int | None:
    is_allowed, why = device.verify_is_allowed()
    if is_allowed:
        return None
    return int((why["locked_until"] - timezone.now()).total_seconds()) + 1


def _lock(person: Any) -> None:
    """Lock the person's row, so that two requests cannot set up two factors."""
    get_user_model().objects.select_for_update().get(pk=person.pk)


def _new_codes(person: Any) -> list[str]:
    StaticDevice.objects.filter(user=person.pk).delete()
    device = StaticDevice.objects.create(user_id=person.pk, name="recovery")
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(_LENGTH)) for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=device, token=_digest(code)) for code in codes)
    return ["-".join(code[at : at + 4] for at in range(0, _LENGTH, 4)) for code in codes]


def _digest(code: str) -> str:
    """What is kept of a recovery code: 80 bits of its SHA-256, as the 16 letters that the library's column holds."""
    return b32encode(sha256(code.encode("utf-8", "replace")).digest()[:10]).decode("ascii")


def _record(person: Any, *, by: Any, action: str) -> None:
    payload = {"username": person.get_username()}
    record(None, by=by, action=action, target=("user", str(person.pk)), payload=payload)
