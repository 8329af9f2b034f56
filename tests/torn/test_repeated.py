"""A transaction that the database gave up is repeated whole, and nothing of the failed attempt is left."""

import ast
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection, connections, models, transaction
from django.db.models import F

from audit.actors import as_actor
from audit.models import AuditHead
from plans.runs import applying
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes import engine
from routes.catalog.services import import_prices
from routes.document import document_of
from routes.engine.egress import PrivateUpstream
from routes.examples.services import create_example, delete_example, update_example
from routes.history.services import restore_version, retire_versions
from routes.idempotency.services import Answer, once
from routes.orgs import keys, members, policy
from routes.orgs.models import ApiKey, Membership, Organization
from routes.orgs.services import update_organization
from routes.orgs.upstreams import set_private_upstreams
from routes.paths import services as paths
from routes.paths.hosts import set_hosts
from routes.placements.services import begin_move, remove_placement
from routes.publish import DirectWrite
from routes.redaction.services import redact_entry
from routes.rules import services as rules
from routes.rules.bulk import change_routes, reorder_routes
from routes.rules.models import Route
from routes.transactions import repeated, was_given_up
from routes.transfer.services import import_routes
from tests.api.conftest import Caller
from tests.build import BY, US, a_person, a_placement, a_plan, a_service, an_example, an_org, projected, state_of
from tests.databases import ON_POSTGRES
from tests.paths import ROOT
from tests.routes.catalog.build import own, own_list
from tests.torn import faults
from tests.torn.acts import NEW, World, a_world
from tests.torn.dumps import NOW, Kept, dump, is_only_a_number, standing_still
from tests.torn.faults import Steps

pytestmark = pytest.mark.django_db(transaction=True)
SEED = int(os.environ.get("SEED", "20261122"))
#: So many statements of each service are drawn to be given up; 0: all, as `make campaign PART=repeated` asks.
STATEMENTS = int(os.environ.get("STATEMENTS", "2"))
REQUEST = {"context": {"tag": "x"}}
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Places:
    """An organisation in which all that is repeated can be done, and more of them for what cannot be done there as well."""

    def __init__(self) -> None:
        self.world = a_world()
        self.org = self.world.org
        self.ada, self.arno = a_person("ada", self.org, "admin"), a_person("arno", self.org, "admin")
        self.newcomer = a_person("nora")
        self.draft = a_plan(self.org, by=self.ada, routes=[])
        self.approved, self.scheduled = self._approved("approved"), self._approved("scheduled")
        plans.schedule(self.scheduled, NOW + timedelta(hours=2), by=self.ada)
        self.key = keys.create_key(self.org, name="old", role="viewer", by=self.ada).key
        self.example = an_example(self.org, expected={"target_model": "nobody holds"})
        a_placement(self.org)
        self.frozen = an_org("frozen")
        policy.freeze(self.frozen, reason="Holidays.", by=self.ada)
        self.strict = an_org("strict", approval="all")
        update_organization(self.strict, approval="none", by=self.ada)
        self.serving = an_org("serving")  # apart: a change of services makes plans stale
        a_service(self.serving, hosts=["a.example", "b.example"])

    def _approved(self, name: str) -> PlanRun:
        plan = projected(a_plan(self.org, name=name, by=self.ada, routes=[], iterations=100))
        plans.approve(plan, by=self.arno)
        return plan

    def of(self, row: Any) -> Any:
        """As a door reads it anew."""
        return type(row)._default_manager.get(pk=row.pk)

    def backwards(self) -> list[str]:
        return [str(row.uid) for row in reversed(Route.objects.of(self.org).in_order())]

    def member(self) -> Membership:
        return members.get_member(self.org, self.arno.pk)


def _changed(world: World) -> engine.Route:
    return engine.Route.from_dict({**world.edited.as_document(), "priority": 5})


