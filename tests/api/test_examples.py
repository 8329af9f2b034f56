"""What the page of the API shows is run: every curl line, and the program in Python."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from plans.runs import services
from plans.runs.worker import run_next
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.orgs.services import update_organization
from routes.placements.models import Placement
from routing_admin.docs.document import document
from routing_admin.docs.views import EXAMPLE
from tests.api.test_vectors import an_entry
from tests.api.test_who_may_what import with_ids
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

pytestmark = pytest.mark.django_db(transaction=True)


#: What a POST asks, and what a gateway says of itself.
CHANGES_NOTHING = ("/decide/", "/check/", "/match/", "/gateway/versions/", "/gateways/{instance}/")


#: Whose example changes nothing of what is there: an order that is so already, prices that are known, nothing paused, and
#: an import of what there is. Tests of their own look at their entries.
NO_CHANGE = {
    ("post", "/api/v1/orgs/{org}/routes/reorder/"),
    ("post", "/api/v1/orgs/{org}/routes/import/"),
    ("post", "/api/v1/orgs/{org}/routes/{id}/resume/"),
    ("post", "/api/v1/prices/import/"),
}


def propose_no_approval(org: Organization) -> None:
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    update_organization(org, approval="none", by=a_person(f"proposer {AuditEntry.objects.count()}"))


class World:
    """What the examples ask for: an organisation with one of everything, and keys."""

    def __init__(self) -> None:
        usual_prices()
        self.org = an_org()
        self.admin = a_person("admin", self.org, "admin", is_superuser=True)
        browser = Client()
        browser.force_login(self.admin)
        self.session = browser.cookies["sessionid"].value
        a_person("ada")
        traffic(self.org)

    def key(self, kind: str, org: Organization | None) -> str:
        role = "admin" if kind == "management" else ""
        return create_key(org, name=kind, kind=kind, role=role, by=self.admin).text

    def id_for(self, path: str) -> str:
        """Of something that the operation can be done to."""
        if "versions" in path:
            return "1"
        if "routes" in path:
            return str(a_route(self.org, name=f"to see {self.org.routes.count()}").uid)
        if "services" in path:
            return a_service(self.org, f"to-see-{self.org.services.count()}").slug
        if "examples" in path:
            return str(an_example(self.org, f"to see {self.org.examples.count()}").uid)
        if "members" in path:
            return str(a_person(f"person {self.org.memberships.count()}", self.org).pk)
        if "api-keys" in path:
            is_outside = "{org}" not in path
            kind, org = ("gateway", None) if is_outside else ("traffic", self.org)
            return create_key(org, name="k", kind=kind, by=self.admin).key.pk
        while run_next():
            pass  # what the example of `project/` queued
        number = self.org.plans.count()
        route = {"name": f"planned {number}", "when": {"tag_equals": "x"}, "then": {"target_model": "gpt-4o-mini"}}
        plan = a_plan(self.org, by=a_person(f"planner {number}"), routes=[route])
        if path.endswith("revert/"):
            services.apply(projected(plan), by=self.admin)
            return str(plan.pk)
        if path.endswith("schedule/"):
            services.approve(projected(plan), by=self.admin)
            return str(plan.pk)
        return str(plan.pk if path.endswith(("{id}/", "project/", "cancel/")) else projected(plan).pk)


def test_every_curl_line_does_what_it_says(live_server: Any, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        assert os.environ.get("CI") != "true", "curl is not installed; on Debian: apt-get install curl"
        pytest.skip("curl is not installed; on Debian: apt-get install curl")
    world = World()
    world.key("gateway", None)
    sign_logs()
    keys = {kind: world.key(kind, world.org) for kind in ("management", "gateway")}
    run, silent = 0, set[tuple[str, str]]()
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            needs = operation["description"].rpartition("Needs: ")[2]
            for sample in operation["x-codeSamples"]:
                variables = {"URL": live_server.url, "ID": world.id_for(path) if "{id}" in path else ""}
                if {"key": []} in operation["security"]:
                    variables["KEY"] = keys["gateway" if needs == "gateway." else "management"]
                else:
                    variables |= {"SESSION": world.session, "CSRF": "c" * 32}
                if "{seq}" in path:
                    # Of what is signed, and of what can be blanked.
                    org = world.org if "{org}" in path else None
                    variables["SEQ"] = "0" if method == "get" else str(an_entry(org))
                if "{partition}" in path:
                    Placement.objects.all().delete()
                    phases = {"cutover/": "draining", "complete/": "cutover", "abort/": "draining"}
                    a_placement(world.org, phase=phases.get(path.rpartition("}/")[2], "settled"))
                if "/approval/" in path:
                    propose_no_approval(world.org)
                if "$ETAG" in sample["source"]:
                    variables["ETAG"] = "*"
                source = with_ids(sample["source"], world.org)
                line = f"{source} \\\n  --silent --show-error --write-out '\\n%{{http_code}}'"
                environment = {"PATH": os.environ["PATH"], **variables}
                before = AuditEntry.objects.count()
                done = subprocess.run(
                    ["/bin/sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                body, _, status = done.stdout.rpartition("\n")
                assert status in ("200", "201"), (path, method, line, body, done.stderr)
                if method == "get":
                    assert AuditEntry.objects.count() == before, path
                elif AuditEntry.objects.count() == before:
                    silent.add((method, path))
                if "--output" in line:
                    assert zipfile.is_zipfile(tmp_path / "audit.zip")
                elif "text/plain" in str(operation["responses"].get("200")):
                    assert "routing.example/audit" in body
                else:
                    json.loads(body)
                run += 1
                Organization.objects.filter(pk=world.org.pk).update(approval="none")
    assert {place for place in silent if not place[1].endswith(CHANGES_NOTHING)} == NO_CHANGE
    operations = [operation for methods in document()["paths"].values() for operation in methods.values()]
    assert run == sum(len(operation["x-codeSamples"]) for operation in operations) > len(operations)


def test_the_program_runs(live_server: Any) -> None:
    world = World()
    told = {"ROUTING_ADMIN": live_server.url, "ORGANIZATION": "acme", "KEY": world.key("management", world.org)}
    done = subprocess.run([sys.executable, EXAMPLE], env={**os.environ, **told}, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "A short request goes to gpt-4o-mini\n200 short requests\n"
