"""A logged request, decided once more: by the version of then, and by what is live."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from plans.explaining import words
from plans.explaining.services import Explained, explained, get_logged, turned
from plans.logs.models import RequestLog
from plans.matching.counting import contexts_of
from plans.matching.sampling import sample_of
from routes import engine
from routes.engine import Action
from routes.errors import NotFound
from routes.orgs.models import Organization, new_id
from routes.requests import facts_of
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY, START, a_route, an_org, many_routes, prices, traffic

pytestmark = pytest.mark.django_db


@pytest.fixture
def org() -> Organization:
    return an_org()


def logged(org: Organization, row: Route | None = None, **columns: Any) -> RequestLog:
    """A request of 100 input tokens that the route took, by the version that is live now."""
    org.refresh_from_db()
    taken = {} if row is None else {"matched_route_id": row.uid, "reason": "matched", "model": "gpt-4o-mini"}
    traffic(org, 1, **{"decided_version": org.version, "fact_input_tokens": 90, **taken, **columns})
    return RequestLog.objects.of(org).latest("pk")


def why(org: Organization, row: RequestLog) -> tuple[Explained, list[str]]:
    """The explanation, and the sentences that say why then and now differ."""
    org.refresh_from_db()
    found = explained(org, get_logged(org, row.request_id))
    revisions = {str(uid): revision for uid, revision in Route.objects.of(org).values_list("uid", "revision")}

    def turning(uid: str, present: bool) -> tuple[int, int]:
        def holds(content: Any) -> bool:
            return any(route["id"] == uid for route in content["routes"]) is present

        return turned(org, found.then.version, found.now.version, holds)

    return found, words.reasons(found, turning, revisions)


def change(org: Organization, row: Route, **keys: Any) -> Route:
    row.refresh_from_db()
    wanted = engine.Route.from_dict({**row.as_document(), **keys})
    return update_route(org, str(row.uid), wanted, by=BY, expected_revision=row.revision)[0]


def test_what_did_not_change_is_the_same_then_and_now(org: Organization) -> None:
    row = logged(org, a_route(org, "short ones"))
    found, reasons = why(org, row)
    assert words.is_same(found) is True
    assert reasons == words.disagreements(found) == words.doubts(found) == []
    assert words.headline_then(found) == "“short ones” took it, served by gpt-4o-mini"
    assert words.headline_now(found) == "“short ones” takes it → gpt-4o-mini"
    assert found.context.input_tokens == 90, "as decided on, not as billed"


def test_a_route_that_was_changed_is_named_with_its_version(org: Organization) -> None:
    route = a_route(org, "short ones")
    row = logged(org, route)
    a_route(org, "other", when={"tag_equals": "x"})
    change(org, route, name="tiny ones", when={"model_in": ["gpt-4o"], "input_tokens_lt": 50})
    found, reasons = why(org, row)
    assert found.then.decision is not None
    assert found.then.decision.route_name == "short ones"
    assert words.headline_now(found) == "no route takes it: it passes unchanged → gpt-4o"
    assert reasons == ["“short ones” (now “tiny ones”) was changed in version 3: its conditions do not fit any more."]


def test_each_version_is_asked_for_itself(org: Organization) -> None:
    """Also where the engines of several are kept."""
    route = a_route(org, "short ones")
    for number in range(3):
        route = change(org, route, then={"target_model": f"model-{number}"})
    models = {}
    for version in (1, 2, 3, 1, 2):
        row = logged(org, route, request_id=f"r{version}-{len(models)}", decided_version=version)
        decision = explained(org, row).then.decision
        assert decision is not None
        assert models.setdefault(version, decision.target_model) == decision.target_model
    assert models == {1: "gpt-4o-mini", 2: "model-0", 3: "model-1"}


def test_a_route_that_does_something_else_with_it_is_named(org: Organization) -> None:
    route = a_route(org, "short ones")
    row = logged(org, route)
    change(org, route, then={"target_model": "gpt-4.1"})
    assert why(org, row)[1] == [
        "“short ones” was changed in version 2: it takes the request as before, and does something else with it."
    ]


def test_a_deleted_route_is_named_with_the_version_in_which_it_went(org: Organization) -> None:
    route = a_route(org, "short ones")
    row = logged(org, route)
    for number in range(5):
        a_route(org, f"before {number}", when={"tag_equals": "x"})
    delete_route(org, str(route.uid), by=BY, expected_revision=route.revision)
    for number in range(9):
        a_route(org, f"after {number}", when={"tag_equals": "x"})
    assert why(org, row)[1] == ["“short ones” was deleted in version 7."]
    # What was published in between is not kept any more: it can be said less exactly.
    RouteSetVersion.objects.filter(org=org, version__in=range(4, 10)).update(content=None)
    assert why(org, row)[1] == ["“short ones” was deleted between version 3 and version 10."]


def test_between_two_versions_is_said_without_one_that_nobody_published() -> None:
    told = [words.between(2, 3), words.between(2, 9), words.between(0, 1), words.between(0, 9)]
    assert told == ["in version 3", "between version 2 and version 9", "in version 1", "in version 9 or before"]


def test_a_route_that_came_is_named_beside_the_one_that_lost(org: Organization) -> None:
    row = logged(org, a_route(org, "short ones"))
    a_route(org, "first", priority=500, then={"target_model": "gpt-4.1"})
    assert why(org, row)[1] == [
        "“short ones” would still take it, but “first” comes first now.", "“first” was added in version 2.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"enabled": False}, {"enabled": True}, "“x” was disabled then: it was enabled in version 3."),
        ({"when": {"tag_equals": "y"}}, {"when": {}}, "“x” was changed in version 3: its conditions fit now."),
        (
            {"active_from": "2027-01-01T00:00:00Z"},
            {"active_from": None},
            "“x” was active only from 2027-01-01 00:00 UTC: it was changed in version 3.",
        ),
        ({"priority": 1}, {"priority": 900}, "“x” came later then, and was changed in version 3."),
    ],
)
def test_why_another_one_takes_it_now(org: Organization, was: dict[str, Any], now: dict[str, Any], said: str) -> None:
    first = a_route(org, "short ones")
    other = a_route(org, "x", **{"priority": 500, "when": {}, **was})
    row = logged(org, first)
    change(org, other, **now)
    assert why(org, row)[1] == ["“short ones” would still take it, but “x” comes first now.", said]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"enabled": False}, "“short ones” was disabled in version 2."),
        (
            {"active_until": "2020-01-01T00:00:00Z"},
            "“short ones” was changed in version 2: it is active only until 2020-01-01 00:00 UTC.",
        ),
    ],
)
def test_why_a_route_takes_it_no_more(org: Organization, now: dict[str, Any], said: str) -> None:
    route = a_route(org, "short ones")
    row = logged(org, route)
    change(org, route, **now)
    assert why(org, row)[1] == [said]


def test_what_happens_to_the_rest_may_be_what_changed(org: Organization) -> None:
    row = logged(org, reason="no_match")
    set_default(org, Action("gpt-4.1"), by=BY)
    found, reasons = why(org, row)
    assert reasons == ["What is set for requests that no route takes was changed since."]
    assert words.headline_then(found) == "no route took it, served by gpt-4o"


# --- What is not sure -------------------------------------------------------------------------------------------------


def test_what_the_log_lacks_is_named_where_a_route_asks_for_it_first(org: Organization) -> None:
    a_route(org, "vip", priority=500, when={"headers": {"x-tier": ["gold"]}, "metadata": {"team": ["a"]}})
    a_route(org, "no tools", priority=400, when={"not": {"has_tools": True}, "tag_equals": "never"})
    row = logged(org, a_route(org, "short ones"))
    a_route(org, "later", priority=1, when={"numbers": {"budget": {"gt": 1}}})
    found, _ = why(org, row)
    assert words.doubts(found) == [
        "By version 3 “vip” may have taken it: what it asks for is not in the log (request headers, metadata).",
        "By version 4 “vip” may take it: what it asks for is not in the log (request headers, metadata).",
    ]
    assert words.headline_now(found) == "as far as is known, “short ones” takes it → gpt-4o-mini"
    assert words.not_kept(found) == [
        "request headers", "the gateway's own figures", "the text", "metadata", "whether it had images",
        "whether it had audio", "whether it had documents", "whether it had tools", "whether it was streamed",
        "the upstream latency of the moment",
    ]  # fmt: skip


def test_where_the_log_says_something_else_that_is_said(org: Organization) -> None:
    a_route(org, "short ones")
    other = a_route(org, "other", when={"tag_equals": "x"})
    found, _ = why(org, logged(org, other))
    assert words.headline_then(found) == "“other” took it, served by gpt-4o-mini", "what happened comes first"
    assert words.disagreements(found) == [
        "The log says: “other” took it, served by gpt-4o-mini. Decided once more by version 2, on what the log kept:"
        " “short ones” takes it → gpt-4o-mini."
    ]
    assert "another version at that moment" in words.doubts(found)[-1]


def test_the_route_that_took_it_by_the_log_is_named_where_it_went(org: Organization) -> None:
    a_route(org, "short ones")
    other = a_route(org, "other", when={"tag_equals": "x"})
    row = logged(org, other)
    delete_route(org, str(other.uid), by=BY, expected_revision=other.revision)
    found, reasons = why(org, row)
    assert words.is_same(found) is True
    assert reasons == ["“other”, which took it by the log, was deleted in version 3."]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"model": "gpt-4o-mini-2024-07-18"}, False),
        ({"model": "gpt-4o"}, True),
        ({"model": "gpt-4o", "status": 500}, False),
        ({"model": "gpt-4o", "cached": True}, False),
        ({"model": "claude-haiku", "kind": "fallback"}, False),
        ({"model": "gpt-4.1", "kind": "fallback"}, True),
        ({"model": "anything", "kind": "shadow"}, False),
    ],
)
def test_who_served_is_compared_with_whom_the_version_asks(
    org: Organization, columns: dict[str, Any], says: bool
) -> None:
    route = a_route(org, then={"target_model": "gpt-4o-mini", "fallbacks": ["claude-haiku"]})
    found, _ = why(org, logged(org, route, **columns))
    assert bool(words.disagreements(found)) is says


def test_what_stands_in_is_said(org: Organization) -> None:
    prices(**{"gpt-4o": ("2.5", "10")})
    route = a_route(
        org,
        when={"input_tokens_lt": 1000, "estimated_cost_lt": 5},
        then={"split": [{"target_model": "gpt-4o-mini", "weight": 1}, {"target_model": "gpt-4.1", "weight": 1}]},
    )
    row = logged(org, route, fact_input_tokens=None, synthetic=["tag", "latency_ms", "input_tokens"])
    drawn = explained(org, row).then.decision  # by the id of the route too
    assert drawn is not None
    RequestLog.objects.filter(pk=row.pk).update(model=drawn.target_model)
    found, _ = why(org, row)
    assert words.doubts(found) == [
        "The gateway's own count of tokens was not kept: the 100 that were billed stand for it.",
        "The gateway's estimate of the cost was not kept: what it would have cost without routing ($0.00075) stands for"
        " it.",
        "Shares and splits are drawn from its id: whether a sticky key decided was not logged.",
        "Some of what the conditions see was made up for this row: its tokens, its tag.",
    ]


def test_another_price_is_said_where_estimates_are_asked_for(org: Organization) -> None:
    from routes.catalog.models import ModelPrice

    prices(**{"gpt-4o": ("2.5", "10")})
    row = logged(org, a_route(org, when={"estimated_cost_lt": 5}))
    since = START + timedelta(days=3)
    ModelPrice.objects.create(
        provider="openai", model="gpt-4o", input_usd_per_million=1, output_usd_per_million=1, since=since
    )
    found, _ = why(org, row)
    assert any("The price of gpt-4o changed since" in text for text in words.doubts(found))


def test_without_a_version_in_the_log_the_one_of_that_time_is_asked(org: Organization) -> None:
    a_route(org, "short ones")
    row = logged(org, decided_version=None)
    found, reasons = why(org, row)
    assert (found.then.version, found.is_version_logged) == (0, False)
    assert words.doubts(found)[0] == "Which version decided was not logged, and nothing was published here by then."
    assert reasons == ["“short ones” was added in version 1."]
    RequestLog.objects.filter(pk=row.pk).update(ts=timezone.now())
    found, _ = why(org, row)
    assert found.then.version == 1
    assert words.doubts(found)[0] == "Which version decided was not logged: version 1 was live by then."
    assert words.headline_then(found) == "“short ones” takes it → gpt-4o-mini (by version 1; the log does not say)"


@pytest.mark.parametrize("version", [2, 2**63 - 1])
def test_a_version_that_is_not_kept_or_never_was_is_told_and_what_the_log_says_stays(
    org: Organization, version: int
) -> None:
    route = a_route(org, "short ones")
    a_route(org, "other", when={"tag_equals": "x"})
    a_route(org, "third", when={"tag_equals": "x"})
    RouteSetVersion.objects.filter(org=org, version=2).update(content=None)
    found, reasons = why(org, logged(org, route, decided_version=version))
    assert found.then.explanation is None
    assert ("not kept" in found.then.problem, "There is no version" in found.then.problem) == (
        version == 2,
        version > 2,
    )
    assert words.headline_then(found) == "“short ones” took it, served by gpt-4o-mini"
    assert words.headline_now(found) == "“short ones” takes it → gpt-4o-mini"
    assert (words.is_same(found), reasons, words.disagreements(found)) == (None, [], [])


def test_a_route_that_nobody_knows_any_more_is_told_as_that(org: Organization) -> None:
    found, _ = why(org, logged(org, matched_route_id=new_id(), reason="matched"))
    assert words.headline_then(found) == "a route that is not known any more took it, served by gpt-4o"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"reason": "paused"}, "“short ones” took it, but was paused, served by gpt-4o-mini"),
        ({"reason": "control"}, "“short ones” took it, but it was outside its share, served by gpt-4o-mini"),
        ({"reason": "refused", "status": 403}, "“short ones” refused it with 403"),
        ({"cached": True}, "“short ones” took it, answered from the cache, first by gpt-4o-mini"),
        ({"status": 503}, "“short ones” took it, failed at gpt-4o-mini"),
        ({"reason": "something new"}, "“short ones” took it, served by gpt-4o-mini"),
        (
            {"reason": "forced_not_found", "matched_route_id": None},
            "a route was asked for by name that was not enabled, served by gpt-4o-mini",
        ),
    ],
)
def test_what_happened_is_said_as_the_log_has_it(org: Organization, columns: dict[str, Any], said: str) -> None:
    found, _ = why(org, logged(org, a_route(org, "short ones"), **columns))
    assert words.headline_then(found) == said


def test_a_request_for_a_route_by_name_is_asked_again_by_that_name(org: Organization) -> None:
    named = a_route(org, "by name", when={"tag_equals": "x"})
    row = logged(org, named, reason="forced")
    found, _ = why(org, row)
    assert found.force == "by name"
    assert words.headline_now(found) == "“by name” was asked for by name → gpt-4o-mini"
    assert words.disagreements(found) == []
    change(org, named, name="renamed")
    assert words.headline_now(why(org, row)[0]) == "no route of that name is enabled: it passes unchanged → gpt-4o"


def test_what_depends_on_the_time_is_said_of_this_moment_too(org: Organization) -> None:
    since = (timezone.now() - timedelta(days=1)).isoformat()
    row = logged(org)
    a_route(org, "since yesterday", when={}, active_from=since)
    found, _ = why(org, row)
    assert words.headline_now(found) == "no route takes it: it passes unchanged → gpt-4o"
    assert words.at_this_moment(found).endswith(": “since yesterday” takes it → gpt-4o-mini.")
    assert words.at_this_moment(why(org, logged(org, request_id="r2", ts=timezone.now()))[0]) == ""


# --- The row ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_id", ["a/b", "..", "?a=b&c#d", "<script>", "%2F", " spaces ", "\u2028", "é" * 200, "'; DROP", "\\", "%"]
)
def test_any_id_is_found_and_no_other(org: Organization, request_id: str) -> None:
    traffic(org, 1, request_id=request_id)
    traffic(an_org("other"), 1, request_id="theirs")
    assert get_logged(org, request_id).request_id == request_id
    for text in ("theirs", request_id + "x", "", "\0", "x" * 10_000):
        with pytest.raises(NotFound):
            get_logged(org, text)


def test_a_row_is_decided_on_the_very_facts_of_a_sample(org: Organization) -> None:
    """Which a test of its own holds to those of a replay."""
    body = {"model": "x", "messages": [{"role": "user", "content": "hello"}]}
    traffic(org, 1, metadata={"team": "a"}, tag="t", has_tools=True, fact_sticky_key="k", body=body, is_stream=False)
    sample = sample_of(org.pk, START + timedelta(days=1))
    assert sample is not None
    (expected,) = contexts_of(sample.rows, {"r1": "hello"})
    assert facts_of(explained(org, get_logged(org, "r1")).context) == facts_of(expected)


def test_other_attempts_are_those_with_the_digest_around_it(org: Organization) -> None:
    same = {"request_digest": "sha256:" + "a" * 64, "cluster_key": "u"}
    traffic(org, 1, **same)
    first = RequestLog.objects.get(request_id="r1")
    for name, seconds, columns in (
        ("fallback", 1, {"kind": "fallback"}), ("copy", -1, {"kind": "shadow"}), ("much later", 9_999, {}),
        ("another's", 2, {"cluster_key": "v"}), ("another", 2, {"request_digest": ""}),
    ):  # fmt: skip
        traffic(org, 1, **{**same, "request_id": name, "ts": first.ts + timedelta(seconds=seconds), **columns})
    traffic(an_org("other"), 1, **same)
    assert [one["request_id"] for one in explained(org, first).attempts] == ["copy", "fallback"]
    assert explained(org, RequestLog.objects.get(request_id="another")).attempts == ()


@pytest.mark.parametrize("count", [10, 400])
def test_it_costs_as_many_queries_for_ten_routes_as_for_hundreds(org: Organization, count: int) -> None:
    many_routes(org, count)
    row = logged(org, request_digest="sha256:" + "a" * 64)
    a_route(org, "other")
    org.refresh_from_db()
    explained(org, row)
    with CaptureQueriesContext(connection) as queries:
        explained(org, row)
    assert len(queries) == 4, "the version, the rows before and after it, the prices"


def test_when_a_route_went_takes_few_queries_of_many_versions(org: Organization) -> None:
    route = a_route(org, "short ones")
    for number in range(40):
        a_route(org, f"route {number}", when={"tag_equals": "x"})
    delete_route(org, str(route.uid), by=BY, expected_revision=route.revision)
    with CaptureQueriesContext(connection) as queries:
        found = turned(org, 1, 42, lambda content: all(each["name"] != "short ones" for each in content["routes"]))
    assert (found, len(queries) <= 12) == ((41, 42), True)
