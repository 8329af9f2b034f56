"""People with passwords and second factors, and codes as their apps compute them (RFC 6238)."""

import hmac
import struct
import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from routing_admin.signin import factors

PASSWORD = "correct horse battery"


def person_with_password(name: str, **fields: Any) -> Any:
    fields = {"is_staff": True, "email": f"{name}@example.org", **fields}
    return get_user_model().objects.create(username=name, password=make_password(PASSWORD), **fields)


def code_at(key_hex: str, seconds: float) -> str:
    """RFC 6238 with SHA-1, 30 s and six digits."""
    digest = hmac.digest(bytes.fromhex(key_hex), struct.pack(">Q", int(seconds) // 30), "sha1")
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


def with_factor(person: Any) -> tuple[str, list[str]]:
    """(secret as hex, recovery codes). The code of the moment is not used up: it was set up a while ago."""
    key = factors.new_key()
    _, codes = factors.set_up(person, key=key, code=code_at(key, time.time()))
    TOTPDevice.objects.filter(user=person).update(last_t=-1)
    return key, codes


def give_password(client: Client, name: str = "ada", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/admin/login/", {"username": name, "password": password, **more})


def wrong_code(key: str) -> str:
    right = {code_at(key, time.time() + shift) for shift in (-60, -30, 0, 30, 60)}
    return next(text for number in range(10) if (text := f"{number:06d}") not in right)
