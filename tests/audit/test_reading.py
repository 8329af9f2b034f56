"""What other applications read of the log."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from audit.actors import Actor
from audit.models import AuditEntry
from audit.reading import acts_on
from audit.services import record
from routes.orgs.models import Organization
from tests.build import BY, a_person

pytestmark = pytest.mark.django_db
KEY = Actor("api_key", "k1", "7", "dashboard")


def write(org: Organization, name: str, action: str = "plan.applied", **keys: object) -> None:
    with transaction.atomic():
        record(org.pk, **{"by": BY, "action": action, "target": ("plan", name), "payload": {"n": 1}, **keys})


def test_the_newest_acts_on_some_things_come_first_with_who_did_them(org: Organization) -> None:
    ada = a_person("ada")
    write(org, "a", by=ada)
    write(org, "b", by=KEY, version_before=1, version_after=2)
    write(org, "c")
    found = acts_on(org.pk, "plan", ["a", "b"], most=10)
    assert [(act.target_id, act.person, act.who, act.version_after) for act in found] == [
        ("b", "7", "dashboard", 2),
        ("a", str(ada.pk), "ada", None),
    ]
    assert [act.seq for act in found] == sorted((act.seq for act in found), reverse=True)
    assert found[0].place == f"1.{found[0].seq + 1}"
    assert found[0].payload["n"] == 1


def test_only_so_many_only_some_acts_and_only_since_a_time(org: Organization) -> None:
    for action in ("plan.queued", "plan.applied", "plan.reverted"):
        write(org, "a", action)
    newest = acts_on(org.pk, "plan", ["a"], most=2)
    assert [act.action for act in newest] == ["plan.reverted", "plan.applied"]
    assert [act.action for act in acts_on(org.pk, "plan", ["a"], most=9, actions=["plan.queued"])] == ["plan.queued"]
    assert [act.seq for act in acts_on(org.pk, "plan", ["a"], most=9, since=newest[1].at)] == [newest[0].seq]


def test_it_takes_one_query_and_none_for_nothing(org: Organization) -> None:
    for number in range(30):
        write(org, str(number))
    for targets, queries in (([], 0), (["1"], 1), ([str(number) for number in range(30)], 1)):
        with CaptureQueriesContext(connection) as found:
            assert len(acts_on(org.pk, "plan", targets, most=50)) == len(targets)
        assert len(found) == queries


def test_other_organisations_and_other_kinds_of_things_are_not_read(org: Organization) -> None:
    write(org, "a", target=("route", "a"))
    assert acts_on(org.pk, "plan", ["a"], most=9) == []


def test_a_blanked_entry_has_no_name_and_garbage_is_nothing(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    write(org, "a", by=KEY)
    monkeypatch.setattr("audit.reading.payload_of", lambda row: None)
    assert acts_on(org.pk, "plan", ["a"], most=9)[0].who == "k1"

    def garbage(row: AuditEntry) -> None:
        raise TypeError("list in place of an object")

    monkeypatch.setattr("audit.reading.payload_of", garbage)
    assert acts_on(org.pk, "plan", ["a"], most=9) == []
