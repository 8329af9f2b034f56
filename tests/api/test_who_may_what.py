"""The README's table of who may what is the table that the API keeps to, at every URL, for every method and caller."""

import json
import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from audit.models import AuditEntry
from plans.runs.models import PlanRun
from plans.runs.services import apply, approve
from routes import engine
from routes.fleet.services import report
from routes.orgs.keys import create_key, revoke_key
from routes.orgs.models import ApiKey, Organization
from routes.rules.models import Route
from routes.rules.services import set_default
from tests.api.conftest import Caller
from tests.api.promised import document
from tests.build import (
    BY,
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
from tests.paths import ROOT
from tests.routes.catalog.build import do, own, own_list

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("viewer", "editor", "approver", "admin")
#: A CSRF token.
TOKEN = "t" * 32
#: What a POST asks and does not write, so that there is no dry run of it.
READ_BY_POST = (
    "orgs/<org>/decide/",
    "orgs/<org>/examples/check/",
    "orgs/<org>/services/<id>/match/",
    "gateway/versions/",
)


class Rule(NamedTuple):
    path: str
    method: str
    #: Of which one is enough; none where nobody may.
    needs: tuple[str, ...]


def table() -> list[Rule]:
    """As the README has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^\| under `/api/v1/` \|.*\n\|[ -|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    rules = []
    for line in found.splitlines():
        path, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
        for method, cell in zip(METHODS, cells, strict=True):
            rules.append(Rule(path.strip("`"), method, tuple(filter(None, re.split(r", ?", cell)))))
    return rules


def served(patterns: Any = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """(path, view) of every URL under the API."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = before + re.sub(r"<(\w+:)?(\w+)>", r"<\2>", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from served(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/v1/"):
            yield path.removeprefix("api/v1/"), pattern.callback


def test_the_table_is_what_the_views_state() -> None:
    stated = set()
    for path, view in served():
        needed = view.view_initkwargs.get("required_role") or view.cls.required_role
        for method in METHODS:
            needs = needed.get(method, ())
            stated.add(Rule(path, method, (needs,) if isinstance(needs, str) else tuple(needs)))
    assert stated == set(table())


# --- And what they do -------------------------------------------------------------------------------------------------


class Asking(NamedTuple):
    """Somebody who calls, and what may be expected of that."""

    client: Client
    #: What the table may ask for that this one has; None for whoever is nobody.
    has: frozenset[str] | None
    #: Whether the organisation can be seen.
    sees: bool = True


