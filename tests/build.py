"""Arranges a world through the services, as the doors do."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any

from django.contrib.auth import get_user_model
from django.test import override_settings
from django.utils import timezone

from audit.actors import system
from plans.logs.models import RequestLog
from plans.runs import services as plans
from plans.runs.models import PlanRun
from plans.runs.worker import run_next
from routes import engine
from routes.catalog.models import ModelPrice
from routes.engine import Target
from routes.examples.models import ExampleRequest
from routes.examples.services import create_example
from routes.orgs.members import add_member
from routes.orgs.models import Organization, new_id
from routes.orgs.services import create_organization
from routes.paths.hosts import set_hosts
from routes.paths.models import Service, ServiceHost
from routes.paths.services import create_service
from routes.placements.models import Placement
from routes.placements.services import begin_move, cut_over, set_placement
from routes.publish import publish
from routes.rules.models import Route
from routes.rules.services import create_route

BY = system("test")
START = datetime(2026, 5, 1, tzinfo=UTC)


def an_org(slug: str = "acme", **fields: Any) -> Organization:
    return create_organization(slug=slug, name=slug.title(), by=BY, **fields)


def a_person(name: str, org: Organization | None = None, role: str = "viewer", **fields: Any) -> Any:
    user = get_user_model().objects.create_user(name, password=None, is_staff=True, **fields)
    if org is not None:
        add_member(org, user, role=role, by=BY)
    return user


def a_route(org: Organization, name: str = "short", **keys: Any) -> Route:
    raw = {
        "name": name,
        "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
        "then": {"target_model": "gpt-4o-mini"},
    }
    row, _ = create_route(org, engine.NewRoute.from_dict({**raw, **keys}), by=BY)
    return row


#: More specific than the other, and after it in the list.
PATHS = [
    {"pattern": "/users/*", "target_url": "https://users.example/v1"},
    {"pattern": "/users/:id", "target_url": "https://people.example", "methods": ["GET"]},
]


def a_service(org: Organization, slug: str = "users", *, hosts: Sequence[str] = (), **keys: Any) -> Service:
    raw = {"slug": slug, "paths": PATHS, **keys}
    row, _ = create_service(org, engine.Service.from_dict(raw), by=BY)
    if hosts:
        set_hosts(org, slug, hosts, by=BY)
    return row


def an_example(org: Organization, name: str = "short", **keys: Any) -> ExampleRequest:
    """That a short request goes where `a_route` sends it."""
    request = {"context": {"model": "gpt-4o", "input_tokens": 800}}
    fields = {"request": request, "expected": {"target_model": "gpt-4o-mini"}, **keys}
    return create_example(org, name=name, by=BY, **fields)[0]


def many_routes(org: Organization, count: int) -> None:
    """As many routes more, each with some conditions, published as one version."""
    with publish(org.pk, by=BY, action="route.created", target=("organization", org.pk)) as change:
        rows, first = [], Route.objects.of(org).count()
        for number in range(first, first + count):
            new = engine.NewRoute.from_dict(
                {
                    "name": f"route {number}",
                    "priority": 1000 + number % 7,
                    "when": {"model_in": ["gpt-4o", "gpt-4.1"], "input_tokens_lt": 1000 + number, "has_tools": False,
                             "metadata": {"team": [f"team-{number}", "everybody"]}},
                    "then": {"target_model": "gpt-4o-mini", "fallbacks": ["claude-haiku"], "max_cost_usd": 0.05},
                }
            )  # fmt: skip
            raw = new.with_id(new_id()).to_dict()
            rows.append(
                Route(
                    org=org, uid=raw["id"], name=raw["name"], priority=raw["priority"], position=number,
                    conditions=raw["when"], target=raw["then"], revision=change.version,
                )
            )  # fmt: skip
        Route.objects.bulk_create(rows)


def prices(**per_model: tuple[str, str]) -> None:
    """`prices(**{"gpt-4o": ("2.5", "10")})`: provider openai, USD per million tokens, in force since ever."""
    for model, (input_usd, output_usd) in per_model.items():
        ModelPrice.objects.create(
            provider="openai",
            model=model,
            input_usd_per_million=Decimal(input_usd),
            output_usd_per_million=Decimal(output_usd),
        )


def usual_prices() -> None:
    prices(**{"gpt-4o": ("2.5", "10"), "gpt-4o-mini": ("0.15", "0.6")})


def traffic(org: Organization, rows: int = 40, *, clusters: int = 10, **columns: Any) -> None:
    """Requests for gpt-4o, one a minute; the n-th has 100 n input tokens and 50 output tokens."""
    made = []
    for n in range(1, rows + 1):
        cost = (Decimal(100 * n) * Decimal("2.5") + Decimal(50) * 10) / 1_000_000
        fields = {
            "request_id": f"r{n}",
            "ts": START + timedelta(minutes=n),
            "provider": "openai",
            "model": "gpt-4o",
            "requested_model": "gpt-4o",
            "input_tokens": 100 * n,
            "output_tokens": 50,
            "cost_usd": cost,
            "baseline_cost_usd": cost,
            "cluster_key": f"user-{n % clusters}",
            **columns,
        }
        made.append(RequestLog(org=org, **fields))
    RequestLog.objects.bulk_create(made)


#: Two places of a partition.
EU = Target("eu", "orders", "https://eu.example")
US = Target("us", "orders", "https://us.example/base")


def a_placement(org: Organization, partition: str = "tenant-7", phase: str = "settled") -> Placement:
    """The partition at `EU`, on its way to `US` unless it is settled; in cutover for long enough to be completed."""
    set_placement(org, partition, EU, by=BY)
    if phase != "settled":
        begin_move(org, partition, US, by=BY)
    if phase == "cutover":
        row, _ = cut_over(org, partition, by=BY)
        Placement.objects.filter(pk=row.pk).update(cut_over_at=timezone.now() - timedelta(minutes=1))
    return Placement.objects.of(org).get(partition=partition)


def a_plan(org: Organization, *, by: Any = BY, routes: Any = None, **keys: Any) -> PlanRun:
    """A draft over the window of `traffic`: short requests go to the small model."""
    if routes is None:
        routes = [
            {
                "name": "short to mini",
                "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
                "then": {"target_model": "gpt-4o-mini"},
            }
        ]
    keys = {"name": "save", "window_start": START, "window_end": START + timedelta(days=1), "iterations": 1000, **keys}
    return plans.propose(org, routes=routes, by=by, **keys)


def projected(plan: PlanRun) -> PlanRun:
    """The plan after the worker ran it."""
    plans.project(plan, by=BY)
    ran = run_next()
    assert ran is not None
    assert ran.pk == plan.pk
    plan.refresh_from_db()
    assert plan.state == "projected", plan.failure
    return plan


def sign_logs() -> None:
    """Signs all logs as they are now, with a new key and no memory."""
    from audit.models import Checkpoint
    from audit.signing.keys import known_keys, retire_key
    from audit.signing.signer import Signer

    with TemporaryDirectory() as folder, override_settings(AUDIT_SIGNER_DIR=folder):
        for key in known_keys():
            retire_key(key.key_id.hex(), by=BY, reason="a new folder")
        with Signer() as signer:
            signer.round()
            signer.round()  # the entry about the key
    assert Checkpoint.objects.exists()


def state_of(org: Organization) -> dict[str, Any]:
    """Everything that belongs to an organisation's routing, plans and log: what must be untouched by a failed write."""
    from audit.models import AuditEntry, AuditHead
    from routes.versions.models import RouteSetVersion

    return {
        "org": list(Organization.objects.filter(pk=org.pk).values()),
        "routes": list(Route.objects.of(org).order_by("pk").values()),
        "services": list(Service.objects.of(org).order_by("pk").values()),
        "hosts": list(ServiceHost.objects.of(org).order_by("pk").values()),
        "versions": [
            {**row, "content": bytes(row["content"])}
            for row in RouteSetVersion.objects.filter(org=org).order_by("pk").values()
        ],
        "plans": list(PlanRun.objects.of(org).order_by("pk").values()),
        "audit": list(AuditEntry.objects.filter(org_id=org.pk).order_by("seq").values_list("seq", "action")),
        "head": list(AuditHead.objects.filter(org_id=org.pk).values_list("size", flat=True)),
    }
