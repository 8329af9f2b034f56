"""Organisations as operators name them."""

import pytest

from routes.errors import NotFound
from routes.orgs.access import named_org
from routes.orgs.models import Organization

pytestmark = pytest.mark.django_db


def test_an_organisation_is_found_by_its_slug_and_by_its_id(org: Organization) -> None:
    assert named_org("acme") == named_org(str(org.pk)) == org


@pytest.mark.parametrize("ref", ["nobody", "", "ac\0me", "\udcff", "00000000-0000-7000-8000-000000000000"])
def test_what_names_none_is_told_in_one_way(org: Organization, ref: str) -> None:
    with pytest.raises(NotFound) as refused:
        named_org(ref)
    assert str(refused.value) == "There is no such organisation."
