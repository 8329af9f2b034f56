"""The log of the installation: who may read it, and where."""

from typing import Any

import pytest
from django.test import Client

from audit.services import record
from routes.orgs.models import Organization
from tests.build import BY, a_person

pytestmark = pytest.mark.django_db
PAGE, API = "/admin/audit/", "/api/v1/audit/"


@pytest.fixture
def staff(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("root", is_superuser=True))
    for number in range(3):
        record(None, by=BY, action="person.changed", target=("user", str(number)), payload={"number": number})
    record(org.pk, by=BY, action="of.organisation", target=("user", "1"))
    return client


def test_staff_read_and_verify_it_and_find_the_way_there(staff: Client) -> None:
    assert f'href="{PAGE}"' in staff.get("/admin/").text
    page = staff.get(PAGE)
    assert page.status_code == 200
    assert page.text.count('<div class="mono whole muted">person.changed</div>') == 3
    assert "of.organisation" not in page.text
    assert "Verified:" in staff.post(f"{PAGE}verify/").text
    found = staff.get(PAGE, {"target_type": "user", "target_id": "2"}).text
    assert found.count('<div class="mono whole muted">person.changed</div>') == 1
    assert '<input type="hidden" name="target_type" value="user">' in found


def test_it_is_listed_and_narrowed_at_the_api(staff: Client) -> None:
    body = staff.get(API, {"limit": 2}).json()
    assert [entry["payload"]["number"] for entry in body["results"]] == [2, 1]
    assert [entry["payload"]["number"] for entry in staff.get(body["next"]).json()["results"]] == [0]
    found = staff.get(API, {"target_id": "1", "action": "person.changed"}).json()["results"]
    assert [entry["target"] for entry in found] == [{"type": "user", "id": "1"}]
    assert staff.get(API, {"until": "yesterday"}).status_code == 422


def test_nobody_else_reads_it(staff: Client, org: Organization) -> None:
    admin = Client()
    admin.force_login(a_person("ada", org, "admin"))
    assert "Audit log of the installation" not in admin.get("/admin/").text
    for client, page, api in ((admin, 403, 403), (Client(), 302, 401)):
        assert [client.get(PAGE).status_code, client.post(f"{PAGE}verify/").status_code] == [page, page]
        assert client.get(API).status_code == api


def test_a_person_s_history_is_there(staff: Client) -> None:
    ada: Any = a_person("ada")
    url = f"/admin/auth/user/{ada.pk}/history/"
    assert f'href="{url}"' in staff.get(f"/admin/auth/user/{ada.pk}/change/").text
    assert staff.get(url)["Location"] == f"{PAGE}?target_type=user&target_id={ada.pk}"
    assert staff.get("/admin/auth/user/999999/history/").status_code == 404
    hers = Client()
    hers.force_login(ada)
    assert hers.get(url).status_code == 404
