from typing import Any, ClassVar

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.password_validation import password_validators_help_texts


class SignInForm(AdminAuthenticationForm):
    """Name and password. A name that is longer than any is refused like each other wrong one, and counts nowhere: it is
    nobody's, so that nothing is guessed by it."""

    error_messages: ClassVar = {
        **AdminAuthenticationForm.error_messages,
        # The same for every reason: a stranger learns nothing.
        "invalid_login": "Name and password do not fit, or this account may not sign in. Capitals count in both.",
    }

    def clean(self) -> dict[str, Any]:
        # The stock form only tells the browser the length. What axes keeps of a name has room for 255 characters, and these
        # are more than were sent where normalising makes eighteen of one.
        longest = get_user_model()._meta.get_field("username").max_length
        if len(self.cleaned_data.get("username", "")) > longest:
            raise self.get_invalid_login_error()
        cleaned: dict[str, Any] = super().clean()
        return cleaned


class CodeForm(forms.Form):
    """A code of the app, or a recovery code."""

    code = forms.CharField(
        max_length=40,
        help_text="The six digits that your app shows, or a recovery code.",
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


class PasswordForm(forms.Form):
    """The password once more, because a session alone may be somebody else's."""

    password = forms.CharField(
        label="Your password",
        max_length=4_096,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class ChangePasswordForm(SetPasswordForm, PasswordForm):
    """A new password, twice. `with_code`: for a person who has a second factor."""

    def __init__(self, *args: Any, with_code: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django's is a list, which our fields would put into a paragraph.
        self.fields["new_password1"].help_text = " ".join(map(str, password_validators_help_texts()))
        if with_code:
            self.fields["code"] = CodeForm.base_fields["code"]


class SetUpForm(PasswordForm):
    code = forms.CharField(
        max_length=40,
        help_text="The six digits that your app shows now.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"}),
    )


class ConnectForm(PasswordForm):
    """`with_code`: for a person who has a second factor."""

    def __init__(self, *args: Any, with_code: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if with_code:
            self.fields["code"] = CodeForm.base_fields["code"]
