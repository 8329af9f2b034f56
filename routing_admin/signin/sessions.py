"""What a session says of how its person signed in, and the one function that signs people in.

A session is authenticated only when all that is asked for was given. Between password and code it holds who is expected,
and authenticates nobody.
"""

import time
from enum import Enum
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY, get_user_model, login
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from routing_admin.signin.backend import BY_PASSWORD, BY_PROVIDER
from routing_admin.signin.ends import ends_now, ends_of
from routing_admin.signin.errors import AccountGone, SecondFactorRequired, SessionOver
from routing_admin.signin.factors import factor_id
from routing_admin.signin.models import ProviderAccount

#: After a password the id of the second factor that was proved, None without one; of a session that the provider opened
#: the id of the account there.
_PROOF: Final = "signin_proof"
#: How often by then the person's second factor had changed, and the person had lost access.
_ENDS: Final = "signin_ends"
#: When its person signed in, and when it was used last, to a tenth of what it may idle.
_BEGAN: Final = "signin_began"
_USED: Final = "signin_used"
_EXPECTED: Final = "signin_expected"
#: So long a code may be waited for.
EXPECTED_SECONDS: Final = 300


class Standing(Enum):
    """What a session of somebody signed in lacks."""

    WHOLE = "nothing"
    #: There is no second factor, and the installation asks for one.
    UNPROTECTED = "a second factor to be set up"
    #: After this session began the person's second factor came, changed or went, or the provider's account that opened it
    #: was disconnected.
    STALE = "another sign-in"
    #: Nobody used it for too long, it began too long ago, or its person might not sign in for a while.
    OVER = "another sign-in by now"


def standing(request: HttpRequest) -> Standing:
    """Of a session that is authenticated. No query."""
    factor_changes, access_losses = request.session.get(_ENDS, (None, None))
    changes_by_now, losses_by_now = ends_of(request.user)
    if _is_over(request) or access_losses != losses_by_now:
        return Standing.OVER
    proof = request.session.get(_PROOF)
    if is_by_provider(request):
        # The provider asked for whatever it asks for.
        return Standing.WHOLE if proof is not None and proof == request.user.provider_account_id else Standing.STALE
    factor = factor_id(request.user)
    if proof != factor or factor_changes != changes_by_now:
        return Standing.STALE
    return Standing.UNPROTECTED if factor is None and settings.REQUIRE_SECOND_FACTOR else Standing.WHOLE


def require_whole(request: HttpRequest) -> None:
    """Raises `SessionOver`, `SecondFactorRequired` or `AccountGone` for a session that lacks something, and throws away one
    that will never be whole again."""
    found, by_provider = standing(request), is_by_provider(request)
    if found in (Standing.OVER, Standing.STALE):
        request.session.flush()
    if found is Standing.OVER:
        raise SessionOver("This session is over. Sign in again.")
    if found is Standing.STALE and by_provider:
        raise AccountGone("The account that opened this session signs you in no more. Sign in again.")
    if found is not Standing.WHOLE:
        raise SecondFactorRequired(
            "Your account needs a second factor. Sign in to the admin, set it up, and call again."
            if found is Standing.UNPROTECTED
            else "Your second factor changed since this session began. Sign in again."
        )


def drop_dead(request: HttpRequest) -> bool:
    """Throw a session away that names somebody who may not sign in, and answer whether there was one, or the cookie of one
    that the database has thrown away."""
    if request.user.is_authenticated:
        return False
    if SESSION_KEY in request.session:
        request.session.flush()
        return True
    return settings.SESSION_COOKIE_NAME in request.COOKIES and request.session.is_empty()


def begin(*, request: HttpRequest, user: Any, **_: Any) -> None:
    """Note when somebody signed in, in whichever way: Django's signal comes here."""
    request.session[_BEGAN] = request.session[_USED] = int(time.time())
    request.session[_ENDS] = ends_now(user)


def prolong(request: HttpRequest) -> None:
    """Let the session go on, of which `standing` was asked. It is written only after a tenth of what it may idle."""
    now = int(time.time())
    if now - request.session[_USED] >= settings.SESSION_IDLE_SECONDS // 10:
        request.session[_USED] = now


def _is_over(request: HttpRequest) -> bool:
    now = time.time()
    idle = now - request.session.get(_USED, 0)
    return bool(
        idle > settings.SESSION_IDLE_SECONDS or now - request.session.get(_BEGAN, 0) > settings.SESSION_ABSOLUTE_SECONDS
    )


def sign_in(request: HttpRequest, person: Any, *, factor: int | None) -> None:
    """Authenticate the session after a password, under a new key. `factor`: the id of the second factor that was used, None
    for a person who has none."""
    _sign_in(request, person, backend=BY_PASSWORD, proof=factor)


def sign_in_by_provider(request: HttpRequest, connected: ProviderAccount) -> None:
    """Authenticate the session by an account at the provider, under a new key; it ends when this is disconnected."""
    _sign_in(request, connected.person, backend=BY_PROVIDER, proof=connected.pk)


def _sign_in(request: HttpRequest, person: Any, *, backend: str, proof: int | None) -> None:
    if SESSION_KEY in request.session:
        request.session.flush()  # of whoever it was, nothing is carried over
    request.session.pop(_EXPECTED, None)
    login(request, person, backend=backend)
    request.session[_PROOF] = proof
    request.session.cycle_key()


def prove(request: HttpRequest, factor: int | None) -> None:
    """Note that the person's second factor, which came or went just now, is proved. A session by the provider rests on the
    account there."""
    if not is_by_provider(request):
        request.session[_PROOF], request.session[_ENDS] = factor, ends_now(request.user)
    request.session.cycle_key()


def is_by_provider(request: HttpRequest) -> bool:
    return bool(request.session.get(BACKEND_SESSION_KEY) == BY_PROVIDER)


def expect_code(request: HttpRequest, person: Any, *, then: str) -> None:
    """Note whose password was right; `then` is the checked URL to go to after the code. Authenticates nobody."""
    if SESSION_KEY in request.session:
        request.session.flush()
    until = time.time() + EXPECTED_SECONDS
    known = {"hash": person.get_session_auth_hash(), "ends": ends_now(person)}
    request.session[_EXPECTED] = {"person": person.pk, **known, "until": until, "then": then}
    # Whoever planted the session must not be the one who guesses codes in it.
    request.session.cycle_key()


def expected_person(request: HttpRequest) -> tuple[Any, str] | None:
    """Who gave a right password within five minutes and owes a code, and where to go then. None once the person is
    deactivated (also if active again), has another password or factor, or the time is over."""
    expected = request.session.get(_EXPECTED)
    if expected is None or time.time() > expected["until"]:
        return None
    person = get_user_model().objects.filter(pk=expected["person"], is_active=True, is_staff=True).first()
    if person is None or not constant_time_compare(expected["hash"], person.get_session_auth_hash()):
        return None
    if tuple(expected.get("ends", ())) != ends_now(person):
        return None
    return person, expected["then"]


def expected_then(request: HttpRequest) -> str | None:
    """Where whoever owes a code wanted to go, also when it is too late for that; None where nobody owes one."""
    expected = request.session.get(_EXPECTED)
    return None if expected is None else expected["then"]
