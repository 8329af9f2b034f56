"""People with an account, for installation staff: the stock pages, with entries in the installation's log."""

from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from routing_admin.signin.ends import access_lost
from routing_admin.signin.guesses import failures_of, unlock
from routing_admin.signin.people import ACCESS, record_person

People = get_user_model()
_SHOWN = ("username", "first_name", "last_name", "email", *ACCESS)
# What people may do here follows from their roles in organisations, never from the framework's permissions.
admin.site.unregister([Group, People])


class PersonForm(UserChangeForm):
    """Refuses what was written on a page that shows the person as they are no more, and goes on from what is stored now."""

    #: The digest of what the page showed.
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta(UserChangeForm.Meta):
        labels = {"is_active": "Active", "is_staff": "May sign in", "is_superuser": "Installation staff"}
        help_texts = {
            "is_active": "Without it the person's sessions and management keys stop at once.",
            "is_staff": "To the admin, and to the API with a session.",
            "is_superuser": "Admin of every organisation; makes organisations, people and keys for all.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["shown"] = shown_of(self.instance)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("shown") != self.initial["shown"]:
            self.data = self.data.copy()  # a request's own cannot be written to
            self.data["shown"] = self.initial["shown"]
            for name in [name for name in _SHOWN if name in cleaned and cleaned[name] != self.initial[name]]:
                self.add_error(name, f"Stored now: {_in_words(self.initial[name])}.")
            raise forms.ValidationError(
                "Somebody changed this person since you opened this page. Nothing was saved. Your text is below, with what"
                " is stored now; saving once more puts yours in its place."
            )
        return cleaned


def shown_of(person: Any) -> str:
    """The digest of what the page shows of a person that can be written there."""
    return _digest(repr([getattr(person, name) for name in _SHOWN]))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _in_words(value: Any) -> str:
    return {True: "yes", False: "no", "": "nothing"}.get(value, str(value))


@admin.register(People)
class PersonAdmin(UserAdmin):
    """Nobody is deleted: the logs name people by their ids. Nobody changes their own access, and whoever changes another's
    has theirs in that moment, so that one is always left who can."""

    form = PersonForm
    fieldsets = (
        (None, {"fields": ("shown", "username", "password", "first_name", "last_name", "email")}),
        ("Access", {"fields": ACCESS, "description": "Roles are given in each organisation, under Access."}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )
    list_display = ("username", "email", "is_active", "may_sign_in", "is_installation_staff", "last_login")
    list_filter = ()
    filter_horizontal = ()
    actions = None

    @admin.display(boolean=True, ordering="is_staff")
    def may_sign_in(self, person: Any) -> bool:
        return bool(person.is_staff)

    @admin.display(boolean=True, ordering="is_superuser", description="installation staff")
    def is_installation_staff(self, person: Any) -> bool:
        return bool(person.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        own = ACCESS if obj is not None and obj.pk == request.user.pk else ()
        return (*own, "last_login", "date_joined")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """To write, the row is locked and read after that."""
        if request.method != "POST":
            return super().get_object(request, object_id, from_field)
        _lock_staff(request.user)
        person = super().get_object(request, object_id, from_field)
        return None if person is None else People.objects.select_for_update().get(pk=person.pk)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            _lock_staff(request.user)
            obj.is_staff = True  # without it nobody can sign in, and the stock form does not ask
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)  # the person may be changing the password meanwhile
        if any(form.initial.get(name) and not getattr(obj, name) for name in ("is_active", "is_staff")):
            access_lost(obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            # Looked up as the stock page does, because one id can be written in many ways.
            person = self.get_object(request, unquote(id))
            if person is not None and person.pk == request.user.pk:
                return redirect("admin:password_change")  # which asks for the present one
            return super().user_change_password(request, id, form_url)

    # --- Unlocking --------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.unlock)
        return [path("<id>/unlock/", view, name="auth_user_unlock"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        person = kwargs.get("obj")
        failures = 0 if person is None else failures_of(request, person)
        return super().render_change_form(request, {**context, "failures": failures}, *args, **kwargs)

    @method_decorator(require_POST)
    def unlock(self, request: HttpRequest, id: str) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        with transaction.atomic():
            person = self.get_object(request, unquote(id))
            if person is None:
                raise Http404
            if unlock(person, by=request.user):
                messages.success(request, f"Wrong passwords and codes of {person} so far do not count any more.")
        return redirect("admin:auth_user_change", person.pk)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The log of the installation has it, not the stock table."""
        person = super().get_object(request, unquote(object_id))
        if person is None or not self.has_view_or_change_permission(request, person):
            raise Http404
        query = {"target_type": "user", "target_id": person.pk}
        return redirect(f"{reverse('admin:installation_audit')}?{urlencode(query)}")

    # --- Entries: the stock calls come in the transaction that saves ------------------------------------------------

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> tuple[str, dict[str, Any]] | None:
        """(action, what the entry has to say of it); None where nothing changed."""
        if isinstance(form, AdminPasswordChangeForm):
            # Always: to switch the password off changes no field that the stock form would name.
            return ("password.reset" if form.cleaned_data["set_usable_password"] else "password.disabled"), {}
        if add:
            return "person.created", {}
        changed = [str(name) for name in form.changed_data]
        said = {"was": _told(form.initial, changed), "is": _told(form.cleaned_data, changed)}
        return ("person.changed", {"changed": changed, **said}) if changed else None

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        self._record(message, request, obj)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        if message is not None:
            self._record(message, request, obj)

    def _record(self, said: tuple[str, dict[str, Any]], request: HttpRequest, person: Any) -> None:
        action, more = said
        record_person(person, action, by=request.user, **more)


def _lock_staff(person: Any) -> None:
    """Lock all rows of installation staff, in order: two who take each other's access in the same moment come here one
    after the other. Raises `PermissionDenied` for who is not one of them any more."""
    staff = People.objects.select_for_update().filter(is_active=True, is_staff=True, is_superuser=True)
    if person.pk not in staff.order_by("pk").values_list("pk", flat=True):
        raise PermissionDenied("You are not installation staff any more.")


def _told(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """As the log has them: of an e-mail the digest, by which it is recognised and not read; None where there is none."""
    told = {name: values[name] for name in names if name != "email"}
    return told | ({"email_sha256": _digest(values["email"]) if values["email"] else None} if "email" in names else {})
