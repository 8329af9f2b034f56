import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from routing_admin.signin import provider as signin_provider
from routing_admin.signin.models import ProviderAccount
from tests.signin.people import person_with_password
from tests.signin.provider import CLIENT_ID, CLIENT_SECRET, Provider


@pytest.fixture(scope="session")
def openid_server() -> Iterator[Provider]:
    server = Provider()
    yield server
    server.stop()


@pytest.fixture
def openid(openid_server: Provider, settings: Any) -> Provider:
    """A provider that is configured, and still honest."""
    openid_server.reset()
    settings.OIDC_ISSUER, settings.OIDC_NAME = openid_server.issuer, "Example ID"
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    signin_provider._client_for.cache_clear()
    return openid_server


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada(db: None) -> Any:
    return person_with_password("ada")


@pytest.fixture
def known(openid: Provider, ada: Any) -> Any:
    """Ada, whose account is connected."""
    ProviderAccount.objects.create(issuer=openid.issuer, subject="sub-1", person=ada)
    return ada


@pytest.fixture
def locks(settings: Any) -> Iterator[None]:
    settings.AXES_ENABLED = True
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass, for codes and for what waits."""
    passed = [0.0]
    real_now, real_time = timezone.now, time.time
    monkeypatch.setattr("django_otp.models.timezone.now", lambda: real_now() + timedelta(seconds=passed[0]))
    monkeypatch.setattr("time.time", lambda: real_time() + passed[0])
    monkeypatch.setattr("django_otp.oath.time", lambda: real_time() + passed[0])

    def passes(seconds: float) -> None:
        passed[0] += seconds

    return passes