def _call(act: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call:
    return act, args, kwargs


def _refused(plan: PlanRun) -> Call:
    return _call(applying._refused, plan, applying.MissedTime("Too late."), found=applying._time_of(plan), by=BY)


def _direct(org: Organization, by: Any) -> DirectWrite:
    base = document_of(org)
    return DirectWrite(org, base, {**base.content, "routes": []}, by=as_actor(by))


def _once(org: Organization) -> Call:
    def act() -> Answer:
        _, change = rules.create_route(org, engine.NewRoute.from_dict(NEW), by=BY)
        return Answer(201, str(change.version).encode())

    return _call(once, caller="c", method="POST", path="p", key="k", body=b"", act=act)


#: How each service that is repeated is called, so that it changes something.
CALLS: dict[str, Callable[[Places], Call]] = {
    "routes.rules.services._set_paused": lambda at: _call(rules.pause_route, at.of(at.world.edited), by=at.ada),
    "routes.rules.bulk.reorder_routes": lambda at: _call(reorder_routes, at.of(at.org), at.backwards(), by=at.ada),
    "routes.rules.bulk.change_routes": lambda at: _call(
        change_routes, at.of(at.org), "disable", at.backwards(), by=at.ada
    ),
    "routes.history.services.restore_version": lambda at: _call(restore_version, at.of(at.org), 1, by=at.ada),
    "routes.history.services.retire_versions": lambda at: _call(
        retire_versions, at.of(at.org), keep=1, days=-1, referred=lambda org: (), by=at.ada
    ),
    "routes.transfer.services.import_routes": lambda at: _call(
        import_routes, at.of(at.org), {"routes": [NEW]}, mode="merge", by=at.ada
    ),
    "routes.placements.services._take": lambda at: _call(begin_move, at.of(at.org), "tenant-7", US, by=at.ada),
    "routes.placements.services.remove_placement": lambda at: _call(
        remove_placement, at.of(at.org), "tenant-7", by=at.ada
    ),
    "routes.examples.services.create_example": lambda at: _call(
        create_example, at.of(at.org), name="new", request=REQUEST, expected={"route": None}, by=at.ada
    ),
    "routes.examples.services.update_example": lambda at: _call(
        update_example, at.of(at.example), name="other", request=REQUEST, expected={"route": None}, by=at.ada
    ),
    "routes.examples.services.delete_example": lambda at: _call(delete_example, at.of(at.example), by=at.ada),
    "plans.runs.applying._apply": lambda at: _call(plans.apply, at.of(at.world.projected), by=at.ada),
    "plans.runs.applying._refused": lambda at: _refused(at.of(at.scheduled)),
    "plans.runs.applying.revert": lambda at: _call(plans.revert, at.of(at.world.applied), by=at.ada),
    "plans.runs.applying.schedule": lambda at: _call(
        plans.schedule, at.of(at.approved), NOW + timedelta(hours=3), by=at.ada
    ),
    "plans.runs.proposals.copy": lambda at: _call(plans.copy, at.of(at.approved), by=at.ada),
    "plans.runs.proposals.draft_of": lambda at: _call(plans.draft_of, _direct(at.of(at.org), at.ada)),
    "plans.runs.proposals.edit": lambda at: _call(plans.edit, at.of(at.draft), name="other", routes=[NEW], by=at.ada),
    "plans.runs.proposals.propose": lambda at: _call(a_plan, at.of(at.org), routes=[NEW], by=at.ada),
    "plans.runs.proposals.rebase": lambda at: _call(plans.rebase, at.of(at.approved), by=at.ada),
    "plans.runs.steps.approve": lambda at: _call(plans.approve, at.of(at.world.projected), by=at.ada),
    "plans.runs.steps.cancel": lambda at: _call(plans.cancel, at.of(at.draft), by=at.ada),
    "plans.runs.steps.project": lambda at: _call(plans.project, at.of(at.draft), by=at.ada),
    "plans.runs.steps.reject": lambda at: _call(plans.reject, at.of(at.world.projected), reason="No.", by=at.ada),
    "routes.catalog.services.import_prices": lambda at: _call(
        import_prices, own_list(own("new"), own("gpt-4o-mini", 9, 9)), org=at.of(at.org), by=at.ada, source="test"
    ),
    "routes.idempotency.services.once": lambda at: _once(at.of(at.org)),
    "routes.orgs.keys.create_key": lambda at: _call(
        keys.create_key, at.of(at.org), name="k", kind="gateway", by=at.ada
    ),
    "routes.orgs.keys.revoke_key": lambda at: _call(keys.revoke_key, at.of(at.key), by=at.ada),
    "routes.orgs.members.add_member": lambda at: _call(
        members.add_member, at.of(at.org), at.newcomer, role="editor", by=at.ada
    ),
    "routes.orgs.members.change_role": lambda at: _call(members.change_role, at.member(), role="viewer", by=at.ada),
    "routes.orgs.members.remove_member": lambda at: _call(members.remove_member, at.member(), by=at.ada),
    "routes.orgs.policy.confirm_approval": lambda at: _call(
        policy.confirm_approval, at.of(at.strict), "none", by=at.arno
    ),
    "routes.orgs.policy.freeze": lambda at: _call(policy.freeze, at.of(at.org), reason="Holidays.", by=at.ada),
    "routes.orgs.policy.unfreeze": lambda at: _call(policy.unfreeze, at.of(at.frozen), by=at.ada),
    "routes.orgs.policy.withdraw_approval": lambda at: _call(
        policy.withdraw_approval, at.of(at.strict), "none", by=at.ada
    ),
    "routes.orgs.upstreams.set_private_upstreams": lambda at: _call(
        set_private_upstreams, at.of(at.serving), [PrivateUpstream("10.1.0.0/16", 8080)], by=at.ada
    ),
    "routes.paths.hosts.set_hosts": lambda at: _call(
        set_hosts, at.of(at.serving), "users", ["b.example", "c.example"], by=at.ada
    ),
    "routes.paths.services.create_service": lambda at: _call(
        paths.create_service, at.of(at.serving), engine.Service("new"), by=at.ada
    ),
    "routes.paths.services.delete_service": lambda at: _call(
        paths.delete_service, at.of(at.serving), "users", by=at.ada
    ),
    "routes.paths.services.update_service": lambda at: _call(
        paths.update_service, at.of(at.serving), "users", engine.Service("renamed", enabled=False), by=at.ada
    ),
    "routes.orgs.services.update_organization": lambda at: _call(
        update_organization, at.of(at.org), name="Other", approval="plans", by=at.ada
    ),
    "routes.redaction.services.redact_entry": lambda at: _call(
        redact_entry, at.of(at.org), 0, reason="A name.", by=at.ada
    ),
    "routes.rules.services.create_route": lambda at: _call(
        rules.create_route, at.of(at.org), engine.NewRoute.from_dict(NEW), by=at.ada
    ),
    "routes.rules.services.delete_route": lambda at: _call(
        rules.delete_route, at.of(at.org), at.world.deleted.uid, by=at.ada
    ),
    "routes.rules.services.set_default": lambda at: _call(
        rules.set_default, at.of(at.org), engine.Action.from_dict({"target_model": "m"}), by=at.ada
    ),
    "routes.rules.services.update_route": lambda at: _call(
        rules.update_route, at.of(at.org), at.world.edited.uid, _changed(at.world), by=at.ada
    ),
}


def decorated() -> set[str]:
    """Every service that is repeated."""
    found = set()
    for room in ("audit", "routes", "plans", "routing_admin"):
        for path in sorted((ROOT / room).rglob("*.py")):
            module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            text = path.read_text(encoding="utf-8")
            for node in ast.parse(text).body if "@repeated" in text else ():
                if isinstance(node, ast.FunctionDef) and any(
                    ast.unparse(by) == "repeated" for by in node.decorator_list
                ):
                    found.add(f"{module}.{node.name}")
    return found


def told(value: Any) -> Any:
    """All that a caller sees of it, as what can be compared."""
    if isinstance(value, models.Model):
        seen = {field.attname: field for field in value._meta.concrete_fields if not is_only_a_number(field)}
        return {name: told(member) for name, member in vars(value).items() if name in seen}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: told(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, dict):
        return {key: told(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [told(member) for member in value]
    return str(value) if isinstance(value, Exception) else value


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with patch("routes.transactions._PAUSE_SECONDS", 0):
        yield


def test_every_service_that_is_repeated_is_tried_here() -> None:
    assert set(CALLS) == decorated()


def test_what_is_repeated_carries_nothing_of_the_attempt_that_failed() -> None:
    tried = 0
    logging.disable()
    with standing_still() as again:
        at = Places()
        before = Kept()
        for name, call in CALLS.items():
            act, args, kwargs = call(at)
            again()
            with Steps() as steps:
                answer = told(act(*args, **kwargs))
            expected = answer, told(args), dump()
            assert expected[2] != before.dump, f"{name} changes something"
            before.put_back()
            all_of_them, chance = range(len(steps.seen)), Random(f"{SEED} {connection.vendor} {name}")
            drawn = chance.sample(all_of_them, min(STATEMENTS or len(all_of_them), len(all_of_them)))
            for step in sorted(drawn):
                statement = steps.seen[step]
                act, args, kwargs = call(at)
                again()

                def give_up() -> None:
                    again()
                    faults.give_up()

                with Steps(step, before=give_up):
                    answer = told(act(*args, **kwargs))
                where = f"{name}, given up at step {step + 1} of {len(steps.seen)}: {statement}"
                assert answer == expected[0], where
                assert told(args) == expected[1], where
                now = dump()
                assert now == expected[2], where
                before.put_back(now)
                tried += 1
    logging.disable(logging.NOTSET)
    print(f"{connection.vendor}: {len(CALLS)} services, {tried} statements given up once, all as if nothing had been")


#: Of PostgreSQL: whether a transaction that ended with it is repeated.
GIVEN_UP = {
    "40001": True,  # serialization_failure
    "40P01": True,  # deadlock_detected
    # With these the commit may have happened: who repeats it does it twice.
    "57P01": False,  # admin_shutdown
    "57P02": False,  # crash_shutdown
    "08006": False,  # connection_failure
    "08003": False,  # connection_does_not_exist
    # Who waited in vain has waited long enough.
    "55P03": False,  # lock_not_available
    None: False,  # SQLite, and a connection that is gone
}


def test_only_what_surely_did_not_happen_is_repeated() -> None:
    for code, is_given_up in GIVEN_UP.items():
        error = OperationalError("the connection is closed")
        error.__cause__ = type("Cause", (Exception,), {"sqlstate": code})()
        assert was_given_up(error) == is_given_up, code


# --- How often --------------------------------------------------------------------------------------------------------


@contextmanager
def giving_up(cause: Callable[[], None] = faults.give_up) -> Iterator[list[str]]:
    """Whoever writes to an organisation's row fails; what they wrote."""
    seen: list[str] = []

    def executed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and Organization._meta.db_table in sql:
            seen.append(sql)
            cause()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(executed):
        yield seen


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "one"}])
def test_after_four_attempts_the_api_says_when_to_come_again(headers: dict[str, str]) -> None:
    org = an_org()
    caller = Caller(org, "editor")
    before = state_of(org)
    with giving_up() as seen:
        answer = caller("post", "routes/", NEW, headers=headers)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"], len(seen)) == (503, "busy", "2", 4)
    assert state_of(org) == before
    answer = caller("post", "routes/", NEW, headers=headers)
    assert (answer.status_code, answer.json()["version"]) == (201, 1)


