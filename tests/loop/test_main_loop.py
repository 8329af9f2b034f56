"""The product's main loop on real traffic, with a gateway in another process that never restarts."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit.database import drop_triggers
from audit.models import AuditEntry
from plans.logs.models import RequestLog
from plans.runs import services as plans
from plans.runs.errors import OwnPlan
from plans.runs.models import PlanRun
from plans.runs.worker import run_next
from routes.catalog.services import install_shipped_prices
from routes.orgs.models import Organization
from tests.build import BY, a_person, an_org
from tests.paths import ROOT, shared

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 10.0  # seconds; how long it really takes is `make bench`'s subject


def database_url() -> str:
    """What a gateway is given: a file name, or a libpq URI."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return str(settings["NAME"])
    host = settings["OPTIONS"].get("host") or settings["HOST"]
    return f"postgresql://{settings['USER']}:{settings['PASSWORD']}@/{settings['NAME']}?host={host}"


def gateway_program() -> str:
    """The program of the README, as it stands there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n# gateway\.py\n(.*?)```", text, re.DOTALL)
    assert found, "the README shows gateway.py"
    return found[1]


class Gateway:
    """A second process that decides the same request again and again and says what it decided."""

    def __init__(self, org: Organization) -> None:
        command = [sys.executable, "-c", gateway_program(), database_url(), str(org.pk)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def wait_for(self, expected: str) -> None:
        assert self.process.stdout is not None
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.lines.append(self.process.stdout.readline().strip())
            if self.lines[-1] == expected:
                return
            assert self.process.poll() is None, "the gateway died"
        raise AssertionError(f"the gateway did not say {expected!r} within {PATIENCE} s, but {self.lines[-1]!r}")


@pytest.fixture
def org() -> Organization:
    install_shipped_prices(by=BY)
    return an_org(approval="plans")


@pytest.fixture
def gateway(org: Organization) -> Iterator[Gateway]:
    running = Gateway(org)
    yield running
    running.process.kill()
    running.process.communicate()


def verify(org: Organization) -> str:
    out = StringIO()
    call_command("verify_audit", "--org", str(org.pk), stdout=out)
    return out.getvalue()


def test_import_plan_approve_apply_decide_revert_verify(org: Organization, gateway: Gateway) -> None:
    trace = shared("data/azure-llm-2023-conv.csv")
    author, approver = a_person("edda", org, "editor"), a_person("arno", org, "approver")
    gateway.wait_for("0 gpt-4o")

    out = StringIO()
    call_command(
        "import_logs", str(trace), "--org", "acme", "--format", "azure-llm-trace", "--model", "gpt-4o",
        stdout=out, stderr=StringIO(),
    )  # fmt: skip
    assert "19,366 rows imported" in out.getvalue()
    rows = RequestLog.objects.of(org)
    assert rows.count() == 19_366
    first = rows.in_order().first()
    assert first is not None
    assert (first.ts, first.input_tokens, first.output_tokens) == (
        datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC), 374, 44,
    )  # fmt: skip
    assert first.cost_usd is not None
    assert first.cost_usd * 1_000_000 == 374 * 25 / 10 + 44 * 10
    assert "cost_usd" in first.synthetic
    assert "ts" not in first.synthetic

    plan = plans.propose(
        org,
        name="short requests to a small model",
        routes=[
            {
                "name": "short",
                "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
                "then": {"target_model": "gpt-4o-mini"},
            }
        ],
        window_start=datetime(2023, 11, 16, tzinfo=UTC),
        window_end=datetime(2023, 11, 17, tzinfo=UTC),
        by=author,
    )
    plans.project(plan, by=author)
    assert run_next() is not None
    plan.refresh_from_db()
    assert plan.state == "projected", plan.failure
    assert plan.outcome is not None
    check_against_a_plain_sum(plan.outcome, rows)

    with pytest.raises(OwnPlan):
        plans.approve(plan, by=author)
    plans.approve(plan, by=approver)
    plans.apply(plan, by=approver)
    gateway.wait_for("1 gpt-4o-mini")

    plans.revert(plan, by=approver)
    gateway.wait_for("2 gpt-4o")
    versions = [int(line.split()[0]) for line in gateway.lines]
    assert versions == sorted(versions), "no reader sees a version go back"
    assert set(gateway.lines) == {"0 gpt-4o", "1 gpt-4o-mini", "2 gpt-4o"}

    assert "verified" in verify(org)
    change_one_byte(org, action="plan.applied")
    with pytest.raises(CommandError) as caught:
        verify(org)
    seq = AuditEntry.objects.get(org_id=org.pk, action="plan.applied").seq
    assert caught.value.returncode == 1
    assert re.search(rf"\b{seq}\b", str(caught.value)), f"names entry {seq}: {caught.value}"


def check_against_a_plain_sum(result: dict[str, Any], rows: Any) -> None:
    """The totals, added up here in the simplest way: USD per million tokens 2.5 and 10 against 0.15 and 0.6."""
    current = projected = rerouted = 0  # nano-dollars
    for tokens_in, tokens_out in rows.values_list("input_tokens", "output_tokens"):
        paid = tokens_in * 2_500 + tokens_out * 10_000
        current += paid
        if tokens_in < 1000:
            rerouted += 1
            paid = tokens_in * 150 + tokens_out * 600
        projected += paid
    totals = result["aggregates"]
    assert result["sample_size"] == 19_366
    assert totals["requests_rerouted"] == rerouted
    assert round(totals["total_current_cost_usd"] * 10**9) == current
    assert round(totals["total_projected_cost_usd"] * 10**9) == projected
    assert round(totals["projected_savings_usd"] * 10**9) == current - projected
    low, high = result["confidence_intervals"]["savings_usd_95"]
    assert 0 < low < totals["projected_savings_usd"] < high
    assert result["verdict"] == "saves"
    assert {caveat["code"] for caveat in result["caveats"]} >= {"synthetic_columns"}


def change_one_byte(org: Organization, *, action: str) -> None:
    """What somebody with the database in hands could do."""
    drop_triggers(connection)
    entry = AuditEntry.objects.get(org_id=org.pk, action=action)
    data = bytearray(bytes(entry.entry))
    data[len(data) // 2] ^= 1
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {AuditEntry._meta.db_table} SET entry = %s WHERE id = %s", [bytes(data), entry.pk])


def test_the_same_input_twice_gives_the_same_bytes(org: Organization) -> None:
    trace = shared("data/azure-llm-2023-code.csv")
    call_command(
        "import_logs", str(trace), "--org", "acme", "--format", "azure-llm-trace", "--model", "gpt-4o",
        stdout=StringIO(), stderr=StringIO(),
    )  # fmt: skip
    route = {"id": "01900000-0000-7000-8000-000000000001", "name": "r", "then": {"target_model": "gpt-4o-mini"}}
    results = []
    for name in ("one", "two"):
        plan = plans.propose(
            org, name=name, routes=[route], by=BY,
            window_start=datetime(2023, 11, 16, tzinfo=UTC), window_end=datetime(2023, 11, 17, tzinfo=UTC),
        )  # fmt: skip
        plans.project(plan, by=BY)
        run_next()
        results.append(PlanRun.objects.get(pk=plan.pk).result)
    assert results[0] == results[1]
    assert json.loads(results[0])["sample_size"] == 8_819


def test_a_plan_equal_to_what_is_live_projects_exactly_nothing(org: Organization) -> None:
    from tests.build import a_route, traffic

    row = a_route(org)
    traffic(org)
    from tests.build import a_plan, projected

    for routes in ([], [row.as_document()]):
        outcome = projected(a_plan(org, routes=routes)).outcome
        assert outcome is not None
        assert outcome["aggregates"]["projected_savings_usd"] == 0
        intervals = outcome["confidence_intervals"]
        assert (intervals["savings_usd_95"], intervals["savings_pct_95"]) == ([0, 0], [0, 0])
        assert outcome["probability_of_loss"] == 0
