"""An installation with something of everything, for tests that look at every page."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.models import AuditEntry, AuditHead
from audit.services import record
from plans.logs.models import RequestLog
from plans.runs import services as plans
from plans.runs.models import Phase, PlanRun, State
from plans.runs.states import move
from plans.runs.worker import run_next
from routes.catalog.formats import read_prices
from routes.catalog.services import import_prices
from routes.engine import Action, Target
from routes.engine.egress import PrivateUpstream
from routes.examples.models import ExampleRequest
from routes.fleet.models import GatewayInstance
from routes.fleet.services import report
from routes.orgs.keys import create_key
from routes.orgs.members import add_member
from routes.orgs.models import Organization, Role
from routes.orgs.policy import freeze
from routes.orgs.services import create_organization, update_organization
from routes.orgs.upstreams import set_private_upstreams
from routes.paths.models import Service
from routes.placements.services import set_placement
from routes.publish import publish
from routes.redaction.services import redact_entry
from routes.rules.models import Route
from routes.rules.services import set_default
from tests.build import (
    BY,
    START,
    a_person,
    a_placement,
    a_plan,
    a_route,
    a_service,
    an_example,
    projected,
    sign_logs,
    traffic,
    usual_prices,
)

TO_MINI = {"target_model": "gpt-4o-mini"}
#: Who looks at pages: somebody of each role, and a superuser without one.
VISITORS = (*Role.values, "superuser")


def _itself(text: str, most: int = 200) -> str:
    return text


class World:
    """`org` has something of everything, `empty` has nothing, `frozen` is frozen; `people` by role belong to all three.

    `text` is asked for each text that somebody or some program may write, with what stands there otherwise and how long
    it may be, so that tests put other texts there.
    """

    def __init__(self, text: Callable[..., str] = _itself) -> None:
        self.text = text
        self.org = create_organization(
            slug="acme", name=text("Acme", 100), environment=text("production", 50), approval="plans", by=BY
        )
        self.people: dict[str, Any] = {
            role: a_person(f"{role}-{text('x', 100)}", self.org, role) for role in Role.values
        }
        self.people["superuser"] = a_person("root", is_superuser=True)
        for person in self.people.values():
            person.password = "usable, and nobody's"
            person.save()
        self._prices()
        self._routes()
        self._services()
        self._placements()
        self._traffic()
        self._plans()
        self._access()
        self._log()
        self.empty = self._other("empty", "Nothing here")
        self.frozen = self._other("frozen", "Frozen")
        a_route(self.frozen)
        a_plan(self.frozen)
        freeze(self.frozen, reason=text("An auditor looks at it.", 1000), by=BY)
        sign_logs()
        #: By the beginning of a path, below the organisation or else from its slash on, and by the name in it: what that
        #: may be, by state. The first is what most pages are about.
        self.named: dict[tuple[str, str], dict[str, Any]] = {
            ("routes/", "id"): {"": self.short.uid, "rich": self.rich.uid},
            ("logs/matching/", "id"): {"": self.short.uid},
            ("services/", "id"): {"": "users", "rich": "rich", "bare": "bare"},
            ("placements/", "partition"): {"": "tenant-5", "draining": "tenant-7", "cutover": "tenant-8"},
            ("examples/", "id"): {"": self.example.uid, "broken": self.broken.uid},
            ("history/", "id"): {"": 1, "live": Organization.objects.get(pk=self.org.pk).version},
            ("plans/", "id"): {state: plan.pk for state, plan in self.plans.items()},
            ("plans/", "route"): {"": self.short.uid, "new": self.of_draft},
            ("audit/", "seq"): self.entries,
            ("access/members/", "id"): {"": self.org.memberships.first().pk},
            ("access/keys/", "id"): {"": self.key.pk},
            ("/admin/audit/", "seq"): self.entries_of_all,
            ("/admin/gateway-keys/", "id"): {"": self.key_of_all.pk},
            ("/admin/auth/user/", "id"): {"": self.people["editor"].pk},
            ("/admin/auth/user/", "object_id"): {"": self.people["editor"].pk, "oneself": self.people["superuser"].pk},
            ("/admin/routes/organization/", "object_id"): {"": self.org.pk},
            ("/admin/", "app_label"): {"": "auth"},
        }
        self.sent = self._sent()

    def _sent(self) -> dict[str, dict[str, dict[str, str]]]:
        """By page, by state, what is sent to see what comes of it: nothing that changes what others look at."""
        text = self.text
        tried = {"model": "gpt-4o", "input_tokens": "5", "tag": text("batch")}
        routes = json.dumps({"routes": [{"name": text("imported"), "then": {"target_model": text("m")}}]})
        chosen = {"ids": f"{self.short.uid},{self.rich.uid}"}
        return {
            "try": {"tried": tried},
            "example_new": {"kept": {**tried, "keep": "1"}},
            "audit_verify": {"verified": {}},
            "installation_audit_verify": {"verified": {}},
            "route_bulk": {act: {**chosen, "do": act} for act in ("delete",)},
            "routes_import": {"compared": {"text": routes, "mode": "merge", "format": "json"}},
            "key_create": {"made": {"key-name": text("new one", 100), "key-kind": "gateway"}},
            "member_add": {"unknown": {"member-username": text("nobody", 100), "member-role": "viewer"}},
            "plan_new_json": {"odd": {"name": text("odd"), "note": text("why"), "routes": text("[")}},
            "route_new": {"odd": {"name": text("odd"), "kind": "send", "target_model": text("m"), "json": text("{")}},
            "service_new": {
                "odd": {
                    "slug": text("Odd", 63),
                    "row": "0",
                    "path-0-pattern": text("x"),
                    "path-0-target_url": text("y"),
                }
            },
            "service_hosts": {"odd": {"lines": text("no host"), "seen": ""}},
            "private_upstreams": {"odd": {"lines": text("no network"), "seen": ""}},
            "plan_reject": {"blank": {"reject-reason": " "}},
        }

    def _other(self, slug: str, name: str) -> Organization:
        org = create_organization(slug=slug, name=self.text(name, 100), by=BY)
        for role in Role.values:
            add_member(org, self.people[role], role=role, by=BY)
        return org

    def _prices(self) -> None:
        usual_prices()
        later = (timezone.now() + timedelta(days=30)).date()
        rows = [
            {"provider": "openai", "model": "gpt-4.1", "input_usd_per_million": 2, "output_usd_per_million": 8},
            {
                "provider": self.text("vendor", 100),
                "model": self.text("its model"),
                "input_usd_per_million": 1,
                "output_usd_per_million": 4,
                "cached_input_usd_per_million": 0.1,
                "max_input_tokens": 100_000,
                "supports_images": True,
                "retires_on": later.isoformat(),
            },
        ]
        for org, source in ((None, "the list"), (self.org, "the contract")):
            import_prices(read_prices(json.dumps(rows).encode()), org=org, source=self.text(source), by=BY)

    def _routes(self) -> None:
        org, text = self.org, self.text
        self.short = a_route(org, text("short ones"))
        self.rich = a_route(org, **self._rich())
        a_route(org, text("hidden"), priority=1, when={"model_in": ["gpt-4o"], "input_tokens_lt": 10})
        a_route(org, text("off"), when={"has_images": True}, enabled=False, then={"target_model": text("gpt-4o")})
        refused = {"refuse": {"status": 403, "code": "not_allowed", "message": text("Ask your admin.")}}
        a_route(org, text("refused"), when={"tag_equals": text("secret")}, then=refused)
        set_default(org, Action(text("gpt-4.1"), fallbacks=(text("gpt-4o"),)), by=BY)
        self.example = an_example(org, text("short goes to mini"))
        request = {"context": {"model": text("gpt-4o"), "tag": text("a tag"), "metadata": {text("team"): text("ads")}}}
        self.broken: ExampleRequest = an_example(
            org, text("fails"), request=request, expected={"route": text("no such"), "target_model": text("other")}
        )
        said = {"by": self.people["editor"], "note": text("Why not", 500), "accept_broken": text("It is old.", 500)}
        with publish(org.pk, action="route.paused", target=("route", self.short.uid), **said) as change:
            Route.objects.filter(pk=self.short.pk).update(paused=True, revision=change.version)
        for number, rejected in enumerate(
            [None, {"version": 2, "code": "unsupported", "detail": text("Too new.", 400)}]
        ):
            report(
                org, f"edge-{number}", running=number + 1, rejected=rejected, schema_max=1, engine=text("0.1", 50),
                extras=[text("regex", 50)],
            )  # fmt: skip
        report(org, "silent", running=1, rejected=None, schema_max=1, engine="0.1", extras=[])
        GatewayInstance.objects.filter(instance="silent").update(reported_at=timezone.now() - timedelta(hours=1))

    def _placements(self) -> None:
        set_placement(self.org, "*", Target(self.text("eu"), self.text("orders"), "https://eu.example"), by=BY)
        for partition, phase in (("tenant-5", "settled"), ("tenant-7", "draining"), ("tenant-8", "cutover")):
            a_placement(self.org, partition, phase)

    def _services(self) -> None:
        org, text = self.org, self.text
        header = {"x-customer": [text("acme"), text("of a header")]}
        paths = [
            {"pattern": "/beta/**", "target_url": "https://beta.example/v2?key=value", "headers": header},
            {"pattern": "/off", "target_url": "http://203.0.114.1:8080/", "methods": ["POST"], "enabled": False},
            {"pattern": "/beta/**", "target_url": "https://all.example"},
        ]
        a_service(org, hosts=["api.acme.example", "www.acme.example"])
        a_service(org, "rich", paths=paths, timeouts={"connect_seconds": 0.5, "idle_seconds": 90})
        a_service(org, "bare", enabled=False, paths=[])
        a_service(org, "gone", hosts=["left.acme.example"])
        Service.objects.of(org).get(slug="gone").delete()
        set_private_upstreams(org, [PrivateUpstream("10.1.0.0/16", 8080)], by=BY)
        with publish(org.pk, by=BY, action="service.updated", target=("service", "gone")):
            pass

    def _rich(self) -> dict[str, Any]:
        """A route with something of everything."""
        text = self.text
        return {
            "name": text("nights and holidays"),
            "priority": 40,
            "paused": True,
            "active_from": "2026-05-01T00:00:00.123456Z",
            "active_until": "2030-01-01T00:00:00.500000Z",
            "when": {
                "model_matches": ["gpt-*", "o?-*", text("glob")],
                "input_tokens_gt": 0,
                "tag_equals": text(" batch "),
                "is_stream": False,
                "prompt_matches_any_of": [r"(?i)\bsalary\b", " x "],
                "prompt_contains_any_of": [text("keyword")],
                "estimated_cost_gt": 0.000000001,
                "estimated_cost_lt": 999999.999999999,
                "metadata": {text("team"): [text("search"), text(' "x" ')], "a = b": ["c"]},
                "headers": {"x-customer": [text("acme")]},
                "numbers": {"budget_share": {"gt": 0.2, "lt": 0.8}, text("5"): {"gt": -1.5}},
                "time_window": {"days": ["mon", "tue", "fri"], "from": "22:00", "to": "06:00", "tz": "Europe/Berlin"},
                "any_of": [
                    {"tag_equals": text("a"), "has_images": True},
                    {"any_of": [{"has_audio": True}, {"not": {"has_documents": True}}]},
                    {},
                ],
                "not": {"model_in": [text("gpt-4o"), " gpt-4o "]},
            },
            "then": {
                "split": [
                    {"target_model": text("gpt-4o"), "weight": 90},
                    {"target_model": "gpt-4o-mini", "weight": 10},
                ],
                "fallbacks": [text("gpt-4.1")],
                "max_cost_usd": 0.000000001,
                "traffic_pct": 0,
                "shadow_model": text("claude-haiku"),
            },
            "meta": {
                "description": text("Cheaper at night.", 2000),
                "owner": text("platform"),
                "labels": {text("stage"): text("trial")},
                "link": "https://issues.example/7",
                "x-budget": {"monthly": 2.5e-7, "by": [text("a"), None]},
            },
        }

    def _traffic(self) -> None:
        traffic(self.org)
        rows = RequestLog.objects.of(self.org)
        rows.filter(input_tokens__lte=2000).update(embedding=b"\0\0\x80?", finish_reason="stop", latency_ms=700)
        text = self.text
        rows.filter(request_id="r40").update(
            request_id=text("r40"), model=text("gpt-4o"), requested_model=text("gpt-4o"), tag=text("batch"),
            cluster_key=text("user"), variant=text("b"), reason=text("matched", 30), finish_reason=text("stop", 50),
            metadata={text("team"): text("ads")}, body={text("messages"): [text("Hello")]},
            response_body={text("choices"): [text("Yes")]}, synthetic=[text("latency_ms")],
        )  # fmt: skip
        rows.filter(request_id="r39").update(status=500, cost_usd=Decimal("0.5"), kind="fallback")

    # --- Plans ----------------------------------------------------------------------------------------------------

    def _plan(self, name: str, **keys: Any) -> PlanRun:
        return a_plan(
            self.org, name=self.text(name), note=self.text("Cheaper.", 1000), by=self.people["editor"], **keys
        )

    def _projected(self, name: str, **keys: Any) -> PlanRun:
        return projected(self._plan(name, **keys))

    def _approved(self, name: str, **keys: Any) -> PlanRun:
        plan = self._projected(name, **keys)
        plans.approve(plan, by=self.people["approver"])
        return plan

    def _plans(self) -> None:
        """One in each state, and what else their pages tell of."""
        text, editor, approver = self.text, self.people["editor"], self.people["approver"]

        def routes(name: str) -> list[dict[str, Any]]:
            when = {"model_in": [text("gpt-4.1")], "tag_equals": text(name)}
            return [{"name": text(name), "when": when, "then": {"target_model": text("gpt-4o-mini")}}]

        left = [self._projected("superseded", routes=routes("left behind")) for _ in range(2)]
        applied, reverted = self._approved("applied", routes=routes("by plan")), None
        plans.apply(applied, by=approver)
        reverted = self._approved("reverted", routes=routes("not for long"))
        plans.apply(reverted, by=approver)
        plans.revert(reverted, by=approver)
        superseded, stale = left
        plans.rebase(superseded, by=editor)
        run_next()  # the new one
        rejected, cancelled = self._projected("rejected"), self._plan("cancelled")
        plans.reject(rejected, reason=text("Too dear.", 1000), by=approver)
        plans.cancel(cancelled, by=editor)
        approved, scheduled = self._approved("approved"), self._approved("scheduled")
        plans.schedule(scheduled, timezone.now() + timedelta(days=1), by=approver)
        uncertain = [
            {"name": text("team a"), "priority": 200, "when": {"metadata": {"team": ["a"]}}, "then": TO_MINI},
            {"name": text("long"), "when": {"input_tokens_gt": 1000}, "then": {**TO_MINI, "disable_cache": True}},
        ]
        unsure = self._projected("unsure", routes=uncertain, l1_ttl_seconds=60, l2_ttl_seconds=120)
        waits, runs, failed = self._plan("waits"), self._plan("runs"), self._plan("failed")
        for plan in (runs, failed):
            plans.project(plan, by=editor)
            progress = {"phase": Phase.PROJECTION, "rows_total": 40, "rows_done": 15, "rows_per_second": 5}
            now = timezone.now()
            move(plan, State.RUNNING, started_at=now, lease_until=now + timedelta(hours=1), **progress)
        move(failed, State.FAILED, failure=text("It failed.", 1000), failed_at=timezone.now(), phase="")
        with transaction.atomic():
            record(self.org.pk, by=BY, action="plan.failed", target=("plan", str(failed.pk)), payload={})
        draft = self._plan("draft", routes=routes("planned"))
        self.of_draft = draft.proposed_routes[0]["id"]
        nothing = a_plan(self.org, name=text("no requests"), window_start=START - timedelta(days=9), window_end=START)
        self.plans = {
            "projected": self._projected("projected"), "draft": draft, "running": runs, "queued": waits,
            "approved": approved, "scheduled": scheduled, "applied": applied, "reverted": reverted, "rejected": rejected,
            "superseded": superseded, "stale": stale, "failed": failed, "cancelled": cancelled, "unsure": unsure,
            "no-requests": projected(nothing),
        }  # fmt: skip
        plans.project(waits, by=editor)  # when no other is run any more

    # --- People, keys, the log -------------------------------------------------------------------------------------

    def _access(self) -> None:
        admin = self.people["admin"]
        self.key = create_key(self.org, name=self.text("dashboard", 100), role="viewer", by=admin).key
        self.key_of_all = create_key(None, name=self.text("edge", 100), kind="gateway", by=self.people["superuser"]).key
        other = a_person(self.text("bea", 100).replace(" ", ""), self.org, "admin")
        update_organization(self.org, approval="none", by=other)

    def _log(self) -> None:
        text = self.text
        payload = {"name": text("what it was", 500), "list": [text("one"), {text("key"): text("value")}]}
        with transaction.atomic():
            for org in (self.org.pk, self.org.pk, None, None):
                record(org, by=BY, action="test.acted", target=("test", text("target", 100)), payload=payload)
        self.entries, self.entries_of_all = _newest(self.org.pk), _newest(None)
        reason = text("A person's name.", 1000)
        redact_entry(self.org, self.entries["blanked"], reason=reason, by=self.people["admin"])
        redact_entry(None, self.entries_of_all["blanked"], reason=reason, by=self.people["superuser"])
        #: The names of the logs: of the organisation, and of the installation.
        heads = AuditHead.objects.filter(is_current=True)
        self.logs = {is_of_org: heads.get(org_id=self.org.pk if is_of_org else None).log for is_of_org in (True, False)}


def _newest(org_id: Any) -> dict[str, int]:
    """An entry, and one to blank."""
    seqs = AuditEntry.objects.of(org_id).order_by("-seq").values_list("seq", flat=True)[:2]
    return dict(zip(("", "blanked"), seqs, strict=True))
