"""The second factor went away, in another session or by the staff's command, after its code was used here."""

from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from routing_admin.signin import factors, security
from tests.signin.people import give_password, with_factor
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("path", "name"), [("second-factor/remove/", "remove-code"), ("recovery-codes/", "renew-code")]
)
def test_a_factor_that_went_away_in_between_leads_back_to_security(
    ada: Any, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    use = security.use_counted_code

    def use_and_lose(*given: Any) -> str:
        used = use(*given)
        factors.remove(ada, by=ada)
        return used

    _, codes = with_factor(ada)
    client = Client()
    give_password(client)
    assert send_code(client, codes[0]).status_code == 302
    monkeypatch.setattr(security, "use_counted_code", use_and_lose)
    entries = AuditEntry.objects.count()
    answer = client.post(f"/admin/security/{path}", {name: codes[1]})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/security/")
    assert AuditEntry.objects.count() == entries + 1, "of the one that took it away"
