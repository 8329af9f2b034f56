"""The OpenID provider: sending people there, and believing only what it signed for us.

Authlib checks the state, the nonce, PKCE (S256), the signature, and that the token is neither expired nor meant for others.
"""

import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from routing_admin.signin.errors import ProviderAway, ProviderRefused

#: For one call of the provider.
TIMEOUT_SECONDS: Final = 5
#: So long the provider is not asked again for what it publishes; an unknown key asks at once.
METADATA_SECONDS: Final = 3_600
LEEWAY_SECONDS: Final = 60
#: Only with the provider's own key; with "none", or with a secret that both know, others could sign too.
ALGORITHMS: Final = frozenset("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split())
#: What Authlib raises, beside errors of its own, where an answer is not as the standards have it: it takes for granted that
#: all are JSON objects with what they must have.
_UNREADABLE: Final = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the provider vouches for it. `email` is what it says, verified or not; "" where it says none."""

    issuer: str
    subject: str
    email: str = ""
    is_email_verified: bool = False
    #: What the person is called there.
    username: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who came back, where they wanted to go, and the id of the person who connects an account, None for a sign-in."""

    account: Account
    then: str
    connects: int | None


def is_configured() -> bool:
    return bool(settings.OIDC_ISSUER)


def start(request: HttpRequest, *, callback_url: str, then: str, connects: int | None = None) -> HttpResponse:
    """Send the browser to the provider. `then` is a checked URL of our own. Raises `ProviderAway`."""
    from requests import RequestException

    try:
        client = _client()
        made = client.create_authorization_url(callback_url)
    except (RequestException, *_UNREADABLE) as error:
        raise _away(error) from error
    client.save_authorize_data(request, redirect_uri=callback_url, then=then, connects=connects, **made)
    return HttpResponseRedirect(made["url"])


def finish(request: HttpRequest) -> Answer:
    """Read the provider's answer; the same one is read once. Raises `ProviderRefused`, `ProviderAway`."""
    from authlib.common.errors import AuthlibBaseError
    from joserfc.errors import JoseError
    from requests import RequestException

    try:
        client = _client()
        asked = client.framework.get_state_data(request.session, request.GET.get("state")) or {}
        claims_options = {
            "iss": {"essential": True, "value": settings.OIDC_ISSUER},
            "aud": {"essential": True, "value": settings.OIDC_CLIENT_ID},
        }
        token = client.authorize_access_token(request, claims_options=claims_options, leeway=LEEWAY_SECONDS)
        # Authlib puts there what it read in the signed token; without one it stays what the answer said.
        claims = token.get("userinfo") if token.get("id_token") else None
        if claims is None:
            raise ProviderRefused(_REFUSED)
        if "email" not in claims and client.server_metadata.get("userinfo_endpoint"):
            more = client.userinfo(token=token)
            if more.get("sub") != claims["sub"]:
                raise ProviderRefused(_REFUSED)
            claims = {**more, **claims}
    except (AuthlibBaseError, JoseError) as error:
        log.warning("The OpenID provider's answer was refused: %r", str(error))  # it may quote the address bar
        raise ProviderRefused(_REFUSED) from error
    except (RequestException, *_UNREADABLE) as error:
        raise _away(error) from error
    return Answer(_account(claims), asked["then"], asked["connects"])


_REFUSED: Final = "You were not signed in there, or the answer was not for this browser. Try again from the start."


def _account(claims: Any) -> Account:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or "\0" in subject:
        raise ProviderRefused(_REFUSED)
    return Account(
        issuer=settings.OIDC_ISSUER,
        subject=subject,
        email=_text(claims, "email"),
        is_email_verified=claims.get("email_verified") is True,
        username=_text(claims, "preferred_username"),
    )


def _text(claims: Any, name: str) -> str:
    value = claims.get(name)
    return value.strip() if isinstance(value, str) and "\0" not in value else ""


def _away(error: Exception) -> ProviderAway:
    log.warning("The OpenID provider cannot be used: %s: %r", type(error).__name__, str(error))
    _client_for.cache_clear()  # it may keep an answer that cannot be read
    return ProviderAway(
        "The provider cannot be reached at the moment, or its answer cannot be read. Try again later, or sign in with your"
        " password."
    )


def _client() -> Any:
    asked = (settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)
    return _client_for(*asked, int(time.time()) // METADATA_SECONDS)


@lru_cache(maxsize=1)
def _client_for(issuer: str, client_id: str, client_secret: str, period: int) -> Any:
    """Authlib's client, with what the provider publishes about itself at this time. Imported late: who has no provider
    need not wait for it. Raises what `requests` raises, and `ValueError` for another issuer than was asked for."""
    from authlib.integrations.django_client import OAuth

    client = OAuth().register(
        "oidc",
        client_id=client_id,
        client_secret=client_secret,
        server_metadata_url=issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid profile email",
            "code_challenge_method": "S256",
            "default_timeout": TIMEOUT_SECONDS,
        },
    )
    metadata = client.load_server_metadata()
    if metadata.get("issuer") != issuer:
        raise ValueError(f"it calls itself {metadata.get('issuer')!r}, OIDC_ISSUER says {issuer!r}")
    offered = ALGORITHMS.intersection(metadata.get("id_token_signing_alg_values_supported") or ["RS256"])
    metadata["id_token_signing_alg_values_supported"] = sorted(offered)
    return client