def test_who_waited_for_a_lock_in_vain_does_not_wait_again() -> None:
    org = an_org()
    with giving_up(faults.fail) as seen, pytest.raises(OperationalError):
        rules.create_route(org, engine.NewRoute.from_dict(NEW), by=BY)
    assert len(seen) == 1


def test_nothing_is_repeated_inside_the_transaction_of_somebody_else() -> None:
    org = an_org()
    before = dump()
    with giving_up() as seen, pytest.raises(OperationalError), transaction.atomic():
        rules.create_route(org, engine.NewRoute.from_dict(NEW), by=BY)
    assert len(seen) == 1
    assert dump() == before


# --- Locks of PostgreSQL ----------------------------------------------------------------------------------------------

on_postgresql = pytest.mark.skipif(not ON_POSTGRES, reason="SQLite has one lock")


def in_a_thread(act: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@on_postgresql
def test_a_real_deadlock_is_repeated_whole_and_both_get_through() -> None:
    orgs = [an_org("one"), an_org("two")]
    both_have_one = threading.Barrier(2, timeout=30)
    attempts: list[str] = []

    @repeated
    def write(first: Organization, second: Organization) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '20ms'")
            attempts.append(first.slug)
            Organization.objects.filter(pk=first.pk).update(placement_epoch=F("placement_epoch") + 1)
            if attempts.count(first.slug) == 1:
                both_have_one.wait()
            Organization.objects.filter(pk=second.pk).update(placement_epoch=F("placement_epoch") + 1)

    thread = in_a_thread(lambda: write(*orgs))
    write(*reversed(orgs))
    thread.join()
    assert [Organization.objects.get(pk=org.pk).placement_epoch for org in orgs] == [2, 2]
    assert len(attempts) >= 3, "PostgreSQL gave one of them up"


#: A key stops at once, whoever holds its organisation.
UNORDERED = {"routes.orgs.keys.revoke_key": ApiKey._meta.db_table}


def locked_tables(steps: list[str]) -> list[str]:
    """Of which a row is locked, in this order: by reading it for that, or by writing it."""
    found = []
    for step in steps:
        pattern = r'FROM "(\w+)".* FOR ' if step.startswith("SELECT") else r'(?:UPDATE|INSERT INTO|DELETE FROM) "(\w+)"'
        found += re.findall(pattern, step)[:1]
    return found


@on_postgresql
def test_services_lock_their_organisation_before_all_else_and_wait_for_no_other() -> None:
    other = an_org("other")
    at = Places()
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            rules.create_route(other, engine.NewRoute.from_dict(NEW), by=BY)
            locked.set()
            done.wait(60)

    thread = in_a_thread(hold)
    try:
        assert locked.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '500ms'")
        for name, call in CALLS.items():
            act, args, kwargs = call(at)
            with transaction.atomic(), Steps() as steps:
                act(*args, **kwargs)
                transaction.set_rollback(True)
            tables = locked_tables(steps.seen)
            assert tables[0] == UNORDERED.get(name, Organization._meta.db_table), f"{name} locks {tables}"
            of_the_log = tables.index(AuditHead._meta.db_table)
            assert PlanRun._meta.db_table not in tables[of_the_log:], f"{name} locks {tables}"
        with pytest.raises(OperationalError, match="lock timeout"):
            rules.create_route(other, engine.NewRoute.from_dict(NEW), by=BY)
    finally:
        done.set()
        thread.join()
        connection.close()
