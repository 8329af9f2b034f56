from django.apps import AppConfig
from django.contrib import admin


class SignInConfig(AppConfig):
    """How people prove who they are: password, second factor, an account at an OpenID provider."""

    name = "routing_admin.signin"
    label = "signin"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in, user_login_failed
        from django_otp.plugins.otp_static.models import StaticDevice
        from django_otp.plugins.otp_totp.models import TOTPDevice

        from routing_admin.signin.guesses import tell
        from routing_admin.signin.sessions import begin

        user_logged_in.connect(begin)
        # After axes, which is ready before: it notes in the request what follows from the failure.
        user_login_failed.connect(tell)
        # The library's own pages would show secrets to installation staff and change factors without an audit entry.
        admin.site.unregister([StaticDevice, TOTPDevice])
