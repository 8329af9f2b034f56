"""Whoever is loaded for a session comes with what may have opened or ended it, so that asking costs no query of its own.

Django keeps in the session which of these backends signed its person in.
"""

from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db.models import F, OuterRef, QuerySet, Subquery
from django_otp.plugins.otp_totp.models import TOTPDevice

from routing_admin.signin.models import ProviderAccount

BY_PASSWORD: Final = "routing_admin.signin.backend.PasswordBackend"  # noqa: S105  a path
BY_PROVIDER: Final = "routing_admin.signin.backend.ProviderBackend"


class PasswordBackend(ModelBackend):
    """Passwords are checked as Django does. `get_user` answers active people with `second_factor_id`, None without one, and
    what `ends_of` says."""

    def user_can_authenticate(self, user: Any) -> bool:
        """Who is active and staff: whoever is not any more has no session left, at the API either."""
        return bool(super().user_can_authenticate(user) and user.is_staff)

    def get_user(self, user_id: Any) -> Any:
        person = self._people().filter(pk=user_id).first()
        return person if person is not None and self.user_can_authenticate(person) else None

    def _people(self) -> QuerySet[Any]:
        factor = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True).values("pk")[:1]
        return get_user_model().objects.annotate(
            second_factor_id=Subquery(factor),
            factor_changes=F("session_ends__factor_changes"),
            access_losses=F("session_ends__access_losses"),
        )


class ProviderBackend(PasswordBackend):
    """For sessions that the OpenID provider opened: `provider_account_id` is that of the account which is connected now,
    None without one."""

    def authenticate(self, *args: Any, **kwargs: Any) -> None:
        """Checks nobody: else each password would be checked twice."""

    def _people(self) -> QuerySet[Any]:
        mine = ProviderAccount.objects.filter(issuer=settings.OIDC_ISSUER, person=OuterRef("pk"))
        return super()._people().annotate(provider_account_id=Subquery(mine.values("pk")[:1]))
