"""Blanking what an entry holds: by whom, what stays, and what whoever verifies sees of it."""

import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from audit.evidence import bundles
from audit.log.bundle import ENTRIES, PAYLOADS
from audit.log.verify import Found
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, AuditHead
from audit.redaction import redact
from audit.services import payload_of
from audit.signing.epochs import open_epoch
from audit.signing.keys import known_keys
from audit.verification import verify_org
from plans.runs import services as plans
from routes.history.services import restore_version
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.redaction.services import redact_entry
from routes.versions.models import RouteSetVersion
from tests.api.conftest import Caller
from tests.audit.build import TABLE, sql, without_triggers
from tests.audit.signing.build import cut, signed
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db
SECRET = "Jo Doe, born 1970"
WHY = {"reason": "A name."}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    """Of the signer, and empty."""
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")


@pytest.fixture
def org() -> Organization:
    return an_org()


@pytest.fixture
def admin(org: Organization) -> Caller:
    return Caller(org, "admin")


def a_secret(org: Organization) -> AuditEntry:
    """An entry whose payload holds what should not be there."""
    a_route(org, SECRET)
    return AuditEntry.objects.of(org.pk).latest("seq")


def now(row: AuditEntry) -> AuditEntry:
    return AuditEntry.objects.get(pk=row.pk)


def exported(org: Organization, folder: Path) -> Found:
    path = folder / f"{AuditEntry.objects.count()}.zip"
    path.write_bytes(b"".join(bundles.bundle_of(org.pk)))
    return verify_bundle(path, known_keys())


def test_what_else_held_it_is_emptied_too(org: Organization, admin: Caller) -> None:
    usual_prices()
    traffic(org)
    kept, plan = (a_plan(org, name=name) for name in ("kept", "plan"))
    for one in (kept, plan):
        projected(one)
        plans.reject(one, reason=SECRET, by=BY)
    row = AuditEntry.objects.of(org.pk).get(action="plan.rejected", target_id=plan.pk)
    assert admin("post", f"audit/{row.seq}/redact/", WHY).status_code == 200
    assert admin("get", f"plans/{plan.pk}/").json()["rejected_reason"] is None
    assert admin("get", f"plans/{kept.pk}/").json()["rejected_reason"] == SECRET


# --- The API ----------------------------------------------------------------------------------------------------------


def test_what_an_entry_held_is_gone_and_the_log_verifies_as_before(
    org: Organization, admin: Caller, tmp_path: Path
) -> None:
    row = a_secret(org)
    signed()
    answer = admin("post", f"audit/{row.seq}/redact/", WHY)
    body = answer.json()
    assert (answer.status_code, body["log"], body["seq"]) == (200, row.log, row.seq)
    told = AuditEntry.objects.of(org.pk).latest("seq")
    assert (body["receipt"]["seq"], told.action, told.target_type, told.target_id) == (
        told.seq, "audit.redacted", "entry", str(row.seq),
    )  # fmt: skip
    assert payload_of(told) == {"reason": "A name.", "actor_name": f"{admin.person}, by key admin key"}
    after = now(row)
    assert (after.payload, after.salt, bytes(after.entry)) == (None, None, bytes(row.entry))
    (item,) = [one for one in admin("get", "audit/").json()["results"] if one["seq"] == row.seq]
    assert (item["payload"], item["leaf_hash"]) == (None, bytes(row.leaf_hash).hex())
    assert verify_org(org.pk).ok
    signed()
    found = exported(org, tmp_path)
    assert (found.verdict, found.logs[0].redacted) == ("verified", 1), found
    with zipfile.ZipFile(tmp_path / f"{AuditEntry.objects.count()}.zip") as bundle:
        assert SECRET.encode() not in b"".join(bundle.read(name) for name in bundle.namelist())


def test_the_note_of_a_version_goes_with_it(org: Organization, admin: Caller) -> None:
    a_route(org, "one")
    a_route(org, "two")
    restore_version(org, 1, by=BY, note=f"{SECRET} asked for it")
    row = AuditEntry.objects.of(org.pk).latest("seq")
    digest = RouteSetVersion.objects.get(org=org, version=3).digest
    assert admin("post", f"audit/{row.seq}/redact/", WHY).status_code == 200
    assert SECRET not in admin("get", "versions/").content.decode()
    assert RouteSetVersion.objects.get(org=org, version=3).digest == digest
    third, second = (RouteSetVersion.objects.get(org=org, version=version) for version in (3, 2))
    assert (third.note, third.about, second.about) == ("", "", "“two”")


