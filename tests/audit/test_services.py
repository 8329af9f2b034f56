"""Recording: what an entry says, what is refused, and writers at once; on both databases."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.db import connections, transaction

from audit import request_id
from audit.actors import Actor, as_actor, system
from audit.errors import EntryRefused, LogDamaged, NoTransaction
from audit.log import tree
from audit.log.canonical import canonical_bytes
from audit.log.entry import Entry
from audit.models import AuditEntry, AuditHead
from audit.services import MAX_PAYLOAD_BYTES, payload_of, record, targets_of
from audit.verification import verify_org
from tests.audit.build import ORG, OTHER, some, sql

pytestmark = pytest.mark.django_db


# --- Recording --------------------------------------------------------------------------------------------------------


def test_an_entry_holds_exactly_what_was_said() -> None:
    with transaction.atomic(), request_id.bind("req-1"):
        receipt = record(
            ORG,
            by=Actor("api_key", "k1", "7", "ci"),
            action="plan.applied",
            target=("plan", ORG),
            payload={
                "at": datetime(2026, 1, 2, tzinfo=UTC),
                "usd": Decimal("1.50"),
                "id": ORG,
                "list": (1, None),
                "f": 1e-7,
            },
            version_before=4,
            version_after=5,
        )
    row = AuditEntry.objects.get()
    entry = Entry.from_bytes(bytes(row.entry))
    assert (receipt.log, receipt.seq) == (f"routing.example/audit/{ORG}", 0)
    assert receipt.leaf_hash == tree.leaf_hash(bytes(row.entry)).hex()
    assert (entry.actor_type, entry.actor_id, entry.on_behalf_of) == ("api_key", "k1", "7")
    assert (entry.version_before, entry.version_after, entry.request_id, entry.prev) == (4, 5, "req-1", None)
    assert payload_of(row) == {
        "actor_name": "ci",
        "at": "2026-01-02T00:00:00.000000Z",
        "f": "0.0000001",
        "id": str(ORG),
        "list": [1, None],
        "usd": "1.50",
    }
    assert b"ci" not in bytes(row.entry), "names stand in the payload, where they can be blanked"


def test_what_was_acted_on_is_known_by_action_and_organisation() -> None:
    with transaction.atomic():
        for org, action, target in (
            (ORG, "a", "1"),
            (ORG, "a", "2"),
            (ORG, "a", "1"),
            (ORG, "b", "3"),
            (OTHER, "a", "4"),
        ):
            record(org, by=system("test"), action=action, target=("version", target))
        record(None, by=system("test"), action="a", target=("version", "5"))
    assert targets_of(ORG, action="a") == {"1", "2"}
    assert targets_of(None, action="a") == {"5"}
    assert targets_of(ORG, action="c") == set()


def test_equal_payloads_have_different_hashes() -> None:
    some(1)
    some(1, OTHER)
    hashes = {Entry.from_bytes(bytes(row.entry)).payload_sha256 for row in AuditEntry.objects.all()}
    assert len(hashes) == 2, "without a salt a blanked payload could be guessed"


def test_every_organisation_has_a_log_of_its_own_and_the_installation_too() -> None:
    some(2)
    some(1, OTHER)
    some(1, None)
    assert dict(AuditHead.objects.values_list("log", "size")) == {
        f"routing.example/audit/{ORG}": 2,
        f"routing.example/audit/{OTHER}": 1,
        "routing.example/audit/installation": 1,
    }


def test_the_origin_is_chosen_once(settings: Any) -> None:
    some(1)
    settings.AUDIT_ORIGIN = "moved.example"
    some(1)
    assert set(AuditEntry.objects.values_list("log", flat=True)) == {f"routing.example/audit/{ORG}"}
    assert verify_org(ORG).ok


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_recorded() -> None:
    with pytest.raises(NoTransaction):
        record(ORG, by=system("test"), action="x.y", target=("x", "y"))
    assert not AuditHead.objects.exists()


def test_an_entry_goes_with_its_transaction() -> None:
    some(1)

    def half_done() -> None:
        with transaction.atomic():
            record(ORG, by=system("test"), action="x.y", target=("x", "y"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert AuditHead.objects.get().size == AuditEntry.objects.count() == 1


def test_time_never_goes_back_even_if_the_clock_does() -> None:
    some(1)
    earlier = datetime.now(UTC) - timedelta(days=1)
    with patch("audit.services.timezone.now", return_value=earlier):
        some(1)
    first, second = AuditEntry.objects.order_by("seq")
    assert second.ts == first.ts
    assert verify_org(ORG).ok


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"action": "x" * 20_000}, "entry_too_large"),
        ({"action": "x" * 51}, "entry_too_large"),  # SQLite would keep it, PostgreSQL would not
        ({"target": ("x", "y" * 101)}, "entry_too_large"),
        ({"by": Actor("api_key", "k", "7" * 101)}, "entry_too_large"),
        ({"by": Actor("robot", "k")}, "entry_refused"),
        ({"target": ("x", "a\0b")}, "entry_refused"),
        ({"action": "\ud800"}, "entry_refused"),
        ({"version_before": -1}, "entry_refused"),
        ({"version_after": 2**53}, "entry_refused"),
        ({"payload": {"a": {1, 2}}}, "entry_refused"),
        ({"payload": {"a": "\ud800"}}, "entry_refused"),
        ({"payload": {"a": 2**53}}, "entry_refused"),
        ({"payload": {"a": datetime(2026, 1, 1)}}, "entry_refused"),
        ({"payload": {1: "a", "1": "b"}}, "entry_refused"),
        ({"payload": {"a": nested(100)}}, "entry_refused"),
        ({"payload": {"a": nested(100_000)}}, "entry_refused"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_written(wrong: dict[str, Any], code: str) -> None:
    fields: dict[str, Any] = {"by": system("test"), "action": "x.y", "target": ("x", "y"), **wrong}
    # In this order the transaction is committed in spite of the refusal.
    with transaction.atomic(), pytest.raises(EntryRefused) as caught:
        record(ORG, **fields)
    assert caught.value.code == code
    assert not AuditEntry.objects.exists()
    assert not AuditHead.objects.exists()


def test_the_longest_texts_that_columns_hold_fit_an_entry() -> None:
    worst = "\x01"  # six bytes in JSON
    with transaction.atomic(), request_id.bind(worst * 100):
        record(
            ORG,
            by=Actor("anonymous", worst * 100, worst * 100),
            action=worst * 50,
            target=(worst * 50, worst * 100),
            version_before=2**53 - 1,
            version_after=2**53 - 1,
        )
    assert verify_org(ORG).ok


def test_of_a_huge_payload_the_largest_members_are_replaced_by_digest_size_and_count() -> None:
    much = {"much": "x" * 300_000, "rows": ["y" * 100_000] * 3, "k" * 300_000: [1]}
    small = {"accept_broken": "the board wants it", "broken": [{"id": ORG, "name": "short"}], "counts": {"added": 3}}
    with transaction.atomic():
        record(ORG, by=system("test"), action="x.y", target=("x", "y"), payload={**much, **small})
    row = AuditEntry.objects.get()
    small["broken"] = [{"id": str(ORG), "name": "short"}]

    def sums(value: Any) -> dict[str, Any]:
        return {"sha256": sha256(canonical_bytes(value)).hexdigest(), "bytes": len(canonical_bytes(value))}

    # The third's name is too long to be said; the digest of the whole covers it.
    members = {"much": sums(much["much"]), "rows": {**sums(much["rows"]), "count": 3}}
    assert payload_of(row) == {
        **small,
        "actor_name": "test",
        "replaced": {**sums({**much, **small, "actor_name": "test"}), "members": members},
    }
    assert verify_org(ORG).ok


@pytest.mark.parametrize(
    "payload",
    [
        {f"{number:099}\x01": number for number in range(4_000)},
        {str(number): "x" * 20_000 for number in range(60)},
        {"\x01" * 90 + str(number): ["\x01" * 50_000] for number in range(60)},
    ],
    ids=["names", "texts", "both"],
)
def test_what_stands_for_a_huge_payload_is_never_huge(payload: Any) -> None:
    with transaction.atomic():
        record(ORG, by=Actor("user", "7", None, "n" * 300_000), action="x.y", target=("x", "y"), payload=payload)
    row = AuditEntry.objects.get()
    kept = payload_of(row) or {}
    assert len(bytes(row.payload or b"")) <= MAX_PAYLOAD_BYTES
    assert kept["actor_name"] == "n" * 199 + "…"
    assert kept.keys() - {"replaced", "actor_name"} < payload.keys()
    assert len(kept["replaced"]["members"]) <= 50
    assert bool(kept["replaced"]["members"]) == any(len(name) <= 100 for name in payload)
    assert verify_org(ORG).ok


def test_nobody_acts_anonymously_by_accident() -> None:
    from django.contrib.auth.models import AnonymousUser

    for nobody in (None, "edda", AnonymousUser()):
        with pytest.raises(TypeError):
            as_actor(nobody)


def test_who_acts_is_the_same_person_directly_and_through_a_key() -> None:
    class Key:
        def as_actor(self) -> Actor:
            return Actor("api_key", "k1", "7", "ci")

    person = get_user_model()(pk=7, username="edda")
    assert as_actor(person) == Actor("user", "7", None, "edda")
    assert as_actor(person).person == as_actor(Key()).person == "7"
    assert as_actor(system("worker")).person is None
    assert Actor("anonymous", "nobody").person is None


def test_the_request_id_is_known_inside_its_block_alone() -> None:
    assert request_id.current() is None
    with request_id.bind("outer"):
        with request_id.bind("inner"):
            assert request_id.current() == "inner"
        assert request_id.current() == "outer"
    assert request_id.current() is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begun", [False, True], ids=["first entry of the log", "later"])
def test_writers_at_once_leave_no_gap(begun: bool) -> None:
    if begun:
        some(1)
    errors: list[BaseException] = []
    barrier = threading.Barrier(6)

    def write() -> None:
        try:
            barrier.wait()
            for _ in range(5):
                some(1)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = verify_org(ORG)
    assert found.ok, found.message
    assert found.size == 30 + begun


@pytest.mark.parametrize(
    "change",
    [
        "right_edge = substr(right_edge, 1, 31)",
        "right_edge = last_leaf_hash, size = 3",
        "last_leaf_hash = NULL",
        "last_leaf_hash = substr(right_edge, 1, 31)",
        "last_ts = 'x'",
        "size = 1, right_edge = last_leaf_hash",
    ],
)
def test_to_a_log_that_does_not_fit_together_nothing_is_added(change: str) -> None:
    some(2)
    sql(f"UPDATE audit_audithead SET {change}")
    with pytest.raises(LogDamaged, match="verify_audit says where"), transaction.atomic():
        some(1)
    assert AuditEntry.objects.count() == 2
