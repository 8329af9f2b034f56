"""Old versions lose their content and nothing else; what somebody may still need keeps it."""

from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from audit.models import AuditEntry
from audit.services import payload_of, verify_org
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes.document import document_of
from routes.history import services
from routes.history.services import restore_version, retire_versions
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.store import DjangoStore
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_plan, a_route, an_org, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db


def versions(org: Organization, count: int, *, days_old: int = 100) -> None:
    for number in range(count):
        a_route(org, f"route {Organization.objects.get(pk=org.pk).version}-{number}")
    RouteSetVersion.objects.filter(org=org).update(published_at=timezone.now() - timedelta(days=days_old))


def kept(org: Organization) -> list[int]:
    rows = RouteSetVersion.objects.of(org).brief().order_by("version")
    return [row.version for row in rows if row.is_kept]


def retired(**options: Any) -> str:
    out = StringIO()
    call_command("retire_versions", stdout=out, **options)
    return out.getvalue()


def test_the_newest_and_the_young_keep_their_content(org: Organization) -> None:
    versions(org, 6)
    RouteSetVersion.objects.filter(org=org, version=2).update(published_at=timezone.now() - timedelta(days=89))
    before = RouteSetVersion.objects.filter(org=org).defer("content").order_by("version").values_list("digest", "note")
    said = retired(keep=2, days=90)
    assert kept(org) == [2, 5, 6]
    assert "acme: 1, 3-4, audit entry" in said
    assert said.endswith("3 versions retired.\n")
    after = RouteSetVersion.objects.filter(org=org).defer("content").order_by("version").values_list("digest", "note")
    assert list(after) == list(before)


def test_one_entry_tells_how_many_and_which(org: Organization) -> None:
    versions(org, 4)
    retired(keep=1, days=90)
    entry = AuditEntry.objects.get(action="versions.retired")
    payload = payload_of(entry)
    assert payload is not None
    assert (entry.target_type, entry.target_id, entry.actor_id) == ("organization", str(org.pk), "retire_versions")
    del payload["actor_name"]
    assert payload == {"count": 3, "first": 1, "last": 3, "keep": 1, "days": 90}
    assert verify_org(org.pk).ok
    assert retired(keep=1, days=90) == "0 versions retired.\n", "and once"
    assert AuditEntry.objects.filter(action="versions.retired").count() == 1


def test_what_is_live_stays_whatever_is_asked(org: Organization) -> None:
    versions(org, 3)
    live = document_of(org).to_bytes()
    retired(keep=0, days=0)
    assert kept(org) == [3]
    assert document_of(org).to_bytes() == live


def test_what_was_restored_stays(org: Organization) -> None:
    versions(org, 4)
    restore_version(org, 2, by=BY)
    RouteSetVersion.objects.filter(org=org).update(published_at=timezone.now() - timedelta(days=100))
    retired(keep=1, days=90)
    assert kept(org) == [2, 5]


def test_what_a_plan_stands_on_made_or_replaced_stays(org: Organization) -> None:
    usual_prices()
    traffic(org)
    versions(org, 4)
    draft = a_plan(org, name="on 4")
    assert draft.base_version == 4
    versions(org, 3)
    applied = projected(a_plan(org, name="on 7"))
    plans.apply(applied, by=BY)  # 8
    versions(org, 2)
    # As where the plan was applied on another version with the same digest.
    PlanRun.objects.filter(pk=applied.pk).update(base_version=6)
    plans.revert(plans.get_plan(org, applied.pk), by=BY)  # 11
    versions(org, 2)
    retired(keep=1, days=90)
    assert kept(org) == [4, 6, 7, 8, 10, 11, 13]
    assert plans.get_plan(org, applied.pk).reverted_version == 11


def test_a_plan_that_is_made_meanwhile_is_seen(org: Organization) -> None:
    """Plans are made with the organisation locked, and so are they asked for."""
    usual_prices()
    versions(org, 3)
    asked: list[bool] = []

    def referred(locked: Organization) -> set[int]:
        asked.append(connection.in_atomic_block and locked is not org)
        return {1}

    retire_versions(org, keep=1, days=90, referred=referred, by=BY)
    assert asked == [True]
    assert kept(org) == [1, 3]


def test_a_dry_run_lists_and_leaves(org: Organization) -> None:
    versions(org, 5)
    before = state_of(org)
    said = retired(keep=1, days=90, dry_run=True)
    assert said == "acme: 1-4\n4 versions would be retired.\n"
    assert state_of(org) == before


def test_a_frozen_organisation_keeps_everything(org: Organization) -> None:
    versions(org, 3)
    versions(other := an_org("other"), 3)
    freeze(org, reason="an incident", by=BY)
    said = retired(keep=1, days=90)
    assert "acme: frozen, left as it is" in said
    assert (kept(org), kept(other)) == ([1, 2, 3], [3])


def test_one_organisation_can_be_named(org: Organization) -> None:
    versions(org, 2)
    versions(other := an_org("other"), 2)
    retired(org="other", keep=1, days=90)
    assert (kept(org), kept(other)) == ([1, 2], [2])
    with pytest.raises(CommandError, match="There is no organisation nowhere"):
        retired(org="nowhere")
    with pytest.raises(CommandError):
        call_command("retire_versions", "--days", "-1")


def test_many_are_retired_a_few_at_a_time(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    versions(org, 6)
    monkeypatch.setattr(services, "AT_ONCE", 2)
    monkeypatch.setattr("routing_admin.management.commands.retire_versions.AT_ONCE", 2)
    assert retired(keep=1, days=90).endswith("5 versions retired.\n")
    payloads = [
        payload_of(entry) or {} for entry in AuditEntry.objects.filter(action="versions.retired").order_by("seq")
    ]
    assert [(payload["first"], payload["last"]) for payload in payloads] == [(1, 2), (3, 4), (5, 5)]


def test_when_it_cannot_be_recorded_nothing_is_retired(org: Organization) -> None:
    versions(org, 3)
    before = state_of(org)
    broken = RuntimeError("broken on purpose")
    with patch("routes.history.services.record", side_effect=broken), pytest.raises(RuntimeError):
        retired(keep=1, days=90)
    assert state_of(org) == before


def test_gateways_are_served_as_before(org: Organization) -> None:
    versions(org, 3)
    before = DjangoStore().fetch(str(org.pk))
    retired(keep=1, days=0)
    assert DjangoStore().fetch(str(org.pk)) == before
