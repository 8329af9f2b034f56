"""The README's table of who may what is the table that the API keeps to, at every URL, for every method and caller."""

import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from plans.runs.models import PlanRun
from routes.fleet.services import report
from routes.orgs.keys import create_key, revoke_key
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.api.conftest import Caller
from tests.build import a_person, a_plan, a_route, an_org, traffic
from tests.databases import ON_POSTGRES
from tests.paths import ROOT
from tests.routes.catalog.build import do, own, own_list

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("viewer", "editor", "approver", "admin")


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
    client = Client()
    client.force_login(person)
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
    traffic = create_key(org, name="t", kind="traffic", by=staff)
    found["key for traffic"] = Asking(with_key(traffic.text), None)
    revoked = create_key(org, name="gone", kind="gateway", by=staff)
    revoke_key(revoked.key, by=staff)
    found["revoked key"] = Asking(with_key(revoked.text), None)
    return found


def filled(path: str, org: Organization) -> str:
    """The URL of something that is there."""
    person = org.memberships.get(role="viewer").user
    values = {
        "org": org.slug,
        "routes/<id>": f"routes/{Route.objects.of(org)[0].uid}",
        "plans/<id>": f"plans/{PlanRun.objects.of(org)[0].pk}",
        "members/<id>": f"members/{person.pk}",
        "orgs/<org>/api-keys/<id>": f"orgs/{org.slug}/api-keys/{org.api_keys.all()[0].pk}",
        "api-keys/<id>": "api-keys/unknown",
        "<instance>": "edge-1",
    }
    for name, value in values.items():
        path = path.replace(f"<{name}>" if name == "org" else name, value)
    assert "<" not in path, path
    return f"/api/v1/{path}"


def planted(org: Organization, word: str) -> None:
    """Fills the organisation with rows that hold this word wherever text is kept."""
    a_route(org, f"{word} route", when={"tag_equals": word}, then={"target_model": word})
    a_plan(org, name=f"{word} plan", note=word)
    person = a_person(f"{word}-person", org, "admin")
    create_key(org, name=f"{word} key", kind="gateway", by=person)
    report(org, f"{word}-edge", running=1, rejected=None, schema_max=1, engine=word, extras=[])
    traffic(org, 2, tag=word, cluster_key=word, model=word)
    do(own_list(own(f"{word}-model")), org=org)


def some(rules: list[Rule]) -> list[Rule]:
    """All; a tenth on PostgreSQL, which decides nothing of this by itself."""
    return Random(5).sample(rules, len(rules) // 10) if ON_POSTGRES else rules


def expected(rule: Rule, who: Asking) -> int | None:
    """The status that refuses, or None where it must not be refused for who asks."""
    if who.has is None:
        return 401
    if "<org>" in rule.path and not who.sees:
        return 404
    if not rule.needs:
        return 405
    return None if who.has & set(rule.needs) else 403


def test_everybody_may_what_the_table_says_and_nothing_else(org: Organization) -> None:
    """And nobody reads a word of an organisation that is not theirs, of three that there are."""
    other, third = an_org("other"), an_org("third")
    everybody = callers(org, other)
    for theirs in (other, third):
        planted(theirs, f"canary-of-{theirs.slug}")
    a_route(org)
    a_plan(org)
    asked = 0
    for rule in some(table()):
        url = filled(rule.path, org)
        for name, who in everybody.items():
            # Dry, so that everything is still there for the next one.
            response = who.client.generic(rule.method, f"{url}?dry_run=1" if rule.method != "GET" else url)
            status = expected(rule, who)
            if not who.has or not who.has & {"installation", "all"}:
                assert b"canary-of-third" not in response.content, (rule, name)
                assert who.sees is False or b"canary" not in response.content, (rule, name)
            if status is None:
                assert response.status_code < 500, (rule, name, response.content)
                # There is no such key of the installation, as whoever may see them learns.
                if "api-keys/unknown" not in url:
                    assert response.status_code not in (401, 403, 404, 405), (rule, name, response.content)
            else:
                assert response.status_code == status, (rule, name, response.content)
                assert response["Content-Type"] == "application/problem+json"
            asked += 1
    assert asked > (100 if ON_POSTGRES else 1_000)


def test_no_search_and_no_filter_reaches_a_foreign_row(org: Organization) -> None:
    other = an_org("other")
    planted(other, "canary")
    a_route(org)
    a_plan(org)
    everybody = callers(org, other)
    asked = 0
    for path, view in served():
        if "<org>" not in path or not hasattr(view.cls, "orderings"):
            continue
        url = filled(path, org) if "<id>" not in path else ""
        filters = getattr(view.cls, "filterset_class", None)
        names = [*(filters.base_filters if filters else ()), "search", *getattr(view.cls, "filters", ())]
        for name in names:
            for value in (
                "canary",
                "canary-person",
                str(other.pk),
                "true",
                "gateway",
                "editor",
                "2026-01-01T00:00:00Z",
            ):
                # How somebody comes in decides no query, so that PostgreSQL is asked once.
                for who in ("key of a admin",) if ON_POSTGRES else ("admin", "key of a admin"):
                    answer = everybody[who].client.get(url, {name: value, "limit": 500})
                    assert answer.status_code in (200, 422), (path, name)
                    # A refusal repeats what was asked for.
                    found = answer.json().get("results", [])
                    assert "canary" not in str(found), (path, name)
                    asked += 1
    assert asked > (150 if ON_POSTGRES else 300)


def test_what_is_foreign_is_told_in_the_very_words_of_what_is_not_there(org: Organization) -> None:
    other = an_org("other")
    a_route(org)
    a_plan(org)
    everybody = {name: who for name, who in callers(org, other).items() if not who.sees}
    for rule in some(table()):
        if "<org>" not in rule.path:
            continue
        url = filled(rule.path, org)
        for name, who in everybody.items():
            foreign, unknown = (
                who.client.generic(rule.method, address) for address in (url, url.replace(f"/{org.slug}/", "/nowhere/"))
            )
            told = [{**answer.json(), "instance": "", "request_id": ""} for answer in (foreign, unknown)]
            assert told[0] == told[1], (rule, name)
            varying = dict.fromkeys(("X-Request-Id", "Content-Length", "RateLimit"), "")
            assert dict(foreign.headers) | varying == dict(unknown.headers) | varying, (rule, name)
