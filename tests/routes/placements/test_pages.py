"""The pages of placements: what they offer, what a step will do, taking it, and who comes second."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routes.orgs.models import Organization
from routes.placements.models import Placement
from routes.placements.services import abort_move, cut_over, get_placement
from tests.build import BY, a_person, a_placement

pytestmark = pytest.mark.django_db
PLACE = {"cluster": "us", "resource": "orders", "endpoint": "https://us.example"}


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    return client


def page(client: Client, path: str = "", status: int = 200) -> str:
    answer = client.get(f"/admin/o/acme/placements/{path}")
    assert answer.status_code == status
    return unescape(answer.content.decode())


def send(client: Client, path: str, **fields: Any) -> str:
    return unescape(client.post(f"/admin/o/acme/placements/{path}", fields, follow=True).content.decode())


def test_a_move_is_taken_from_its_pages_step_by_step(client: Client, org: Organization) -> None:
    assert "Nothing was placed yet" in page(client)
    assert "“acme-7” is at us/orders." in send(client, "new/", partition="acme-7", **PLACE)
    listed = page(client)
    assert "/placements/acme-7/begin/" in listed
    assert "/placements/acme-7/cutover/" not in listed
    assert "There is no placement of *" in listed
    assert "reads and writes go on at us/orders" in page(client, "acme-7/begin/")
    to = {"cluster": "eu", "resource": "orders", "endpoint": "https://eu.example", "drain_seconds": "31"}
    assert "The move has begun" in send(client, "acme-7/begin/", epoch="1", **to)
    listed = page(client)
    assert "draining" in listed
    assert all(f"/placements/acme-7/{step}/" in listed for step in ("cutover", "abort"))
    assert "After 31 seconds" in page(client, "acme-7/cutover/")
    assert "No write is admitted any more." in send(client, "acme-7/cutover/", epoch="2")
    assert "s until it can be completed" in page(client)
    assert "It can be completed in <span data-left>3" in page(client, "acme-7/complete/")
    early = send(client, "acme-7/complete/", epoch="3")
    assert "Nothing was done." in early
    assert "complete it in 3" in early
    row = get_placement(org, "acme-7")
    Placement.objects.update(cut_over_at=timezone.now() - timedelta(minutes=1))
    assert "can be completed" in page(client)
    assert "go to eu/orders from now on" in page(client, "acme-7/complete/")
    assert "The move is complete." in send(client, "acme-7/complete/", epoch="3")
    assert (get_placement(org, "acme-7").cluster, get_placement(org, "acme-7").epoch) == ("eu", 4)
    assert f"target_type=placement&target_id={row.uid}" in page(client)
    assert page(client).count("by ada") == 1


def test_who_saw_an_older_state_is_told_and_nothing_happens(client: Client, org: Organization) -> None:
    a_placement(org, "acme-7", "draining")
    shown = page(client, "acme-7/abort/")
    assert 'name="epoch" value="2"' in shown
    cut_over(org, "acme-7", by=BY)
    told = send(client, "acme-7/abort/", epoch="2")
    assert "The placement took a step after you looked" in told
    assert get_placement(org, "acme-7").phase == "cutover"
    assert 'name="epoch" value="3"' in told, "as it is now"
    assert "The move was aborted." in send(client, "acme-7/abort/", epoch="3")
    assert "It is settled, so that cannot be done with it now." in page(client, "acme-7/abort/")
    assert "Nothing was done." in send(client, "acme-7/abort/")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"endpoint": "ftp://x.example"}, "The base URL of a cluster is like"),
        ({"endpoint": "x.example"}, "absolute URL"),
        ({"endpoint": "https://user:pw@x.example"}, "absolute URL"),
        ({"drain_seconds": "5"}, "From 30 seconds"),
        ({"drain_seconds": "nan"}, "Enter a number"),
        ({"cluster": ""}, "This field is required"),
        ({"cluster": "a\nb"}, "Control characters"),
        ({"cluster": "eu", "endpoint": "https://eu.example"}, "at eu/orders already"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_kept(
    client: Client, org: Organization, sent: dict[str, str], said: str
) -> None:
    a_placement(org, "acme-7")
    told = send(client, "acme-7/begin/", epoch="1", **{**PLACE, "drain_seconds": "30", **sent})
    assert said in told
    assert "Nothing was done." in told
    assert get_placement(org, "acme-7").epoch == 1


def test_one_that_is_placed_is_not_placed_again_by_its_name(client: Client, org: Organization) -> None:
    a_placement(org, "acme-7")
    assert "“acme-7” is placed already. Move it from the list." in send(client, "new/", partition="acme-7", **PLACE)
    assert "the first a letter or digit" in send(client, "new/", partition="a b", **PLACE)
    assert get_placement(org, "acme-7").epoch == 1


def test_viewers_look_and_admins_move(org: Organization) -> None:
    a_placement(org, "acme-7")
    client = Client()
    client.force_login(a_person("vera", org, "approver"))
    listed = page(client)
    assert "acme-7" in listed
    assert "/begin/" not in listed
    page(client, "acme-7/begin/", 403)
    page(client, "new/", 403)


def test_what_was_never_placed_has_no_page(client: Client, org: Organization) -> None:
    page(client, "ghost/begin/", 404)
    page(client, "a\0b/begin/", 404)


def test_one_that_is_where_the_default_is_is_found_by_its_name_and_moved(client: Client, org: Organization) -> None:
    """Its data would be left behind by placing it."""
    a_placement(org, "*")
    listed = page(client, "?q=acme-7")
    assert "acme-7 is where * is, and has no placement of its own." in listed
    assert "/placements/acme-7/begin/" in listed
    shown = page(client, "acme-7/begin/")
    assert "From now on it has a placement of its own" in shown
    assert 'name="epoch" value="0"' in shown
    to = {"cluster": "us", "resource": "orders", "endpoint": "https://us.example", "drain_seconds": "30"}
    assert "The move has begun" in send(client, "acme-7/begin/", epoch="0", **to)
    row = get_placement(org, "acme-7")
    assert (row.cluster, row.phase, row.to_cluster, row.epoch) == ("eu", "draining", "us", 2)
    assert "has no placement of its own" not in page(client, "?q=acme-7")
    assert "The placement took a step after you looked" in send(client, "acme-7/begin/", epoch="0", **to)
    for name in ("*", "a b", ""):
        assert "has no placement of its own" not in page(client, f"?q={name}")
    page(client, "acme-8/cutover/", 404)


def test_a_placement_is_removed_where_nothing_moves_by_it(client: Client, org: Organization) -> None:
    a_placement(org, "acme-7")
    assert "/placements/acme-7/remove/" in page(client)
    assert "there is no placement of *" in page(client, "acme-7/remove/")
    a_placement(org, "*", "draining")
    assert "/remove/" not in page(client)
    assert "* is being moved; complete or abort that first." in page(client, "acme-7/remove/")
    assert "Nothing was done." in send(client, "acme-7/remove/", epoch="1")
    abort_move(org, "*", by=BY)
    assert "acme-7 stays where it is." in page(client, "acme-7/remove/")
    assert "The placement was removed." in send(client, "acme-7/remove/", epoch="1")
    assert "acme-7 is where * is" in page(client, "?q=acme-7")
    page(client, "acme-7/remove/", 404)
    assert "partitions without a placement of their own are refused" in page(client, "*/remove/")
    assert "The placement was removed." in send(client, "*/remove/", epoch="4")
    assert not Placement.objects.exists()


def test_many_placements_have_pages_and_a_search(client: Client, org: Organization) -> None:
    for number in range(52):
        a_placement(org, f"tenant-{number:02}")
    assert "Placements 1 to 50 of 52" in page(client)
    assert "tenant-51" in page(client, "?page=2")
    found = page(client, "?q=TENANT-31")
    assert "tenant-31" in found
    assert "tenant-30" not in found
    assert "No partition is called so." in page(client, "?q=zzzz")
