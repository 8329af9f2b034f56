"""Who belongs to an organisation, its keys, its policy, its name."""

from functools import partial
from secrets import token_urlsafe
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST

from routes.errors import RoutesError
from routes.orgs import keys, members, policy
from routes.orgs.access import role_of
from routes.orgs.models import ApiKey, Membership, Organization, Role
from routes.orgs.organizations import NamesForm, organization_new, policies, read_names
from routes.orgs.services import update_organization
from routes.texts import one_line, several_lines


class MemberForm(forms.Form):
    username = forms.CharField(max_length=150)
    role = forms.ChoiceField(choices=Role.choices)


class NamedTextsField(forms.CharField):
    """Texts by name, a line for each: `team = blue`."""

    def __init__(self, **more: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 2}), max_length=20_000, **more)

    def clean(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in (super().clean(value) or "").splitlines():
            if not line.strip():
                continue
            name, sign, text = line.partition("=")
            name, text = name.strip(), text.strip()
            if not sign or not name:
                raise forms.ValidationError("Write a name, = and a text in each line, such as “team = blue”.")
            if name in found:
                raise forms.ValidationError(f"The name “{name}” is there twice.")
            one_line(name)
            one_line(text)
            found[name] = text
        return found


class KeyForm(forms.Form):
    #: Another one in each form that is shown, so that a page which is reloaded makes no second key.
    once = forms.CharField(required=False, max_length=32, widget=forms.HiddenInput, initial=partial(token_urlsafe, 12))
    name = forms.CharField(max_length=100, validators=[one_line], help_text="What uses it, for example “dashboard”.")
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.label.partition(":")[0]) for kind in ApiKey.Kind],
        help_text="A management key calls the API, one of a gateway reads what it runs, one for traffic sends requests.",
    )
    role = forms.ChoiceField(
        choices=Role.choices,
        required=False,
        help_text="Of a management key, which never exceeds your own role of the moment. The others have none.",
    )
    expires_at = forms.DateTimeField(
        required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}), help_text="UTC. Empty: never."
    )
    metadata = NamedTextsField(
        required=False,
        label="Fixed metadata",
        help_text="Of a key for traffic: a line for each, such as “team = blue”. Its requests have it, whatever they say.",
    )
    allows_force = forms.BooleanField(
        required=False,
        label="Requests may say which route takes them",
        help_text="Of a key for traffic, for tests: by the header X-Routing-Force, which holds the route's name.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if "role" in cleaned and cleaned.get("kind") != ApiKey.Kind.MANAGEMENT:
            cleaned["role"] = ""  # a list always has something chosen
        return cleaned


class GatewayKeyForm(KeyForm):
    """For gateways of all organisations, which have no other kind and no role."""

    kind = None  # Django's way to leave out an inherited field
    role = None
    metadata = None
    allows_force = None


#: Where a session notes the forms that made keys, and how many of them.
_SENT: Final = "keys_made"
_MOST_SENT: Final = 20


class PolicyForm(forms.Form):
    approval = forms.ChoiceField(
        choices=Organization.Approval.choices,
        label="Approval",
        help_text="A stricter policy holds at once, a looser one when another admin confirms it.",
    )


class FreezeForm(forms.Form):
    reason = forms.CharField(
        label="Why",
        max_length=10_000,
        validators=[several_lines],
        widget=forms.Textarea(attrs={"rows": 2, "class": "ra-prose"}),
        help_text="Whoever is refused reads it.",
    )


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
            "policies": policies(org.approval),
            "names_form": bound.get("names_form")
            or NamesForm(initial={"name": org.name, "environment": org.environment}, prefix="names"),
            "freeze_form": bound.get("freeze_form") or FreezeForm(prefix="freeze"),
            "is_own_proposal": org.approval_proposed_by == str(request.user.pk),
            "new_key": bound.get("new_key"),
            "roles": Role.choices,
        },
        status=422 if any(isinstance(form, forms.Form) and form.errors for form in bound.values()) else 200,
    )


def _done(request: HttpRequest, text: str) -> HttpResponse:
    """To the page again, or to one that is open to who gave up an own role just now."""
    messages.success(request, text)
    role = role_of(request.user, request.org)
    if role is None:
        return redirect("admin:index")
    return redirect("admin:access" if role.includes(Role.ADMIN) else "admin:home", request.org.slug)


def _refused(request: HttpRequest, error: RoutesError) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("admin:access", request.org.slug)


