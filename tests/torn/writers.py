"""Processes that edit, apply and revert in a loop, and read in between, and note what they ask and what they are answered.

Of a note nothing is lost when its writer is killed: it is in the file as soon as it is written.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from audit.actors import system
from audit.models import AuditEntry, AuditHead
from audit.verification import verify_org
from plans.errors import PlansError
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes import engine
from routes.document import content_with, default_of, document_of, live_routes, live_services
from routes.engine.canonical import canonical_bytes
from routes.errors import RoutesError
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import create_route, delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import START, a_plan, a_route, an_org, projected, traffic, usual_prices
from tests.torn.history import DEFAULT, Call, Entry, Facts, Plan, State, Version

#: An organisation has as many routes, a few more or less.
ROUTES = 5
QUESTION = {"window_start": START, "window_end": timezone.now(), "iterations": 100}


def places(number: int, slug: str) -> list[Organization]:
    """Organisations to write in."""
    made = [an_org(f"{slug}-{n}") for n in range(number)]
    for org in made:
        for n in range(ROUTES):
            a_route(org, f"route {n}", then={"target_model": f"{org.slug} {n}"})
        org.refresh_from_db()  # from this version on it is written
    return made


@cache
def a_result() -> str:
    """What a worker found, for all plans of the writers: to replay each would take longer than all they do."""
    org = an_org("replayed")
    usual_prices()
    traffic(org, 10)
    return projected(a_plan(org, iterations=100)).result


class Writer:
    """One process. `name` is its alone."""

    def __init__(self, name: str, orgs: list[Organization], result: str, notes: Path) -> None:
        self.name, self.orgs, self.result = name, orgs, result
        self._notes, self._number, self._chance = notes, count(1), random.Random(name)
        self.made = 0

    def write(self, enough: int | None = None) -> None:
        """Until so many versions are made, or the process that forked this one is gone."""
        parent = os.getppid()
        self._file = os.open(self._notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        acts = [self.edit, self.edit, self.create, self.delete, self.default, self.apply, self.apply]
        acts += [self.revert, self.revert, self.read, self.read]
        while os.getppid() == parent and (enough is None or self.made < enough):
            act = self._chance.choice(acts)
            try:
                act(self._chance.choice(self.orgs))
            except (OperationalError, InterfaceError):
                # The server is stopped, or another had the lock for too long: nobody knows what came of it.
                connection.close()
                time.sleep(0.02)

    # --- What it does -------------------------------------------------------------------------------------------------

    def edit(self, org: Organization) -> None:
        if (row := self._any(org)) is not None:
            value = self._value()
            changed = engine.Route.from_dict({**row.as_document(), "then": {"target_model": value}})
            args = {"key": str(row.uid), "value": value, "seen": row.revision}
            self._ask(
                org, "edit", args, lambda by: update_route(org, row.uid, changed, by=by, expected_revision=row.revision)
            )

    def create(self, org: Organization) -> None:
        if Route.objects.of(org).count() <= ROUTES:
            value = self._value()
            new = engine.NewRoute.from_dict({"name": value, "then": {"target_model": value}})
            self._ask(org, "create", {"value": value}, lambda by: create_route(org, new, by=by))

    def delete(self, org: Organization) -> None:
        if Route.objects.of(org).count() >= ROUTES and (row := self._any(org)) is not None:
            args = {"key": str(row.uid), "seen": row.revision}
            self._ask(org, "delete", args, lambda by: delete_route(org, row.uid, by=by, expected_revision=row.revision))

    def default(self, org: Organization) -> None:
        value = self._value()
        action = engine.Action.from_dict({"target_model": value})
        self._ask(org, "default", {"value": value}, lambda by: set_default(org, action, by=by))

    def apply(self, org: Organization) -> None:
        """Mostly a plan just made, which changes two routes; sometimes one that somebody else made and did not apply."""
        waiting = PlanRun.objects.of(org).filter(state="projected").order_by("-pk").first()
        if waiting is None or self._chance.random() < 0.8:
            rows = list(Route.objects.of(org).in_order())
            chosen = self._chance.sample(rows, min(2, len(rows)))
            routes = [{**row.as_document(), "then": {"target_model": self._value(n)}} for n, row in enumerate(chosen)]
            try:
                waiting = plans.propose(org, name=self._value(), routes=routes, by=system(self.name), **QUESTION)
            except (PlansError, RoutesError):
                return  # one of its routes was deleted, and its name taken
            PlanRun.objects.filter(pk=waiting.pk).update(state="projected", result=self.result)
        plan = plans.get_plan(org, waiting.pk)
        self._ask(org, "apply", {"plan": str(plan.pk)}, lambda by: plans.apply(plan, by=by))

    def revert(self, org: Organization) -> None:
        """What was applied last, most of which nobody touched since."""
        plan = PlanRun.objects.of(org).filter(state="applied").order_by("-applied_version").first()
        if plan is not None:
            self._ask(org, "revert", {"plan": str(plan.pk)}, lambda by: plans.revert(plan, by=by))

    def read(self, org: Organization) -> None:
        call = self._begin(org, "read", {})
        document = document_of(org)
        self._end(call, version=document.version, digest=document.digest, state=state_of(document.content))

    # --- Noting it ----------------------------------------------------------------------------------------------------

    def _any(self, org: Organization) -> Route | None:
        rows = list(Route.objects.of(org))
        return self._chance.choice(rows) if rows else None

    def _value(self, n: int = 0) -> str:
        return f"{self.name} {time.monotonic_ns()} {n}"

    def _ask(self, org: Organization, kind: str, args: dict[str, Any], act: Callable[[Any], Any]) -> None:
        call = self._begin(org, kind, args)
        try:
            answer = act(system(call.name))
        except (PlansError, RoutesError) as refused:
            self._end(call, refused=refused.code)
            return
        change = next(one for one in (answer if isinstance(answer, tuple) else (answer,)) if hasattr(one, "changed"))
        assert change.changed, f"{kind} changes something"
        self.made += 1
        self._end(call, version=change.version, digest=change.digest)

    def _begin(self, org: Organization, kind: str, args: dict[str, Any]) -> Call:
        call = Call(self.name, next(self._number), str(org.pk), kind, time.monotonic_ns(), args)
        self._note(asdict(call))
        return call

    def _end(self, call: Call, **found: Any) -> None:
        self._note({"number": call.number, "returned": time.monotonic_ns(), **found})

    def _note(self, told: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(told).encode() + b"\n")


# --- What they noted, and what there is -------------------------------------------------------------------------------


def calls_in(notes: Iterable[Path]) -> list[Call]:
    found = []
    for path in notes:
        calls: dict[int, Call] = {}
        # Who was killed while it noted an answer left a part of a line, the last: what came of that call is not known.
        for line in path.read_text().split("\n")[:-1]:
            told = json.loads(line)
            if told["number"] not in calls:
                calls[told["number"]] = Call(**told)
                continue
            for name, value in told.items():
                setattr(calls[told["number"]], name, value)
        found += calls.values()
    return found


def state_of(content: dict[str, Any]) -> State:
    state = {route["id"]: route["then"]["target_model"] for route in content["routes"]}
    return state | ({DEFAULT: content["default"]["target_model"]} if content["default"] else {})


def facts_of(org: Organization) -> Facts:
    """Since the version at which the organisation was given to its writers."""
    now = Organization.objects.get(pk=org.pk)
    rows = RouteSetVersion.objects.filter(org=org, version__gte=org.version).order_by("version")
    entries = AuditEntry.objects.filter(org_id=org.pk, version_after__gt=org.version).order_by("seq")
    return Facts(
        versions=[
            Version(row.version, row.digest, row.author_id, state_of(row.unpacked() or {}))
            for row in rows.iterator(chunk_size=500)
        ],
        plans={
            str(plan.pk): Plan(
                plan.state,
                plan.base_version,
                {route["id"]: route["then"]["target_model"] for route in plan.proposed_routes},
                plan.applied_version,
                plan.reverted_version,
            )
            for plan in PlanRun.objects.of(org).defer("result").iterator(chunk_size=500)
        },
        entries=[
            Entry(entry.action, entry.target_id, entry.actor_id, entry.version_before or 0, entry.version_after or 0)
            for entry in entries.defer("entry", "payload").iterator(chunk_size=500)
        ],
        version=now.version,
        rows=state_of(content_with(live_routes(now), default=default_of(now), services=live_services(now))),
    )


@contextmanager
def _snapshot() -> Iterator[None]:
    """Everything that is read here is of one moment, and nobody waits for it."""
    with ExitStack() as stack:
        if connection.vendor == "sqlite":
            stack.enter_context(patch.object(connection, "transaction_mode", "DEFERRED"))
        stack.enter_context(transaction.atomic())
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def torn(org: Organization) -> list[str]:
    """What does not belong together in the database at this moment, whoever writes meanwhile."""
    with _snapshot():
        now = Organization.objects.get(pk=org.pk)
        newest = RouteSetVersion.objects.filter(org=org).order_by("-version").first()
        assert newest is not None
        rows = content_with(live_routes(now), default=default_of(now), services=live_services(now))
        log = AuditEntry.objects.filter(org_id=org.pk)
        applied = PlanRun.objects.of(org).filter(state__in=("applied", "reverted")).count()
        checks = {
            "the counter is that of the newest version": now.version == newest.version,
            "the versions have no gap": RouteSetVersion.objects.filter(org=org).count() == now.version,
            "the rows are what is published": canonical_bytes(rows) == canonical_bytes(newest.unpacked()),
            "each applied plan has its entry": applied == log.filter(action="plan.applied").count(),
            "the head counts the entries": AuditHead.objects.get(org_id=org.pk).size == log.count(),
        }
    return [f"{org.slug}: not true that {what}" for what, is_true in checks.items() if not is_true]


def unverified(orgs: Iterable[Organization]) -> list[str]:
    return [str(found) for org in orgs if not (found := verify_org(org.pk)).ok]
