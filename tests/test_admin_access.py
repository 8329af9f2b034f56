"""Who may open which page of the admin."""

import json
import re
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import get_resolver, reverse

from audit.models import AuditEntry
from routes.orgs.access import INSTALLATION
from routes.orgs.models import ApiKey, Organization, Role
from routes.orgs.policy import freeze
from tests.build import BY, a_person, an_org
from tests.pages import NOBODY, addresses, addresses_of, answer, client_of, is_page, is_part, own_pages
from tests.world import VISITORS, World

pytestmark = pytest.mark.django_db


def of_org(world: World) -> list[tuple[str, str]]:
    """(URL, role it needs) of every page under an organisation."""
    found = [(one.url, one.page.needs) for one in addresses(world) if one.page.is_of_org and not one.state]
    assert len(found) > 50
    return found


def test_every_page_states_a_role_and_keeps_to_it() -> None:
    world = World()
    ranks = list(Role.values)
    clients = {role: client_of(world, role) for role in ranks}
    for url, needs in of_org(world):
        for role, client in clients.items():
            status = client.get(url).status_code
            if needs == INSTALLATION or ranks.index(role) < ranks.index(needs):
                assert status == 403, (url, role)
            else:
                assert status not in (403, 500), (url, role, status)


def test_a_stranger_finds_nothing_and_nobody_is_asked_to_sign_in() -> None:
    world = World()
    stranger = Client()
    stranger.force_login(a_person("stranger", an_org("other"), "admin"))
    nobody = client_of(world, NOBODY)
    for url, _ in of_org(world):
        assert stranger.get(url).status_code == 404, url
        assert stranger.post(url).status_code == 404, url
        anonymous = nobody.get(url)
        assert anonymous.status_code == 302
        assert anonymous["Location"].startswith("/admin/login/")


#: Pages that are seen elsewhere, for what they need that no organisation has: (where, what).
ELSEWHERE = {
    "login_code": "tests/browser/test_sign_in.py, after a password",
    "provider_start": "tests/signin/test_openid.py, with a provider",
    "provider_callback": "tests/signin/test_openid.py, with a provider",
    "provider_go": "tests/browser/test_sign_in.py, with a provider",
    "root": "the first page, by another address",
    "password_change_done": "Security, which says so once",
    "auth_user_history": "the installation's log, of this person",
    "auth_user_delete": "nobody may",
    "autocomplete": "data for a field that no form of ours has",
}


def is_told(response: Any) -> bool:
    """Whether it is a page or a part of one, data, or an act, which can only be sent."""
    is_html = response["Content-Type"].startswith("text/html")
    return (
        is_page(response)
        or response.status_code == 405
        or (response.status_code == 200 and (not is_html or is_part(response)))
    )


def test_every_page_is_looked_at_somewhere() -> None:
    """Who adds a page has it walked by adding it; who adds one that nobody can open as it is called here learns that."""
    world = World()
    clients = {who: client_of(world, who) for who in (NOBODY, *VISITORS)}
    unseen = []
    for page in own_pages():
        asked = [one for one in addresses_of(page, world) if one.sent is None]
        if not any(is_told(answer(clients[page.visitors[-1]], one)) for one in asked):
            unseen.append(page.name)
    assert sorted(unseen) == sorted(ELSEWHERE)


def test_the_log_and_results_cannot_be_edited_in_the_admin() -> None:
    registered = {model.__name__ for model in admin.site._registry}
    assert registered.isdisjoint({"AuditEntry", "AuditHead", "RouteSetVersion", "PlanRun", "RequestLog", "Route"})


