"""The refusals of signing in."""


class SignInError(Exception):
    """Somebody did not prove who they are; `code` is stable, the text says what to do and tells of nobody else."""

    code = "sign_in_refused"


class SecondFactorRequired(SignInError):
    """The session lacks the second factor that its person or the installation asks for."""

    code = "second_factor_required"


class SessionOver(SignInError):
    """Nobody used the session for too long, it began too long ago, or its person might not sign in for a while."""

    code = "session_over"


class WrongCode(SignInError):
    """Neither a code of the moment nor an unused recovery code."""

    code = "wrong_code"


class TooManyWrongCodes(SignInError):
    """After wrong codes the next one is looked at later, whoever sends it from wherever."""

    code = "too_many_wrong_codes"


class FactorExists(SignInError):
    """The person has a second factor already."""

    code = "second_factor_exists"


class NoFactor(SignInError):
    """The person has no second factor."""

    code = "no_second_factor"


class NoPassword(SignInError):
    """The person signs in by the provider alone, and what was asked for is about a password."""

    code = "no_password"


class ProviderAway(SignInError):
    """The OpenID provider cannot be reached, what it publishes about itself is wrong, or its answer cannot be read."""

    code = "provider_away"


class ProviderRefused(SignInError):
    """The provider did not sign the person in, or its answer is not to be trusted."""

    code = "provider_refused"


class AccountGone(SignInError):
    """The account at the provider that opened the session is not connected any more."""

    code = "provider_account_gone"


class NobodyKnown(SignInError):
    """No active person belongs to the account at the provider. The same for every reason: a stranger learns nothing."""

    code = "nobody_known"


class AccountTaken(SignInError):
    """The account at the provider, or the person, is connected already."""

    code = "account_taken"
