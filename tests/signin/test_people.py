"""The pages on which installation staff make people and say who may sign in."""

import json
from hashlib import sha256
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse

from audit.models import AuditEntry
from audit.services import payload_of
from routing_admin.signin.admin import shown_of
from tests.build import a_person
from tests.signin.people import PASSWORD, person_with_password

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick_passwords")]
People = get_user_model()


@pytest.fixture
def root() -> Any:
    return a_person("root", is_superuser=True)


@pytest.fixture
def staff(root: Any) -> Client:
    client = Client()
    client.force_login(root)
    return client


def page(person: Any, name: str = "change") -> str:
    return reverse(f"admin:auth_user_{name}", args=[person.pk])


def filled(person: Any, **other: Any) -> dict[str, Any]:
    """The form as a browser sends it back, of a page that shows the person like this."""
    flags = {name: "on" for name in ("is_active", "is_staff", "is_superuser") if getattr(person, name)}
    names = {name: getattr(person, name) for name in ("username", "first_name", "last_name", "email")}
    data = {"shown": shown_of(person), **names, **flags, **other}
    return {name: value for name, value in data.items() if value is not None}


def entries() -> list[tuple[str, dict[str, Any]]]:
    rows = AuditEntry.objects.filter(org_id=None, target_type="user").order_by("seq")
    found = [(row.action, payload_of(row)) for row in rows]
    assert all(payload.pop("actor_name") == "root" for _, payload in found)
    return found


def test_who_is_made_here_can_sign_in_and_the_entry_says_who_made_them(staff: Client, root: Any) -> None:
    made = {"username": "ada", "email": "ada@mail.example", "usable_password": "true"}
    answer = staff.post(
        reverse("admin:auth_user_add"), {**made, "password1": PASSWORD, "password2": PASSWORD}, follow=True
    )
    assert answer.status_code == 200
    ada = People.objects.get(username="ada")
    assert Client().login(username="ada", password=PASSWORD)
    access = {"is_active": True, "is_staff": True, "is_superuser": False}
    assert entries() == [("person.created", {"username": "ada", **access})]
    entry = AuditEntry.objects.get(action="person.created")
    assert (entry.actor_id, entry.target_id) == (str(root.pk), str(ada.pk))
    assert PASSWORD not in json.dumps(entries())


def test_installation_staff_made_by_the_command_have_an_entry(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, username="root", email="root@mail.example", verbosity=0)
    root = People.objects.get(username="root", is_superuser=True, is_staff=True)
    assert Client().login(username="root", password=PASSWORD)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_type, entry.actor_id) == ("person.created", "system", "createsuperuser")
    assert (entry.target_type, entry.target_id) == ("user", str(root.pk))
    assert (payload_of(entry) or {})["is_superuser"] is True
    with pytest.raises(CommandError, match="already taken"):
        call_command("createsuperuser", interactive=False, username="root", email="", verbosity=0)
    with (
        patch("routing_admin.signin.people.record", side_effect=RuntimeError),
        pytest.raises(RuntimeError),
    ):
        call_command("createsuperuser", interactive=False, username="other", email="", verbosity=0)
    assert People.objects.count() == AuditEntry.objects.count() == 1


def test_installation_staff_are_made_at_the_terminal_too(db: None) -> None:
    with patch("getpass.getpass", return_value=PASSWORD), patch("builtins.input", side_effect=["root", ""]):
        call_command("createsuperuser", interactive=True, stdin=Terminal(), verbosity=0)
    assert AuditEntry.objects.get().action == "person.created"


class Terminal:
    def isatty(self) -> bool:
        return True