def test_a_new_key_is_shown_once_and_works(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    url = reverse("admin:key_create", args=[org.slug])
    shown = client.post(url, {"key-name": "dashboard", "key-kind": "management", "key-role": "editor"}).content.decode()
    text = next(word for word in shown.replace("<", " ").replace(">", " ").split() if word.startswith("rk_management_"))
    key = ApiKey.objects.get()
    assert text.startswith(f"rk_management_{key.pk}_")
    assert text not in client.get(reverse("admin:access", args=[org.slug])).content.decode()
    api = Client(headers={"Authorization": f"Bearer {text}"})
    assert api.get(f"/api/v1/orgs/{org.slug}/routes/").status_code == 200


def test_a_page_that_shows_a_key_and_is_reloaded_makes_no_second_one(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("root", is_superuser=True))
    pages = [
        (
            reverse("admin:access", args=[org.slug]),
            reverse("admin:key_create", args=[org.slug]),
            {"key-kind": "gateway"},
        ),
        (reverse("admin:installation_keys"), reverse("admin:installation_key_create"), {}),
    ]
    for shown, url, more in pages:
        ApiKey.objects.all().delete()
        page = client.get(shown).content.decode()
        found = re.search(r'name="key-once" value="([^"]+)"', page)
        assert found, "the form has something of its own"
        made = {"key-name": "edge", "key-once": found[1], **more}
        assert client.post(url, {**made, "key-name": ""}).status_code == 422, "what made none may be sent again"
        assert client.post(url, made).status_code == 200
        again = client.post(url, made, follow=True)
        assert again.redirect_chain == [(shown, 302)]
        assert "Nothing was made again." in again.content.decode()
        assert ApiKey.objects.count() == 1
        assert found[1] not in again.content.decode()


def test_every_answer_carries_the_strict_policy(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    for url in ("/admin/", "/admin/login/", f"/admin/o/{org.slug}/routes/", f"/api/v1/orgs/{org.slug}/routes/"):
        policy = client.get(url)["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


def test_installation_staff_make_organisations_in_the_admin_with_an_audit_entry() -> None:
    client = Client()
    client.force_login(a_person("root", is_superuser=True))
    url = reverse("admin:organization_new")
    assert url in client.get("/admin/").content.decode()
    fields = {"slug": "new-one", "name": "New", "environment": "staging", "approval": "plans"}
    refused = client.post(url, {**fields, "slug": "Not A Slug"})
    assert refused.status_code == 422
    assert "Use 2 to 63 lower-case letters" in refused.content.decode()
    assert not Organization.objects.exists()
    made = client.post(url, fields)
    assert made["Location"] == "/admin/o/new-one/access/", "where people are added"
    assert "Another organisation has this slug." in client.post(url, fields).content.decode()
    org = Organization.objects.get()
    assert (org.slug, org.version, org.approval) == ("new-one", 0, "plans")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.org_id) == ("organization.created", org.pk)
    assert client.get("/admin/o/new-one/").status_code == 200


def test_nobody_else_makes_organisations(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    assert client.get(reverse("admin:organization_new")).status_code == 403
    fields = {"slug": "new-one", "name": "New", "environment": "", "approval": "none"}
    assert client.post(reverse("admin:organization_new"), fields).status_code == 403
    assert Organization.objects.get() == org
    assert "New organisation" not in client.get("/admin/").content.decode()


def test_an_admin_renames_an_organisation_and_its_slug_stays(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    url = reverse("admin:organization_change", args=[org.slug])
    told = client.post(url, {"names-name": "Acme & Sons", "names-environment": "staging"}, follow=True)
    assert told.redirect_chain[-1][0] == f"/admin/o/{org.slug}/access/"
    assert "Acme &amp; Sons" in told.content.decode()
    entry = AuditEntry.objects.get(action="organization.updated")
    assert json.loads(bytes(entry.payload))["is"] == {"name": "Acme & Sons", "environment": "staging"}
    refused = client.post(url, {"names-name": "", "names-environment": "kept"})
    assert (refused.status_code, "kept" in refused.content.decode()) == (422, True)
    freeze(org, reason="no", by=BY)
    assert "frozen" in client.post(url, {"names-name": "Other", "names-environment": ""}).content.decode()
    org.refresh_from_db()
    assert org.name == "Acme & Sons"


@pytest.mark.parametrize("kind", ["gateway", "traffic"])
def test_keys_that_act_for_nobody_have_no_role(org: Organization, kind: str) -> None:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    url = reverse("admin:key_create", args=[org.slug])
    assert client.post(url, {"key-name": "k", "key-kind": kind, "key-role": "viewer"}).status_code == 200
    key = ApiKey.objects.get()
    assert (key.kind, key.role) == (kind, "")


def test_installation_staff_make_and_revoke_keys_of_gateways_for_all_organisations(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("root", is_superuser=True))
    assert reverse("admin:installation_keys") in client.get("/admin/").content.decode()
    assert client.post(reverse("admin:installation_key_create"), {"key-name": ""}).status_code == 422
    shown = client.post(reverse("admin:installation_key_create"), {"key-name": "edge"}).content.decode()
    key = ApiKey.objects.get()
    assert (key.kind, key.org, f"rk_gateway_{key.pk}_" in shown) == ("gateway", None, True)
    assert client.post(reverse("admin:installation_key_revoke", args=[key.pk])).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    admin_of_one = Client()
    admin_of_one.force_login(a_person("ada", org, "admin"))
    for url in (reverse("admin:installation_keys"), reverse("admin:installation_key_create")):
        assert admin_of_one.get(url).status_code == 403
    assert reverse("admin:installation_keys") not in admin_of_one.get("/admin/").content.decode()
    # A key of an organisation is not to be revoked there.
    assert admin_of_one.post(reverse("admin:installation_key_revoke", args=[key.pk])).status_code == 403


#: Of the admin, what anybody may ask for without being signed in.
OPEN = {"login", "login_code", "provider_start", "provider_callback", "jsi18n"}


def test_every_url_of_the_admin_is_closed_but_those_for_signing_in(org: Organization) -> None:
    found = set()
    for pattern in admin.site.get_urls():
        if hasattr(pattern, "url_patterns"):
            continue  # pages of organisations, and the stock ones of registered models
        arguments = dict.fromkeys(pattern.pattern.converters or pattern.pattern.regex.groupindex, "1")
        if pattern.name in (None, "view_on_site") or "app_label" in arguments:
            continue
        found.add(pattern.name)
        url = reverse(f"admin:{pattern.name}", kwargs=arguments)
        for send in (Client().get, Client().post):
            answer = send(url)
            to_login = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
            is_open = not to_login and answer.status_code in (200, 302, 403)
            assert is_open <= (pattern.name in OPEN | {"logout"}), (url, answer.status_code)
    assert found >= {"security", "factor_set_up", "recovery_codes_renew", "provider_connect", *OPEN}


def test_no_library_brings_pages_for_accounts_of_its_own() -> None:
    resolver = get_resolver()
    assert set(resolver.namespace_dict) == {"admin", "api"}
    names = {name for name in resolver.reverse_dict if isinstance(name, str)}
    assert names == {"root", "api_schema", "api_docs", "api_explorer"}
    assert Client().get("/accounts/signup/").status_code == 404
    assert Client().get("/admin/password_reset/").status_code == 302  # no such page: whoever signs in learns that