@require_POST
def member_add(request: HttpRequest) -> HttpResponse:
    form = MemberForm(request.POST, prefix="member")
    if not form.is_valid():
        return access(request, member_form=form)
    role = form.cleaned_data["role"]
    try:
        user = members.find_person(form.cleaned_data["username"], asked_by=request.user)
        members.add_member(request.org, user, role=role, by=request.actor)
    except RoutesError as error:
        form.add_error("username", str(error))
        return access(request, member_form=form)
    return _done(request, f"{user} is {role} now.")


@require_http_methods(["GET", "POST"])
def member_change(request: HttpRequest, id: int) -> HttpResponse:
    """Gives a member another role, or none, which is asked about first."""
    member = get_object_or_404(Membership, pk=id, org=request.org)
    if request.method == "GET":
        made = ApiKey.objects.filter(org=request.org, made_by=member.user, kind=ApiKey.Kind.MANAGEMENT)
        count = sum(key.is_valid for key in made)
        stop = f"{count} management key{'s' if count > 1 else ''} made by {member.user} will do nothing any more: a key"
        said = [
            f"{member.user} ({member.role}) can neither see nor change anything of {request.org.name} then.",
            *([f"{stop} acts for the person who made it."] if count else []),
            "What was done stays in the audit log. An admin can add the same person again.",
        ]
        asked = {"said": said, "button": f"Remove {member.user}", "role": "remove"}
        return _ask(request, f"Remove {member.user}?", **asked)
    role = request.POST.get("role", "")
    try:
        if role == "remove":
            members.remove_member(member, by=request.actor)
            return _done(request, f"{member.user} has no role here any more.")
        if role in Role.values:
            members.change_role(member, role=role, by=request.actor)
            return _done(request, f"{member.user} is {role} now.")
    except RoutesError as error:
        return _refused(request, error)
    return redirect("admin:access", request.org.slug)


@require_POST
def key_create(request: HttpRequest) -> HttpResponse:
    form = KeyForm(request.POST, prefix="key")
    if _was_sent_before(request, form):
        return redirect("admin:access", request.org.slug)
    if made := _made(request, form):
        return access(request, new_key=made)
    return access(request, key_form=form)


def _was_sent_before(request: HttpRequest, form: KeyForm) -> bool:
    """Whether this very form made a key already: the page that shows a key is the answer to its form, which a browser sends
    again when that page is reloaded."""
    if form.data.get(form.add_prefix("once")) not in request.session.get(_SENT, []):
        return False
    messages.warning(request, "That key was made, and is shown only once. Nothing was made again.")
    return True


def _made(request: HttpRequest, form: KeyForm, **more: Any) -> keys.NewKey | None:
    """The key that the form asks for. Shown in the answer to this very request, because nothing that outlives it may hold
    the secret. None where it cannot be made; the form says why."""
    if not form.is_valid():
        return None
    once = form.cleaned_data.pop("once")
    try:
        made = keys.create_key(request.org, by=request.actor, **form.cleaned_data, **more)
        if once:
            request.session[_SENT] = [*request.session.get(_SENT, [])[-_MOST_SENT:], once]
        return made
    except keys.InvalidKey as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
    except RoutesError as error:
        form.add_error("role" if isinstance(error, keys.RoleTooHigh) else None, str(error))
    return None


@require_http_methods(["GET", "POST"])
def key_revoke(request: HttpRequest, id: str) -> HttpResponse:
    """Asks first: what uses the key is refused from that moment on."""
    key = get_object_or_404(ApiKey, pk=id, org=request.org)
    if request.method == "GET":
        return _ask_about_key(request, key)
    keys.revoke_key(key, by=request.actor)
    return _done(request, f"“{key.name}” does not work any more.")


#: By kind of key what is refused once it is revoked.
_STOPS = {
    "management": "Every call of the API with it is refused from that moment on.",
    "gateway": "A gateway that uses it goes on with the routes that it has, and learns of no change any more; nor do its"
    " logs come in.",
    "traffic": "Gateways refuse every request with it, within seconds.",
}


def _ask_about_key(request: HttpRequest, key: ApiKey) -> HttpResponse:
    used = f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
    said = [
        f"rk_{key.kind}_{key.pk}_…, made by {key.made_by} {key.created_at:%Y-%m-%d}, {used}.",
        f"{_STOPS[key.kind]} It cannot be brought back; to replace it, make another one first.",
    ]
    return _ask(request, f"Revoke “{key.name}”?", said=said, button=f"Revoke “{key.name}”")


