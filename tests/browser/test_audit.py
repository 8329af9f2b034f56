"""The log in a real browser: what is signed, a proof, an export, and an entry that is blanked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.log.verify import verify
from audit.models import AuditEntry
from audit.services import payload_text
from audit.signing.keys import known_keys
from audit.signing.signer import Signer
from routes.orgs.models import Organization
from routes.orgs.policy import freeze, unfreeze
from tests.audit.build import TABLE, sql, without_triggers
from tests.browser.conftest import Visitor, says
from tests.browser.test_prices import look
from tests.build import BY, a_person, a_route, an_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org(settings: Any, tmp_path: Path) -> Organization:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    org = an_org(environment="production")
    a_person("ada", org, "admin")
    a_route(org, "short ones")
    a_route(org, "for Jo Doe, born 1970")
    freeze(org, reason="An auditor looks at it.", by=BY)
    unfreeze(org, by=BY)
    sign()
    return org


def sign() -> None:
    with Signer() as signer:
        signer.round()


def test_an_admin_blanks_what_an_entry_holds_and_an_auditor_still_verifies(
    org: Organization, visitor: Callable[[Any], Visitor], tmp_path: Path
) -> None:
    carl = visitor(a_person("carl", org, "admin"))
    page = carl.visit(f"/admin/o/{org.slug}/")
    page.get_by_role("link", name="Audit").click()
    says(page, "Signed up to entry")
    (row,) = [row for row in AuditEntry.objects.of(org.pk) if "Jo Doe" in payload_text(row)]
    line = page.get_by_role("row").filter(has_text="Jo Doe")
    line.get_by_text("Payload").click()
    look(carl, "audit-entry")
    line.get_by_role("link", name="Blank what it holds").click()
    says(page, "for Jo Doe, born 1970")
    page.get_by_role("button", name=f"Blank entry {row.seq}").click()
    page.get_by_label("Why").fill(" ")
    page.get_by_role("button", name=f"Blank entry {row.seq}").click()
    says(page, "Nothing was blanked.")
    page.get_by_label("Why").fill("A person's name and birthday.")
    look(carl, "audit-blank")
    page.get_by_role("button", name=f"Blank entry {row.seq}").click()
    says(page, f"What entry {row.seq} held is blanked. Audit receipt: entry")
    line = page.locator(f"tr:has(td:text-is('{row.seq}'))").first
    line.get_by_text("Blanked", exact=True).click()
    says(page, "says by whom, and why.")
    look(carl, "audit-blanked")
    line.get_by_role("link", name="entry").click()
    says(page, "audit.redacted")
    page.get_by_text("Payload").click()
    says(page, "A person's name and birthday.")
    page.get_by_role("button", name="Verify now").click()
    says(page, "Verified:")

    sign()
    with page.expect_download() as started:
        page.get_by_role("link", name="Export for an auditor").click()
    started.value.save_as(tmp_path / "audit.zip")
    found = verify(tmp_path / "audit.zip", known_keys())
    assert (found.verdict, found.logs[0].redacted) == ("verified", 1), found
    carl.check()


def test_what_the_signer_refuses_and_what_verifying_finds_is_seen_at_once(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "viewer"))
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = entry WHERE seq = 1 AND org_id IS NOT NULL")
        sql("UPDATE audit_audithead SET size = 3 WHERE org_id IS NOT NULL")
    sign()
    page = edda.visit(f"/admin/o/{org.slug}/audit/")
    says(page, "Not signed since")
    page.get_by_role("button", name="Verify now").click()
    says(page, "Tampered at entry 1.")
    look(edda, "audit-tampered")
    edda.check()
