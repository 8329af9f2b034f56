"""Schemathesis asks every operation for what its schema allows, and for what it does not.

Here a few of them, other ones on each database; the campaign asks all (`CASES` and `SEED` in the environment).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from io import BytesIO
from random import Random
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import urllib3
from django.test import Client
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from plans.runs import services as plans
from routes.fleet.services import report
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from tests.api.promised import document
from tests.build import (
    a_person,
    a_placement,
    a_plan,
    a_route,
    a_service,
    an_example,
    an_org,
    projected,
    sign_logs,
    traffic,
    usual_prices,
)
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db

CASES = int(os.environ.get("CASES", "0"))
SEED = int(os.environ.get("SEED", "20261121"))
#: In the suite: so many operations, and so many cases of each.
FEW, EACH = 12, 8
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
]
#: Who asks has credentials: those that are made up from `security` say nothing of the operation.
NOT_SENT = ("authorization", "content-length", "cookie", "x-csrftoken")
LISTS = (
    "members/", "api-keys/", "routes/", "services/", "versions/", "examples/", "prices/", "gateways/", "request-logs/",
    "plans/", "audit/",
)  # fmt: skip


@schemathesis.serializer("application/x-ndjson")
def _lines(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


class World:
    """An organisation with one of everything, and who may ask for it."""

    def __init__(self) -> None:
        usual_prices()
        self.org = an_org()
        staff = a_person("staff", self.org, "admin", is_superuser=True)
        traffic(self.org)
        self.routes = [str(a_route(self.org, name).uid) for name in ("one", "two", "three")]
        self.members = [a_person(f"member {number}", self.org).pk for number in range(3)]
        self.plans = [str(plan.pk) for plan in self.some_plans(staff)]
        self.services = [a_service(self.org, slug).slug for slug in ("one", "two", "three")]
        self.examples = [str(an_example(self.org, name).uid) for name in ("one", "two", "three")]
        a_placement(self.org)
        self.partitions = [a_placement(self.org, name, "draining").partition for name in ("tenant-1", "tenant-2", "*")]
        report(self.org, "edge-1", running=1, rejected=None, schema_max=1, engine="0.1.0", extras=[])
        self.keys = [create_key(self.org, name="k", kind="traffic", by=staff).key.pk for _ in range(3)]
        management = create_key(self.org, name="m", kind="management", role="admin", by=staff)
        gateway = create_key(None, name="g", kind="gateway", by=staff)
        self.admin = Client(headers={"Authorization": f"Bearer {management.text}"})
        self.gateway = Client(headers={"Authorization": f"Bearer {gateway.text}"})
        self.staff = Client()
        self.staff.force_login(staff)
        sign_logs()
        for client in (self.admin, self.gateway, self.staff):
            client.raise_request_exception = False

    def some_plans(self, staff: Any) -> Iterator[Any]:
        def plan(number: int) -> Any:
            route = {"name": f"planned {number}", "when": {"tag_equals": "x"}, "then": {"target_model": "gpt-4o-mini"}}
            return a_plan(self.org, by=staff, routes=[route], iterations=100)

        yield plan(1)
        applied, ready = projected(plan(2)), projected(plan(3))
        plans.apply(applied, by=staff)
        yield from (applied, ready)

    def open(self) -> None:
        """Allows writes again, whatever was frozen or made to need approval."""
        fields = {"status": "active", "frozen_at": None, "approval": "none", "approval_proposed": ""}
        Organization.objects.filter(pk=self.org.pk).exclude(status="active", approval="none").update(
            approval_proposed_at=None, **fields
        )

    def who(self, operation: dict[str, Any]) -> Client:
        needs = operation["description"].rpartition("Needs: ")[2]
        if needs.startswith("installation"):
            return self.staff
        return self.gateway if needs == "gateway." else self.admin

    def ids(self, path: str) -> list[Any]:
        """Of what the path can name."""
        if "/versions/{id}" in path or "{seq}" in path:
            return [1, 2, 3]
        if "{partition}" in path:
            return self.partitions
        for name in ("routes", "services", "examples", "members", "plans"):
            if f"/{name}/{{id}}" in path:
                return list(getattr(self, name))
        return self.keys


def asked(client: Client, case: Any) -> requests.Response:
    """The answer to the case."""
    sent = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    assert sent.url is not None
    headers = {name: value for name, value in sent.headers.items() if name.lower() not in NOT_SENT}
    media_type = headers.pop("Content-Type", "")
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    given = client.generic(
        sent.method, sent.url.removeprefix("http://testserver"), body, content_type=media_type, headers=headers
    )
    content = b"".join(given) if given.streaming else given.content
    raw = urllib3.HTTPResponse(
        body=BytesIO(content), headers=dict(given.headers), status=given.status_code, preload_content=False
    )
    return requests.adapters.HTTPAdapter().build_response(sent, raw)


def asking(operation: Any, world: World, told: Counter[int], seed: int, cases: int) -> Callable[[], None]:
    """Asks for the operation so often; raises for the first answer that is none of those it promises."""
    client, ids = world.who(operation.definition.raw), world.ids(operation.path)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode)),
        org=st.sampled_from([world.org.slug, str(world.org.pk), None]),
        id=st.sampled_from([*ids, *ids, None]),
        etag=st.sampled_from(["*", "*", None]),
    )
    def ask(case: Any, org: Any, id: Any, etag: Any) -> None:
        for name, value in (("org", org), ("id", id), ("seq", id), ("partition", id)):
            if value is not None and name in case.path_parameters:
                case.path_parameters[name] = value
        if etag is not None and "If-Match" in case.headers:
            case.headers["If-Match"] = etag
        # A null in the query is not sent, and what is no text would become some.
        hypothesis.assume(None not in (case.query or {}).values())
        hypothesis.assume(case.media_type != "application/x-ndjson" or isinstance(case.body, str | bytes))
        # Who may do what has a test of its own; here everybody may, also where a case is one for want of a credential.
        hypothesis.assume(not case.operation.schema.is_security_param_negated(case))
        answer = asked(client, case)
        world.open()
        told[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    return ask


def test_every_operation_keeps_its_word(db: None) -> None:
    world, chance = World(), Random(SEED + ON_POSTGRES)
    operations = [found.ok() for found in schemathesis.openapi.from_dict(deepcopy(document())).get_all_operations()]
    if not CASES:
        operations = chance.sample(operations, FEW)
    each = CASES // len(operations) if CASES else EACH
    faults: list[str] = []
    told: Counter[int] = Counter()
    for operation in operations:
        try:
            asking(operation, world, told, chance.getrandbits(32), each)()
        except BaseExceptionGroup as error:
            faults.append(f"{operation.label}: {'; '.join(map(str, error.exceptions))}")
        for name in LISTS if operation.method != "get" else ():
            answer = world.admin.get(f"/api/v1/orgs/{world.org.slug}/{name}?limit=500")
            if answer.status_code != 200:
                faults.append(f"after {operation.label} {name} answers {answer.status_code}")
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(told.items()))
    print(f"{told.total():,} cases for {len(operations)} operations, {len(faults)} faults; seed {SEED}; {statuses}")
    print(*faults, sep="\n")
    assert faults == []
    assert told.total() > each * len(operations) // 2