def with_key(text: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {text}"})


def signed_in(person: Any) -> Client:
    """As a browser with a page of ours: CSRF is enforced, and the token is sent."""
    client = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": TOKEN})
    client.force_login(person)
    client.cookies["csrftoken"] = TOKEN
    return client


def callers(org: Organization, other: Organization) -> dict[str, Asking]:
    staff = a_person("staff", is_superuser=True)
    found: dict[str, Asking] = {"anonymous": Asking(Client(), None)}
    for number, role in enumerate(ROLES):
        has = frozenset({"anybody", *ROLES[: number + 1]})
        caller = Caller(org, role)
        found[role] = Asking(signed_in(caller.person), has)
        found[f"key of a {role}"] = Asking(caller.client, has)
    found["staff"] = Asking(signed_in(staff), frozenset({"anybody", "installation", *ROLES}))
    found["admin elsewhere"] = Asking(
        signed_in(a_person("elsewhere", other, "admin")), frozenset({"anybody"}), sees=False
    )
    found["key elsewhere"] = Asking(Caller(other, "admin").client, frozenset({"anybody"}), sees=False)
    gateways = {"gateway": org, "gateway of all": None, "gateway elsewhere": other}
    for name, of in gateways.items():
        made = create_key(of, name=name, kind="gateway", by=staff)
        has = frozenset({"gateway", "all"} if of is None else {"gateway"})
        found[name] = Asking(with_key(made.text), has, sees=of != other)
    for_traffic = create_key(org, name="t", kind="traffic", by=staff)
    found["key for traffic"] = Asking(with_key(for_traffic.text), None)
    revoked = create_key(org, name="gone", kind="gateway", by=staff)
    revoke_key(revoked.key, by=staff)
    found["revoked key"] = Asking(with_key(revoked.text), None)
    return found


def ids_in(org: Organization) -> dict[str, Any]:
    """By collection the id of one thing that is there; the keys of the installation are a collection of their own."""
    in_all = ApiKey.objects.filter(org=None)[0]
    return {
        "orgs": org.slug,
        "routes": Route.objects.of(org)[0].uid,
        "services": org.services.order_by("slug")[0].slug,
        "examples": org.examples.all()[0].uid,
        "placements": org.placements.all()[0].partition,
        "plans": PlanRun.objects.of(org)[0].pk,
        "members": org.memberships.order_by("-role")[0].user_id,
        "api-keys": org.api_keys.filter(revoked_at=None)[0].pk,
        "gateways": org.gateways.all()[0].instance,
        "versions": org.versions.order_by("version")[0].version,
        "audit": 0,
        "installation's api-keys": in_all.pk,
        "installation's audit": AuditEntry.objects.of(None).get(action="api_key.created", target_id=in_all.pk).seq,
    }


def one_of_each(org: Organization) -> dict[str, Any]:
    """Their ids, beside the members and keys of `callers`."""
    a_route(org)
    an_example(org, request={"context": {"tag": "of none"}}, expected={"route": None})  # no write breaks it
    a_service(org)
    a_plan(org)
    a_placement(org)
    report(org, "edge-1", running=1, rejected=None, schema_max=1, engine="0.1.0", extras=[])
    return ids_in(org)


def filled(path: str, ids: Mapping[str, Any]) -> str:
    """The URL of what these ids name."""
    whose = "" if path.startswith("orgs/") else "installation's "
    url = re.sub(r"([\w-]+)/<\w+>", lambda found: f"{found[1]}/{ids[whose + found[1]]}", path)
    return f"/api/v1/{url}{next((query for end, query in _QUERIES.items() if path.endswith(end)), '')}"


#: Of what asks for parameters.
_QUERIES = {"/consistency/": "?from=1&to=1", "/request-logs/explain/": "?request_id=r1"}


def example(rule: Rule) -> dict[str, Any]:
    """What a client sends that does as the document of the API shows: a write to whatever is there."""
    path = "/api/v1/" + re.sub(r"<(\w+)>", r"{\1}", rule.path)
    content = document()["paths"].get(path, {}).get(rule.method.lower(), {}).get("requestBody", {}).get("content", {})
    for media_type, body in content.items():
        shown = body["example"]
        data = shown if isinstance(shown, str) else json.dumps(shown)
        return {"data": data, "content_type": media_type, "headers": {"If-Match": "*"}}
    return {"headers": {"If-Match": "*"}}


def with_ids(text: str, org: Organization) -> str:
    """What is shown with the ids of some routes, with those of all that the organisation has."""
    ids = json.dumps([str(row.uid) for row in Route.objects.of(org)])
    return re.sub(r'"ids": \[[^]]*\]', f'"ids": {ids}', text)


def planted(org: Organization, word: str) -> None:
    """Fills the organisation with rows that hold this word wherever text is kept."""
    a_route(org, f"{word} route", when={"tag_equals": word}, then={"target_model": word})
    an_example(org, word, request={"context": {"tag": word}}, expected={"route": word})
    a_service(
        org,
        f"{word}-service"[:60],
        hosts=[f"{word}.example"],
        paths=[{"pattern": f"/{word}", "target_url": f"https://{word}.example"}],
    )
    a_plan(org, name=f"{word} plan", note=word)
    a_placement(org, f"{word}-tenant")
    person = a_person(f"{word}-person", org, "admin")
    create_key(org, name=f"{word} key", kind="gateway", by=person)
    report(org, f"{word}-edge", running=1, rejected=None, schema_max=1, engine=word, extras=[])
    traffic(org, 2, tag=word, cluster_key=word, model=word)
    do(own_list(own(f"{word}-model")), org=org)


def some(rules: list[Rule]) -> list[Rule]:
    """All; a tenth on PostgreSQL, which decides nothing of this by itself."""
    return Random(5).sample(rules, len(rules) // 10) if ON_POSTGRES else rules


def who_asks(rules: list[Rule], everybody: Mapping[str, Asking]) -> Iterator[tuple[Rule, str, Asking]]:
    """Everybody for every rule. Where nobody may it is the method alone that is refused: there a quarter, in turn."""
    for place, rule in enumerate(rules):
        for number, (name, who) in enumerate(everybody.items()):
            if rule.needs or (place + number) % 4 == 0:
                yield rule, name, who


def expected(rule: Rule, who: Asking) -> int | None:
    """The status that refuses, or None where it must not be refused for who asks."""
    if who.has is None:
        return 401
    if "<org>" in rule.path and not who.sees:
        return 404
    if not rule.needs:
        return 405
    return None if who.has & set(rule.needs) else 403


def by_step(org: Organization) -> dict[str, Any]:
    """By the step the id of a plan that can take it, for those that a draft cannot take."""
    usual_prices()
    traffic(org)
    other = {"name": "to be reverted", "when": {"tag_equals": "x"}, "then": {"target_model": "gpt-4o-mini"}}
    applied = projected(a_plan(org, iterations=100, routes=[other]))
    apply(applied, by=BY)
    ready = projected(a_plan(org, iterations=100))
    approved = projected(a_plan(org, iterations=100))
    approve(approved, by=a_person("who approved"))
    steps = {"revert": applied.pk, "schedule": approved.pk}
    return steps | dict.fromkeys(("approve", "reject", "apply"), ready.pk)


def test_everybody_may_what_the_table_says_and_nothing_else(org: Organization) -> None:
    """And does it, with the body that the document shows; and nobody reads a word of an organisation that is not theirs,
    of three that there are."""
    other, third = an_org("other"), an_org("third")
    everybody = callers(org, other)
    for theirs in (other, third):
        planted(theirs, f"canary-of-{theirs.slug}")
    a_person("ada")  # whom an example makes a member
    ids = one_of_each(org)
    proposed = {"approval_proposed": "none", "approval_proposed_by": "somebody", "approval_proposed_at": timezone.now()}
    Organization.objects.filter(pk=org.pk).update(**proposed)
    set_default(org, engine.Action(target_model="gpt-4o"), by=BY)
    ready = by_step(org)
    placed = {
        step: a_placement(org, f"tenant-to-{step}", phase).partition
        for step, phase in (("cutover", "draining"), ("complete", "cutover"), ("abort", "cutover"))
    }
    sign_logs()
    asked = 0
    for rule, name, who in who_asks(some(table()), everybody):
        step = rule.path.rstrip("/").rpartition("/")[2]
        of_step = {"plans": ready.get(step, ids["plans"]), "placements": placed.get(step, ids["placements"])}
        url = filled(rule.path, {**ids, **of_step})
        if "<org>" in rule.path and not who.sees:
            continue  # test_foreign.py asks that
        # Dry, so that everything is still there for the next one.
        dry = "?dry_run=1" if rule.method != "GET" and rule.path not in READ_BY_POST else ""
        sent = example(rule)
        if "data" in sent:
            sent["data"] = with_ids(sent["data"], org)
        response = who.client.generic(rule.method, url + dry, **sent)
        status = expected(rule, who)
        if not who.has or not who.has & {"installation", "all"} or "<org>" in rule.path:
            content = b"".join(response) if response.streaming else response.content
            assert b"canary-of-third" not in content, (rule, name)
            assert who.sees is False or b"canary" not in content, (rule, name)
        if status is None:
            assert response.status_code in (200, 201), (rule, name, getattr(response, "content", b""))
        else:
            assert response.status_code == status, (rule, name, response.content)
            assert response["Content-Type"] == "application/problem+json"
        asked += 1
    assert asked > (80 if ON_POSTGRES else 1_000)
