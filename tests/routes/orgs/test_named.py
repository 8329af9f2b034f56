"""Organisations as operators name them."""

from collections.abc import Callable
from urllib.parse import quote

import pytest

from routes.errors import NotFound
from routes.orgs.access import named_org
from routes.orgs.models import Organization
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(org: Organization) -> Caller:
    return Caller(org, "viewer")


def test_an_organisation_is_found_by_its_slug_and_by_its_id(org: Organization) -> None:
    assert named_org("acme") == named_org(str(org.pk)) == org


@pytest.mark.parametrize("write", [str.upper, lambda ref: ref.replace("-", "")], ids=["capitals", "no hyphens"])
def test_an_id_has_capitals_or_no_hyphens_as_others_write_it(
    org: Organization, viewer: Caller, write: Callable[[str], str]
) -> None:
    assert named_org(write(str(org.pk))) == org
    assert viewer.client.get(f"/api/v1/orgs/{write(str(org.pk))}/").status_code == 200


@pytest.mark.parametrize(
    "write",
    [
        "{{{}}}".format,
        "urn:uuid:{}".format,
        " {}".format,
        "{}\n".format,
        lambda ref: ref.replace("-", "", 1),
        lambda ref: ref.replace("-", "").replace(ref[0], f"{ref[0]}-", 1),
        lambda ref: ref.translate({ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789"}),
        lambda ref: ref.translate({ord(digit): chr(ord(digit) + 0x630) for digit in "0123456789"}),
    ],
    ids=["braces", "urn", "blank", "line", "few hyphens", "other hyphens", "wide digits", "Arabic digits"],
)
def test_an_id_that_is_written_otherwise_names_none(
    org: Organization, viewer: Caller, write: Callable[[str], str]
) -> None:
    with pytest.raises(NotFound):
        named_org(write(str(org.pk)))
    assert viewer.client.get(f"/api/v1/orgs/{quote(write(str(org.pk)))}/").status_code == 404, "with a key of its own"


@pytest.mark.parametrize("ref", ["nobody", "", "ac\0me", "\udcff", "00000000-0000-7000-8000-000000000000"])
def test_what_names_none_is_told_in_one_way(org: Organization, ref: str) -> None:
    with pytest.raises(NotFound) as refused:
        named_org(ref)
    assert str(refused.value) == "There is no such organisation."