def test_a_dry_run_blanks_nothing(org: Organization, admin: Caller) -> None:
    row, before = a_secret(org), AuditEntry.objects.count()
    answer = admin("post", f"audit/{row.seq}/redact/?dry_run=1", WHY).json()
    assert (answer["dry_run"], answer["receipt"]) == (True, None)
    assert (payload_of(now(row)) or {})["name"] == SECRET
    assert AuditEntry.objects.count() == before


def test_a_repeat_with_the_same_key_blanks_once(org: Organization, admin: Caller) -> None:
    row = a_secret(org)
    answers = [
        admin("post", f"audit/{row.seq}/redact/", WHY, headers={"Idempotency-Key": "again"}).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert AuditEntry.objects.filter(action="audit.redacted").count() == 1


def test_what_cannot_be_blanked_is_refused_and_nothing_is_written(org: Organization, admin: Caller) -> None:
    row = a_secret(org)
    assert admin("post", f"audit/{row.seq}/redact/", WHY).status_code == 200
    told = AuditEntry.objects.of(org.pk).latest("seq")
    other = a_secret(an_org("other"))
    before = AuditEntry.objects.count()
    refused = {
        "already_blanked": (row.seq, WHY, 409),
        "never_blanked": (told.seq, WHY, 409),
        "not_found": (told.seq + 1, WHY, 404),
        "invalid": (0, {"reason": " \n"}, 422),
    }
    for code, (seq, body, status) in refused.items():
        answer = admin("post", f"audit/{seq}/redact/", body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    # Another organisation's log is none of this one's.
    answer = admin("post", f"audit/{other.seq}/redact/", {**WHY, "log": other.log})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for seq in (2**53, 10**30):
        assert admin("post", f"audit/{seq}/redact/", WHY).status_code == 404
    assert AuditEntry.objects.count() == before
    assert now(other).payload is not None


def test_of_a_frozen_organisation_nothing_is_blanked(org: Organization, admin: Caller) -> None:
    row = a_secret(org)
    freeze(org, reason="Somebody looks into it.", by=BY)
    answer = admin("post", f"audit/{row.seq}/redact/", WHY)
    assert (answer.status_code, answer.json()["code"]) == (409, "organization_frozen")
    assert now(row).payload is not None


def test_installation_staff_blank_entries_of_the_installation(client: Client) -> None:
    staff = a_person("staff", is_superuser=True)
    create_key(None, name=SECRET, kind="gateway", by=staff)
    row = AuditEntry.objects.of(None).latest("seq")
    client.force_login(staff)
    answer = client.post(f"/api/v1/audit/{row.seq}/redact/", WHY, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert now(row).payload is None
    assert verify_org(None).ok


def test_a_database_that_breaks_in_between_leaves_it_whole(org: Organization, admin: Caller) -> None:
    row = a_secret(org)
    with patch("audit.redaction.record", side_effect=RuntimeError), pytest.raises(RuntimeError):
        redact_entry(org, row.seq, reason="A name.", by=BY)
    assert now(row).payload is not None
    assert verify_org(org.pk).ok


# --- An older log -----------------------------------------------------------------------------------------------------


def restored(org: Organization) -> tuple[AuditEntry, str]:
    """An entry of the first log, after another one was opened; and the name of that."""
    row = a_secret(org)
    a_route(org, "lost")
    signed()
    cut(org.pk, row.seq + 1)
    return row, open_epoch(org.pk, reason="A backup.", by=BY).log


def test_an_entry_of_an_older_log_is_blanked_by_the_one_that_is_written_to(
    org: Organization, admin: Caller, tmp_path: Path
) -> None:
    row, newer = restored(org)
    answer = admin("post", f"audit/{row.seq}/redact/", WHY)
    assert answer.json()["code"] == "not_found", "the newer log has one entry"
    answer = admin("post", f"audit/{row.seq}/redact/", {**WHY, "log": row.log}).json()
    assert (answer["log"], answer["receipt"]["log"]) == (row.log, newer)
    assert AuditEntry.objects.get(log=newer, seq=1).target_id == f"1.{row.seq}"
    assert verify_org(org.pk).ok
    signed()
    found = exported(org, tmp_path)
    assert [(one.log, one.redacted) for one in found.logs] == [(row.log, 1), (newer, 0)]
    assert found.verdict == "verified"
    # Who owns the database blanks another one.
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE log = %s AND seq = 0", row.log)
    assert (verify_org(org.pk).rule, verify_org(org.pk).bad_seq) == ("missing_payload", 0)
    found = exported(org, tmp_path)
    assert (found.log, found.rule, found.bad_seq) == (row.log, "missing_payload", 0)


# --- While others read ------------------------------------------------------------------------------------------------


def test_an_export_that_has_begun_takes_along_what_tells_of_a_payload_that_goes_meanwhile(
    org: Organization, tmp_path: Path
) -> None:
    row = a_secret(org)
    a_route(org, "later")
    signed()
    size = AuditHead.objects.get(org_id=org.pk).size
    folder = tmp_path / "bundle"
    (folder / "1").mkdir(parents=True)
    for name, lines in bundles.files_of(org.pk):
        if name.endswith(PAYLOADS):
            with transaction.atomic():
                redact(org.pk, row.seq, reason="A name.", by=BY)
        (folder / name).write_bytes(b"".join(lines))
    assert len((folder / "1" / ENTRIES).read_bytes().splitlines()) == size + 1
    found = verify_bundle(folder, known_keys())
    assert (found.verdict, "Nobody signed the last entry" in found.message) == ("cannot_verify", True), found


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_what_the_command_exports_meanwhile_is_whole_too(org: Organization, tmp_path: Path, name: str) -> None:
    row = a_secret(org)
    signed()
    real = bundles._Payloads._told

    def redacted_meanwhile(self: Any) -> int:
        if not AuditEntry.objects.filter(action="audit.redacted").exists():
            with transaction.atomic():
                redact(org.pk, row.seq, reason="A name.", by=BY)
            signed()
        return real(self)

    with patch.object(bundles._Payloads, "_told", redacted_meanwhile):
        call_command("audit_export", tmp_path / name, org=org.pk)
    found = verify_bundle(tmp_path / name, known_keys())
    assert (found.verdict, found.logs[0].entries) == ("verified", AuditHead.objects.get(org_id=org.pk).size), found


def test_the_signer_signs_a_log_of_which_a_new_entry_was_blanked(org: Organization) -> None:
    signed()
    row = a_secret(org)
    with transaction.atomic():
        redact(org.pk, row.seq, reason="A name.", by=BY)
    assert signed().refused == {}


# --- The page ---------------------------------------------------------------------------------------------------------


def page(client: Client, path: str, form: dict[str, Any] | None = None) -> str:
    url = f"/admin/{path}"
    answer = client.get(url) if form is None else client.post(url, form, follow=True)
    return answer.content.decode()


def test_an_admin_reads_what_will_go_says_why_and_finds_who_did_it(org: Organization, client: Client) -> None:
    client.force_login(a_person("ada", org, "admin"))
    row = a_secret(org)
    link = f"/admin/o/acme/audit/{row.seq}/redact/?log="
    assert link in page(client, "o/acme/audit/")
    path = f"o/acme/audit/{row.seq}/redact/?log={row.log}"
    assert SECRET in page(client, path)
    assert "Nothing was blanked." in page(client, path, {"reason": ""})
    assert now(row).payload is not None
    done = page(client, path, WHY)
    assert f"What entry {row.seq} held is blanked." in done
    assert SECRET not in done
    assert f"entry {row.seq + 1}</a> says by whom, and why." in done
    assert link not in done
    assert "There is nothing left to blank" in page(client, path)
    assert "The payload of entry" in page(client, path, WHY)
    told = f"o/acme/audit/{row.seq + 1}/redact/?log={row.log}"
    assert "never blanked" in page(client, told)


def test_others_have_no_link_and_no_page(org: Organization, client: Client) -> None:
    row = a_secret(org)
    client.force_login(a_person("edda", org, "approver"))
    assert "redact" not in page(client, "o/acme/audit/")
    assert client.get(f"/admin/o/acme/audit/{row.seq}/redact/?log={row.log}").status_code == 403
    assert client.get(f"/admin/audit/{row.seq}/redact/?log={row.log}").status_code == 403


def test_an_entry_that_is_not_there_has_no_page(org: Organization, client: Client) -> None:
    client.force_login(a_person("ada", org, "admin"))
    row, other = a_secret(org), a_secret(an_org("other"))
    for path in (
        f"{row.seq}/redact/",
        f"{row.seq}/redact/?log=%00",
        f"{row.seq + 1}/redact/?log={row.log}",
        f"{other.seq}/redact/?log={other.log}",
    ):
        assert client.get(f"/admin/o/acme/audit/{path}").status_code == 404


def test_the_installation_has_the_page_too(client: Client) -> None:
    staff = a_person("staff", is_superuser=True)
    create_key(None, name=SECRET, kind="gateway", by=staff)
    row = AuditEntry.objects.of(None).latest("seq")
    client.force_login(staff)
    assert f"/admin/audit/{row.seq}/redact/?log=" in page(client, "audit/")
    assert "is blanked" in page(client, f"audit/{row.seq}/redact/?log={row.log}", WHY)
    assert now(row).payload is None


def test_a_payload_that_went_without_a_word_is_shown_as_such(org: Organization, client: Client) -> None:
    client.force_login(a_person("ada", org, "admin"))
    row = a_secret(org)
    sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE id = %s", row.pk)
    assert "no entry tells why" in page(client, "o/acme/audit/")
