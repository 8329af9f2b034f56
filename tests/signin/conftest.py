import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache

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
    """Stands still in the middle of a step of the codes until it is told to let so many seconds pass, for codes and for
    what waits: so nothing that is tested depends on how busy the machine is."""
    now = [time.time() // 30 * 30 + 15]
    monkeypatch.setattr("django_otp.models.timezone.now", lambda: datetime.fromtimestamp(now[0], UTC))
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("django_otp.oath.time", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes
