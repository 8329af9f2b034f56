"""Passwords are checked as Django does; whoever is loaded for a session comes with the id of their second factor."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db.models import OuterRef, Subquery
from django_otp.plugins.otp_totp.models import TOTPDevice


class PasswordBackend(ModelBackend):
    """`get_user` answers active people with `second_factor_id` (None without one), so that asking for it on every request
    costs no query of its own."""

    def user_can_authenticate(self, user: Any) -> bool:
        """Who is active and staff: whoever is not any more has no session left, at the API either."""
        return bool(super().user_can_authenticate(user) and user.is_staff)

    def get_user(self, user_id: Any) -> Any:
        factor = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True).values("pk")[:1]
        person = get_user_model().objects.annotate(second_factor_id=Subquery(factor)).filter(pk=user_id).first()
        return person if person is not None and self.user_can_authenticate(person) else None