def _ask(request: HttpRequest, title: str, **more: Any) -> HttpResponse:
    """Says what would be done, before it is."""
    if getattr(request, "org", None) is None:
        back = {"base": "admin/base_site.html", "back": reverse("admin:installation_keys")}
        return render(request, "routes/ask.html", {**admin.site.each_context(request), "title": title, **back, **more})
    back = {"base": "page.html", "back": reverse("admin:access", args=[request.org.slug])}
    return render(request, "routes/ask.html", {"title": title, **back, **more})


# --- Keys of gateways for all organisations ---------------------------------------------------------------------------


def installation_keys(request: HttpRequest, form: forms.Form | None = None, new_key: Any = None) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Keys of gateways for all organisations",
        "keys": ApiKey.objects.filter(org=None).select_related("made_by"),
        "key_form": form or GatewayKeyForm(prefix="key"),
        "new_key": new_key,
    }
    return render(request, "routes/installation_keys.html", context, status=422 if form else 200)


@require_POST
def installation_key_create(request: HttpRequest) -> HttpResponse:
    form = GatewayKeyForm(request.POST, prefix="key")
    if _was_sent_before(request, form):
        return redirect("admin:installation_keys")
    if made := _made(request, form, kind=ApiKey.Kind.GATEWAY):
        return installation_keys(request, new_key=made)
    return installation_keys(request, form=form)


@require_http_methods(["GET", "POST"])
def installation_key_revoke(request: HttpRequest, id: str) -> HttpResponse:
    key = get_object_or_404(ApiKey, pk=id, org=None)
    if request.method == "GET":
        return _ask_about_key(request, key)
    keys.revoke_key(key, by=request.actor)
    messages.success(request, f"“{key.name}” does not work any more.")
    return redirect("admin:installation_keys")


@require_POST
def organization_change(request: HttpRequest) -> HttpResponse:
    if form := read_names(request):
        return access(request, names_form=form)
    return _done(request, "Saved.")


@require_POST
def policy_change(request: HttpRequest) -> HttpResponse:
    form = PolicyForm(request.POST, prefix="policy")
    if not form.is_valid():
        return access(request, policy_form=form)
    try:
        update_organization(request.org, approval=form.cleaned_data["approval"], by=request.actor)
    except RoutesError as error:
        return _refused(request, error)
    if request.org.approval != form.cleaned_data["approval"]:
        return _done(request, "That is a looser policy: it holds when another admin confirms it.")
    return _done(request, f"{request.org.get_approval_display()}.")


@require_POST
def approval_decide(request: HttpRequest) -> HttpResponse:
    """Another admin's answer to a looser policy, or its author's second thoughts."""
    decide = policy.confirm_approval if request.POST.get("do") == "confirm" else policy.withdraw_approval
    try:
        decide(request.org, request.POST.get("approval", ""), by=request.actor)
    except RoutesError as error:
        return _refused(request, error)
    return _done(request, f"{request.org.get_approval_display()}.")


@require_POST
def freeze(request: HttpRequest) -> HttpResponse:
    form = FreezeForm(request.POST, prefix="freeze")
    if not form.is_valid():
        return access(request, freeze_form=form)
    policy.freeze(request.org, reason=form.cleaned_data["reason"], by=request.actor)
    return _done(request, f"{request.org} is frozen.")


@require_POST
def unfreeze(request: HttpRequest) -> HttpResponse:
    policy.unfreeze(request.org, by=request.actor)
    return _done(request, f"{request.org} can be changed again.")


access.required_role = "admin"
for _page in (
    organization_change,
    member_add,
    member_change,
    key_create,
    key_revoke,
    policy_change,
    approval_decide,
    freeze,
    unfreeze,
):
    _page.required_role = "admin"
for _page in (installation_keys, installation_key_create, installation_key_revoke):
    _page.required_role = "installation"

INSTALLATION_PAGES = [
    path("organizations/new/", organization_new, name="organization_new"),
    path("gateway-keys/", installation_keys, name="installation_keys"),
    path("gateway-keys/new/", installation_key_create, name="installation_key_create"),
    path("gateway-keys/<str:id>/revoke/", installation_key_revoke, name="installation_key_revoke"),
]
PAGES = [
    path("access/", access, name="access"),
    path("access/members/", member_add, name="member_add"),
    path("access/members/<int:id>/", member_change, name="member_change"),
    path("access/keys/", key_create, name="key_create"),
    path("access/keys/<str:id>/revoke/", key_revoke, name="key_revoke"),
    path("access/organization/", organization_change, name="organization_change"),
    path("access/policy/", policy_change, name="policy_change"),
    path("access/policy/proposed/", approval_decide, name="approval_decide"),
    path("access/freeze/", freeze, name="freeze"),
    path("access/unfreeze/", unfreeze, name="unfreeze"),
]
