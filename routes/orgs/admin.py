"""Who belongs to an organisation, its keys, its policy; and for installation staff the organisations themselves."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from routes.errors import RoutesError
from routes.orgs import access as people
from routes.orgs.models import ApiKey, Membership, Organization, Role
from routes.orgs.services import create_organization, set_approval


class MemberForm(forms.Form):
    username = forms.CharField(max_length=150)
    role = forms.ChoiceField(choices=Role.choices)

    def clean_username(self) -> Any:
        user = get_user_model().objects.filter(username=self.cleaned_data["username"], is_active=True).first()
        if user is None:
            raise forms.ValidationError("There is no active account with this name. Installation staff make accounts.")
        return user


class KeyForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What uses it, for example “dashboard”.")
    role = forms.ChoiceField(choices=Role.choices)
    expires_at = forms.DateTimeField(
        required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}), help_text="UTC. Empty: never."
    )


class PolicyForm(forms.Form):
    approval = forms.ChoiceField(choices=Organization.Approval.choices, label="Approval")


def access(request: HttpRequest, **bound: forms.Form) -> HttpResponse:
    org = request.org
    return render(
        request,
        "routes/access.html",
        {
            "title": "Access",
            "members": Membership.objects.filter(org=org).select_related("user"),
            "keys": ApiKey.objects.filter(org=org).select_related("made_by"),
            "member_form": bound.get("member_form") or MemberForm(prefix="member"),
            "key_form": bound.get("key_form") or KeyForm(prefix="key"),
            "policy_form": bound.get("policy_form") or PolicyForm(initial={"approval": org.approval}, prefix="policy"),
            "new_key": bound.get("new_key"),
            "roles": Role.choices,
        },
        status=422 if any(isinstance(form, forms.Form) and form.errors for form in bound.values()) else 200,
    )


def _done(request: HttpRequest, text: str) -> HttpResponse:
    messages.success(request, text)
    return redirect("admin:access", request.org.slug)


def _refused(request: HttpRequest, error: RoutesError) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("admin:access", request.org.slug)


@require_POST
def member_add(request: HttpRequest) -> HttpResponse:
    form = MemberForm(request.POST, prefix="member")
    if not form.is_valid():
        return access(request, member_form=form)
    user, role = form.cleaned_data["username"], form.cleaned_data["role"]
    try:
        people.add_member(request.org, user, role=role, by=request.actor)
    except RoutesError as error:
        form.add_error("username", str(error))
        return access(request, member_form=form)
    return _done(request, f"{user} is {role} now.")


@require_POST
def member_change(request: HttpRequest, id: int) -> HttpResponse:
    member = get_object_or_404(Membership, pk=id, org=request.org)
    role = request.POST.get("role", "")
    try:
        if role == "remove":
            people.remove_member(member, by=request.actor)
            return _done(request, f"{member.user} has no role here any more.")
        if role in Role.values:
            people.change_role(member, role=role, by=request.actor)
            return _done(request, f"{member.user} is {role} now.")
    except RoutesError as error:
        return _refused(request, error)
    return redirect("admin:access", request.org.slug)


@require_POST
def key_create(request: HttpRequest) -> HttpResponse:
    form = KeyForm(request.POST, prefix="key")
    if form.is_valid():
        try:
            made = people.create_key(request.org, by=request.actor, **form.cleaned_data)
        except RoutesError as error:
            form.add_error("role", str(error))
        else:
            # Shown in this very answer, because nothing that outlives it may hold the secret.
            return access(request, new_key=made)
    return access(request, key_form=form)


@require_POST
def key_revoke(request: HttpRequest, id: str) -> HttpResponse:
    key = get_object_or_404(ApiKey, pk=id, org=request.org)
    people.revoke_key(key, by=request.actor)
    return _done(request, f"“{key.name}” does not work any more.")


@require_POST
def policy_change(request: HttpRequest) -> HttpResponse:
    form = PolicyForm(request.POST, prefix="policy")
    if not form.is_valid():
        return access(request, policy_form=form)
    set_approval(request.org, approval=form.cleaned_data["approval"], by=request.actor)
    return _done(request, f"{request.org.get_approval_display()}.")


access.required_role = "admin"
for _page in (member_add, member_change, key_create, key_revoke, policy_change):
    _page.required_role = "admin"

PAGES = [
    path("access/", access, name="access"),
    path("access/members/", member_add, name="member_add"),
    path("access/members/<int:id>/", member_change, name="member_change"),
    path("access/keys/", key_create, name="key_create"),
    path("access/keys/<str:id>/revoke/", key_revoke, name="key_revoke"),
    path("access/policy/", policy_change, name="policy_change"),
]


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    """For installation staff: making organisations. What is inside them has pages of its own."""

    list_display = ["slug", "name", "environment", "status", "version", "approval"]
    fields = ["slug", "name", "environment", "approval"]
    actions = None

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        made = create_organization(by=request.user, **form.cleaned_data)
        obj.pk = made.pk

    def has_change_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: the audit log has the entry."""
