"""What belongs to another organisation is not there: under its own URLs, under one's own, and in no list."""

import re
from typing import Any

import pytest

from routes.examples.models import ExampleRequest
from routes.fleet.models import GatewayInstance
from routes.orgs.models import ApiKey, Membership, Organization
from tests.api.test_who_may_what import callers, example, filled, ids_in, planted, served, some, table, who_asks
from tests.build import an_org, state_of
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db


def words(answer: Any, *names: Any) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) without what is another in every answer, and without these names."""
    body = answer.content.replace(answer["X-Request-Id"].encode(), b"")
    body = re.sub(rb'"reported_at":"[^"]*"', b"", body)
    for name in names:
        body = body.replace(f'"{name}"'.encode(), b'""')
    # A gateway's key has a rate of its own once it is known to be one, so its first answer names another.
    varying = dict.fromkeys(("X-Request-Id", "Content-Length", "RateLimit", "RateLimit-Policy"), "")
    return answer.status_code, dict(answer.headers) | varying, body


def test_a_foreign_organisation_is_told_in_the_very_words_of_one_that_is_not_there(org: Organization) -> None:
    other = an_org("other")
    everybody = {name: who for name, who in callers(org, other).items() if not who.sees}
    planted(org, "canary")
    ids = ids_in(org)
    rules = [rule for rule in some(table()) if "<org>" in rule.path]
    for rule, name, who in who_asks(rules, everybody):
        told = []
        for slug in (org.slug, "nowhere"):
            url = filled(rule.path, {**ids, "orgs": slug})
            answer = who.client.generic(rule.method, url, **example(rule))
            assert answer.status_code == 404, (rule, name, answer.content)
            assert b"canary" not in answer.content.replace(url.partition("?")[0].encode(), b""), (rule, name)
            told.append(words(answer, url.partition("?")[0]))
        assert told[0] == told[1], (rule, name)


def test_a_foreign_object_is_told_in_the_very_words_of_one_that_is_not_there(org: Organization) -> None:
    """Under the URLs of one's own organisation, and of the installation; and nothing happens to it."""
    other = an_org("other")
    everybody = {name: who for name, who in callers(org, other).items() if who.sees and who.has is not None}
    planted(other, "canary")
    unknown = {
        "orgs": org.slug,
        "routes": "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e",
        "examples": "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3d",
        "services": "unknown",
        "plans": "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3f",
        "members": 2**31 - 1,
        "versions": 2**31 - 1,
        "api-keys": "a" * 12,
        "gateways": "unknown-edge",
        "placements": "unknown-tenant",
        "installation's api-keys": "a" * 12,
    }
    theirs = {**ids_in(other), "orgs": org.slug}
    # The keys of an organisation are foreign to the installation too, and the other way round.
    of_all, theirs["installation's api-keys"] = theirs["installation's api-keys"], theirs["api-keys"]

    def state() -> list[Any]:
        rows = (model.objects.filter(org=other) for model in (ExampleRequest, GatewayInstance, Membership, ApiKey))
        return [state_of(other), *(list(found.order_by("pk").values()) for found in rows)]

    before, asked = state(), 0
    # What is placed is there then, whatever it is called.
    makes = ("PUT", "orgs/<org>/placements/<partition>/")
    named = [rule for rule in table() if re.search("<(id|instance|partition)>", rule.path)]
    rules = [rule for rule in named if (rule.method, rule.path) != makes]
    for rule, name, who in who_asks(some(rules), everybody):
        urls = [filled(rule.path, ids) for ids in (unknown, theirs, {**theirs, "api-keys": of_all})]
        sent = example(rule)
        first, *others = [
            words(who.client.generic(rule.method, url, **sent), url, url.split("/")[-2]) for url in dict.fromkeys(urls)
        ]
        for told in others:
            assert told == first, (rule, name)
            asked += 1
        if who.has & set(rule.needs):
            assert first[0] == (200 if "<instance>" in rule.path else 404), (rule, name, first)
    assert asked > (10 if ON_POSTGRES else 200)
    assert state() == before


def test_no_search_and_no_filter_reaches_a_foreign_row(org: Organization) -> None:
    other = an_org("other")
    planted(other, "canary")
    everybody = callers(org, other)
    asked = 0
    for path, view in served():
        if "<org>" not in path or not hasattr(view.cls, "orderings"):
            continue
        url = filled(path, {"orgs": org.slug})
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
                # How somebody comes in decides no query, so that they take turns.
                who = ("admin", "key of a admin")[asked % 2]
                answer = everybody[who].client.get(url, {name: value, "limit": 500})
                assert answer.status_code in (200, 422), (path, name)
                # A refusal repeats what was asked for.
                found = answer.json().get("results", [])
                assert "canary" not in str(found), (path, name)
                asked += 1
    assert asked > 150
