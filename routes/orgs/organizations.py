"""Organisations themselves: making one, for installation staff, and what one is called."""

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from routes.errors import RoutesError
from routes.orgs.models import Organization, check_slug
from routes.orgs.services import InvalidOrganization, create_organization, update_organization
from routes.texts import one_line

#: What each policy means for whoever changes something.
POLICIES: Final = {
    Organization.Approval.NONE: "What an editor saves is live at once. An approver applies plans, also those that"
    " nobody else has seen.",
    Organization.Approval.PLANS: "A route that an editor saves is live at once. A plan is applied after an approver or an"
    " admin approved it who neither made nor edited it.",
    Organization.Approval.ALL: "Whatever is saved, deleted, moved, imported or restored makes a draft of a plan instead,"
    " which is replayed, approved as above, and then applied.",
}


def policies(holds: str = "") -> list[dict[str, Any]]:
    """Each policy in words; `holds` is the one of now."""
    return [{"label": one.label, "words": words, "holds": one == holds} for one, words in POLICIES.items()]


class NamesForm(forms.Form):
    name = forms.CharField(max_length=200, validators=[one_line], help_text="As people call it.")
    environment = forms.CharField(
        max_length=50, required=False, validators=[one_line], help_text="Shown beside the name: production, staging …"
    )

    def add_invalid(self, error: InvalidOrganization) -> None:
        for field, said in error.messages.items():
            self.add_error(field if field in self.fields else None, said)


class OrganizationForm(NamesForm):
    slug = forms.CharField(
        max_length=63,
        validators=[check_slug],
        help_text="The name in addresses, of pages and of the API. It stays: lower-case letters, digits and hyphens.",
    )
    approval = forms.ChoiceField(
        choices=Organization.Approval.choices,
        help_text="Who has to agree before something goes live. It can be changed later.",
    )
    field_order = ("name", "slug", "environment", "approval")

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if Organization.objects.filter(slug=slug).exists():
            raise forms.ValidationError("Another organisation has this slug. Choose another one.", code="unique")
        return slug


@require_http_methods(["GET", "POST"])
def organization_new(request: HttpRequest) -> HttpResponse:
    """Makes an organisation; then to its members, because so far it has none."""
    form = OrganizationForm(request.POST or None, auto_id="id_new_%s")
    if request.method == "POST" and form.is_valid():
        try:
            org = create_organization(by=request.actor, **form.cleaned_data)
        except InvalidOrganization as error:
            form.add_invalid(error)
        else:
            messages.success(request, f"{org.name} is there. Add the people who are to work in it.")
            return redirect("admin:access", org.slug)
    context = {
        **admin.site.each_context(request),
        "title": "New organisation",
        "form": form,
        "policies": policies(),
    }
    return render(request, "routes/organization_new.html", context, status=422 if form.errors else 200)


def read_names(request: HttpRequest) -> NamesForm | None:
    """Gives the organisation the name and the environment that were sent; the form with what is wrong, else None."""
    form = NamesForm(request.POST, prefix="names")
    if form.is_valid():
        try:
            update_organization(request.org, by=request.actor, **form.cleaned_data)
        except InvalidOrganization as error:
            form.add_invalid(error)
        except RoutesError as error:
            form.add_error(None, str(error))
    return form if form.errors else None


organization_new.required_role = "installation"