def test_a_password_that_an_operator_sets_is_recorded_and_ends_sessions(db: None) -> None:
    ada, hers, new = person_with_password("ada"), Client(), "another long one"
    hers.force_login(ada)
    for typed, said in (([new, "other"] * 3, "after 3 tries"), (["123", "123"] * 3, "after 3 tries")):
        with patch("getpass.getpass", side_effect=typed), pytest.raises(CommandError, match=said):
            call_command("changepassword", "ada", stdout=StringIO(), stderr=StringIO())
    with pytest.raises(CommandError, match="nobody named"):
        call_command("changepassword", "nobody")
    assert not AuditEntry.objects.exists()
    with patch("getpass.getpass", side_effect=["1", "2", new, new]):
        call_command("changepassword", "ada", stdout=StringIO(), stderr=StringIO())
    assert Client().login(username="ada", password=new)
    assert hers.get("/admin/").status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_id, entry.target_id) == ("password.reset", "changepassword", str(ada.pk))
    assert new not in json.dumps(payload_of(entry))


def test_who_may_sign_in_no_more_has_no_session_left(staff: Client) -> None:
    ada, hers = person_with_password("ada"), Client()
    hers.force_login(ada)
    assert hers.get("/admin/").status_code == 200
    assert staff.post(page(ada), filled(ada, is_active=None)).status_code == 302
    assert hers.get("/admin/").status_code == 302
    access = {"is_active": False, "is_staff": True, "is_superuser": False}
    changed = {"changed": ["is_active"], "was": {"is_active": True}, "is": {"is_active": False}}
    assert entries() == [("person.changed", {"username": "ada", **access, **changed})]


def test_the_entry_says_what_was_and_what_is_and_of_an_e_mail_its_digest(staff: Client) -> None:
    ada = person_with_password("ada")
    data = filled(ada, username="ada2", last_name="Byron", email="new@mail.example", is_superuser="on")
    assert staff.post(page(ada), data).status_code == 302
    ((action, payload),) = entries()
    was = {"username": "ada", "last_name": "", "is_superuser": False}
    now = {"username": "ada2", "last_name": "Byron", "is_superuser": True}
    digests = [sha256(email.encode()).hexdigest() for email in (ada.email, "new@mail.example")]
    assert (action, payload["username"]) == ("person.changed", "ada2")
    assert payload["was"] == was | {"email_sha256": digests[0]}
    assert payload["is"] == now | {"email_sha256": digests[1]}
    assert "mail.example" not in json.dumps(payload)
    ada.refresh_from_db()
    assert staff.post(page(ada), filled(ada, email="")).status_code == 302
    assert entries()[1][1]["is"] == {"email_sha256": None}


def test_a_page_of_before_undoes_nothing_and_keeps_what_was_written(staff: Client) -> None:
    ada = person_with_password("ada")
    old = filled(ada, first_name="Augusta")
    People.objects.filter(pk=ada.pk).update(is_active=False, email="new@mail.example")
    answer = staff.post(page(ada), old)
    told = answer.content.decode()
    assert answer.status_code == 200
    assert "Somebody changed this person since you opened this page. Nothing was saved." in told
    assert all(part in told for part in ('value="Augusta"', "Stored now: no.", "Stored now: new@mail.example."))
    stored = People.objects.get(pk=ada.pk)
    assert (stored.is_active, stored.email, stored.first_name, entries()) == (False, "new@mail.example", "", [])
    # Who has read that may save it, as the page shows it now.
    assert staff.post(page(ada), {**old, "shown": shown_of(stored)}).status_code == 302
    assert f'value="{shown_of(stored)}"' in told
    assert People.objects.get(pk=ada.pk).is_active
    assert entries()[0][1]["changed"] == ["first_name", "email", "is_active"]
    assert staff.post(page(ada), {**old, "shown": ""}).status_code == 200, "and who never saw it may not"


