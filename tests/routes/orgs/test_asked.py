"""What takes something away for good is asked about first, by what it would do."""

import pytest
from django.test import Client

from routes.orgs.keys import create_key
from routes.orgs.models import Membership, Organization
from tests.build import a_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    return client


def test_removing_a_member_says_what_it_stops_and_is_one_act_more(client: Client, org: Organization) -> None:
    edda = a_person("edda", org, "editor")
    for name in ("one", "two"):
        create_key(org, name=name, role="viewer", by=edda)
    create_key(org, name="edge", kind="gateway", by=edda)
    member = Membership.objects.get(user=edda)
    place = f"/admin/o/acme/access/members/{member.pk}/"
    assert f'href="{place}"' in client.get("/admin/o/acme/access/").content.decode()
    page = client.get(place).content.decode()
    assert "edda (editor) can neither see nor change anything of Acme then." in page
    assert "2 management keys made by edda will do nothing any more" in page
    assert Membership.objects.filter(user=edda).exists(), "nothing is done yet"
    assert client.post(place, {"role": "remove"}).status_code == 302
    assert not Membership.objects.filter(user=edda).exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("management", "Every call of the API with it is refused"), ("gateway", "learns of no change any more"),
        ("traffic", "Gateways refuse every request with it"),
    ],
)  # fmt: skip
def test_revoking_a_key_says_what_it_stops_and_is_one_act_more(
    client: Client, org: Organization, kind: str, said: str
) -> None:
    role = "viewer" if kind == "management" else ""
    key = create_key(org, name="<b>k", kind=kind, role=role, by=a_person("bea", org, "admin")).key
    page = client.get(f"/admin/o/acme/access/keys/{key.pk}/revoke/").content.decode()
    assert said in page
    assert "never used" in page
    assert "Revoke “&lt;b&gt;k”" in page
    key.refresh_from_db()
    assert key.revoked_at is None
    assert client.post(f"/admin/o/acme/access/keys/{key.pk}/revoke/").status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