def test_nothing_else_is_written_than_what_was_changed(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(self: Any, **fields: Any) -> None:
        People.objects.filter(pk=self.pk).update(password="meanwhile")
        stored(self, **fields)

    ada, stored = person_with_password("ada"), People.save
    monkeypatch.setattr(People, "save", save)
    assert staff.post(page(ada), filled(ada, first_name="Augusta")).status_code == 302
    ada.refresh_from_db()
    assert (ada.first_name, ada.password) == ("Augusta", "meanwhile")


def test_a_form_that_changes_nothing_has_no_entry(staff: Client) -> None:
    ada = person_with_password("ada")
    assert staff.post(page(ada), filled(ada)).status_code == 302
    assert entries() == []


def test_a_password_that_staff_set_is_recorded_and_ends_sessions(staff: Client) -> None:
    ada, hers, new = person_with_password("ada"), Client(), "another long one"
    hers.force_login(ada)
    data = {"usable_password": "true", "password1": new, "password2": new}
    assert staff.post(page(ada, "password_change"), data).status_code == 302
    assert hers.get("/admin/").status_code == 302
    assert Client().login(username="ada", password=new)
    ((action, payload),) = entries()
    assert (action, payload["username"]) == ("password.reset", "ada")
    assert new not in json.dumps(payload)


def test_a_password_that_staff_switch_off_is_recorded_and_ends_sessions(staff: Client) -> None:
    ada, hers = person_with_password("ada"), Client()
    hers.force_login(ada)
    data = {"usable_password": "false", "unset-password": "1"}
    assert staff.post(page(ada, "password_change"), data).status_code == 302
    assert hers.get("/admin/").status_code == 302
    ada.refresh_from_db()
    assert not ada.has_usable_password()
    assert [(action, payload["username"]) for action, payload in entries()] == [("password.disabled", "ada")]


@pytest.mark.parametrize("before", ["", "0", "+", "%20", "_2B"])
def test_nobody_gets_around_the_proof_of_their_own_password(staff: Client, root: Any, before: str) -> None:
    """However the id is written; `_2B` is the admin's own writing of a plus."""
    new = {"usable_password": "true", "password1": "another long one", "password2": "another long one"}
    url = f"/admin/auth/user/{before}{root.pk}/password/"
    for answer in (
        staff.get(url),
        staff.post(url, new),
        staff.post(url, {"usable_password": "false", "unset-password": "1"}),
    ):
        assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/")
    assert type(root).objects.get().password == root.password
    assert entries() == []


def test_nobody_changes_their_own_access(staff: Client, root: Any) -> None:
    data = filled(root, is_superuser=None, is_active=None, is_staff=None, email="root@mail.example")
    assert staff.post(page(root), data).status_code == 302
    root.refresh_from_db()
    assert (root.is_active, root.is_staff, root.is_superuser) == (True, True, True)
    assert entries()[0][1]["changed"] == ["email"]


def test_nothing_is_changed_where_the_entry_cannot_be_written(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("the log is full")

    ada = person_with_password("ada")
    monkeypatch.setattr("routing_admin.signin.people.record", refuse)
    with pytest.raises(RuntimeError, match="the log is full"):
        staff.post(page(ada), filled(ada, is_superuser="on"))
    data = {"usable_password": "true", "password1": "another long one", "password2": "another long one"}
    with pytest.raises(RuntimeError, match="the log is full"):
        staff.post(page(ada, "password_change"), data)
    ada.refresh_from_db()
    assert not ada.is_superuser
    assert ada.check_password(PASSWORD)


def test_nobody_is_deleted_and_there_are_no_groups(staff: Client) -> None:
    ada = person_with_password("ada")
    assert staff.post(page(ada, "delete"), {"post": "yes"}).status_code == 403
    assert People.objects.filter(pk=ada.pk).exists()
    with pytest.raises(NoReverseMatch):
        reverse("admin:auth_group_changelist")


@pytest.mark.parametrize("name", ["changelist", "add"])
def test_only_installation_staff_come_here(name: str) -> None:
    client = Client()
    client.force_login(a_person("ada"))
    assert client.get(reverse(f"admin:auth_user_{name}")).status_code == 403
