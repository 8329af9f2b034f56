"""Golden requests: kept with an entry each, and no change goes live that breaks one."""

import time
from typing import Any, get_args

import pytest

from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs import services as plans
from routes import engine
from routes.document import content_at, document_of
from routes.engine.decision import Reason
from routes.errors import NameTaken, NotFound, OrganizationFrozen
from routes.examples import accepted
from routes.examples.deciding import REASONS, broken_by, check_all, in_words, read_example_request
from routes.examples.models import ExampleRequest
from routes.examples.services import (
    InvalidExample,
    StaleExample,
    TooManyExamples,
    create_example,
    delete_example,
    update_example,
)
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.publish import DirectWrite, ExampleBroken, publish
from routes.requests import InvalidRequest
from routes.rules.bulk import change_routes, reorder_routes
from routes.rules.models import Route
from routes.rules.services import create_route, delete_route, pause_route, set_default, update_route
from routes.transfer.services import import_routes
from tests.build import BY, a_plan, a_route, an_example, an_org, many_routes, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db
ALL = {"name": "all", "priority": 900, "when": {}, "then": {"target_model": "claude-haiku"}}
SHORT = {"context": {"model": "gpt-4o", "input_tokens": 800}}


def last_entry(org: Organization) -> tuple[str, dict[str, Any]]:
    entry = AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]
    return entry.action, payload_of(entry) or {}


def take_all(org: Organization, **more: Any) -> Any:
    return create_route(org, engine.NewRoute.from_dict(ALL), by=BY, **more)


# --- Keeping them -----------------------------------------------------------------------------------------------------


def test_every_change_of_an_example_has_its_entry_without_the_text_of_the_request(org: Organization) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "my secret"}]}
    row, receipt = create_example(org, name="one", request={"chat": chat}, expected={"route": None}, by=BY)
    entry = AuditEntry.objects.get(org_id=org.pk, seq=receipt.seq)
    assert (entry.action, entry.target_type, entry.target_id) == ("example.created", "example", str(row.uid))
    first = last_entry(org)[1]
    same, none = update_example(row, name="one", request={"chat": chat}, expected={"route": None}, by=BY)
    assert (none, same.revision) == (None, 1)
    row, _ = update_example(row, name="two", request=SHORT, expected={"reason": "matched"}, by=BY)
    action, payload = last_entry(org)
    assert (action, payload["was"]["name"], payload["is"]["name"], row.revision) == ("example.updated", "one", "two", 2)
    assert payload["was"]["request_sha256"] == first["request_sha256"] != payload["is"]["request_sha256"]
    delete_example(row, by=BY)
    assert last_entry(org)[0] == "example.deleted"
    assert not ExampleRequest.objects.exists()
    assert all(b"secret" not in bytes(entry.payload or b"") for entry in AuditEntry.objects.all())


def test_a_colleagues_change_is_not_lost(org: Organization) -> None:
    row = an_example(org)
    update_example(row, name="other", request=SHORT, expected={"route": None}, by=BY, expected_revision=1)
    for act in (
        lambda: update_example(row, name="mine", request=SHORT, expected={"route": None}, by=BY, expected_revision=1),
        lambda: delete_example(row, by=BY, expected_revision=1),
    ):
        with pytest.raises(StaleExample) as caught:
            act()
        assert caught.value.example.name == "other"
    delete_example(row, by=BY)
    with pytest.raises(NotFound):
        delete_example(row, by=BY)


def test_a_name_is_its_own_within_the_organisation(org: Organization) -> None:
    an_example(org, "a")
    other = an_example(org, "b")
    with pytest.raises(NameTaken, match="“a”"):
        an_example(org, "a")
    with pytest.raises(NameTaken):
        update_example(other, name="a", request=SHORT, expected={"route": None}, by=BY)
    an_example(an_org("other"), "a")


def test_a_frozen_organisation_s_examples_stay(org: Organization) -> None:
    row = an_example(org)
    freeze(org, reason="audit", by=BY)
    for act in (
        lambda: an_example(org, "b"),
        lambda: update_example(row, name="b", request=SHORT, expected={"route": None}, by=BY),
        lambda: delete_example(row, by=BY),
    ):
        with pytest.raises(OrganizationFrozen):
            act()
    assert ExampleRequest.objects.get().name == "short"


def test_an_organisation_has_at_most_two_hundred(org: Organization) -> None:
    rows = [ExampleRequest(org=org, name=f"e{n}", request=SHORT, expected={"route": None}) for n in range(200)]
    ExampleRequest.objects.bulk_create(rows)
    with pytest.raises(TooManyExamples, match="200"):
        an_example(org)
    delete_example(rows[0], by=BY)
    an_example(org)


@pytest.mark.parametrize(
    ("part", "value", "path", "code"),
    [
        ("name", " ", "name", "blank_value"),
        ("name", "a\nb", "name", "unsupported_value"),
        ("name", "n" * 201, "name", "too_long"),
        ("request", [], "request", "wrong_type"),
        ("request", {}, "request", "missing_key"),
        ("request", {"chat": None, "now": "2026-05-01T00:00:00Z"}, "request", "missing_key"),
        ("request", {**SHORT, "force": "r"}, "request.force", "unknown_key"),
        ("request", {**SHORT, "then": 1}, "request.then", "unknown_key"),
        ("request", {"context": {"input_tokens": "8"}}, "request.context.input_tokens", "wrong_type"),
        ("request", {**SHORT, "now": "noon"}, "request.now", "wrong_type"),
        (
            "request",
            {"context": {"at": "2026-05-01T00:00:00Z"}, "now": "2026-05-01T00:00:00Z"},
            "request.now",
            "conflict",
        ),
        ("request", {"chat": {"a": "\x00"}}, "request", "unsupported_value"),
        ("request", {"chat": {"a": "\ud800"}}, "request", "unsupported_value"),
        ("request", {"chat": {"a": 1e30}}, "request", "unsupported_value"),
        ("request", {"context": {"prompt": "x" * 65_536}}, "request", "too_long"),
        ("expected", {}, "expected", "missing_key"),
        ("expected", "short", "expected", "wrong_type"),
        ("expected", {"model": "m"}, "expected.model", "unknown_key"),
        ("expected", {"route": 7}, "expected.route", "wrong_type"),
        ("expected", {"target_model": ""}, "expected.target_model", "too_long"),
        ("expected", {"reason": None}, "expected.reason", "unknown_value"),
        ("expected", {"reason": []}, "expected.reason", "unknown_value"),
        ("expected", {"reason": {}}, "expected.reason", "unknown_value"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_example_is_named(org: Organization, part: str, value: Any, path: str, code: str) -> None:
    fields = {"name": "one", "request": SHORT, "expected": {"route": None}, part: value}
    with pytest.raises(InvalidExample) as caught:
        create_example(org, by=BY, **fields)
    assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [(path, code)]
    assert not ExampleRequest.objects.exists()


@pytest.mark.parametrize("kept", ["\\u0000", {"a": 2**53 - 1, "b": 0.1, "c": 5e-324}, "é “x” 🙂"], ids=str)
def test_what_is_kept_is_read_back_as_it_was(org: Organization, kept: Any) -> None:
    row = an_example(org, request={"chat": {"kept": kept}}, expected={"route": None})
    row.refresh_from_db()
    assert row.request == {"chat": {"kept": kept}}
    assert update_example(row, name="short", request=row.request, expected=row.expected, by=BY)[1] is None


def test_every_reason_that_can_be_is_known_here() -> None:
    """An example is decided by conditions: no route is asked for by name."""
    assert {*REASONS, "forced", "forced_not_found"} == set(get_args(Reason))


def test_the_time_of_a_request_is_what_it_says_and_otherwise_unknown() -> None:
    assert read_example_request(SHORT).at is None
    at = read_example_request({**SHORT, "now": "2026-05-01T08:00:00Z"}).at
    assert at == read_example_request({"context": {"at": "2026-05-01T08:00:00Z"}}).at is not None
    with pytest.raises(InvalidRequest):
        read_example_request({"context": [], "now": "2026-05-01T08:00:00Z"})


# --- What they keep from going live -----------------------------------------------------------------------------------


def test_a_change_that_breaks_an_example_is_refused_and_names_what_took_it(org: Organization) -> None:
    a_route(org)
    row = an_example(org, expected={"route": "short", "reason": "matched"})
    before = state_of(org)
    with pytest.raises(ExampleBroken) as caught:
        take_all(org)
    was = {"route": "short", "target_model": "gpt-4o-mini", "reason": "matched"}
    now = {"route": "all", "target_model": "claude-haiku", "reason": "matched"}
    told = {"id": str(row.uid), "name": "short", "expected": row.expected, "was": was, "is": now, "route": "all"}
    assert caught.value.broken == [told]
    assert "“short” expects: “short” takes it, a route decides; now “all” takes it" in str(caught.value)
    assert state_of(org) == before


def test_with_a_reason_it_goes_live_and_the_entry_keeps_both(org: Organization) -> None:
    a_route(org)
    row = an_example(org)
    with accepted.bind("the small model is gone"):
        take_all(org)
    action, payload = last_entry(org)
    assert action == "route.created"
    assert payload["accept_broken"] == "the small model is gone"
    assert payload["broken"] == [{"id": str(row.uid), "name": "short", "route": "all"}]
    assert accepted.current() == accepted.Reason()
    with publish(org.pk, by=BY, action="x.y", target=("x", "y"), accept_broken="said here") as change:
        Route.objects.filter(name="all").update(priority=1)
    assert "accept_broken" not in change.payload, "nothing broke: it holds again"
    with publish(org.pk, by=BY, action="x.y", target=("x", "y"), accept_broken="said here") as change:
        Route.objects.filter(name="all").update(priority=900)
    assert last_entry(org)[1]["accept_broken"] == "said here"


def test_an_example_that_fails_already_is_in_nobodys_way(org: Organization) -> None:
    a_route(org)
    an_example(org, expected={"target_model": "another"})
    take_all(org)
    assert [checked.holds for checked in check_all(org, engine.Engine.from_document(document_of(org)))] == [False]


def test_what_changes_no_decision_and_what_mends_one_is_not_refused(org: Organization) -> None:
    row = a_route(org)
    an_example(org)
    an_example(org, "to be", expected={"target_model": "gpt-4.1-nano"})
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    to_nano = engine.Route.from_dict({**row.as_document(), "then": {"target_model": "gpt-4.1-nano"}})
    with pytest.raises(ExampleBroken) as caught:
        update_route(org, row.uid, to_nano, by=BY)
    assert [one["name"] for one in caught.value.broken] == ["short"], "the other one holds by it"


def test_every_way_to_change_the_routes_is_held_to_the_examples(org: Organization) -> None:
    row, other = a_route(org), a_route(org, "other", priority=50, then={"target_model": "m"})
    a_route(org, "second", priority=1)
    an_example(org, expected={"route": "short", "reason": "matched"})
    an_example(org, "no route", request={"context": {"model": "x"}}, expected={"reason": "no_match"})
    renamed = engine.Route.from_dict({**row.as_document(), "name": "renamed"})
    order = [other.uid, *(one.uid for one in Route.objects.of(org).in_order() if one != other)]
    for act in (
        lambda: update_route(org, row.uid, renamed, by=BY),
        lambda: delete_route(org, row.uid, by=BY),
        lambda: pause_route(row, by=BY),
        lambda: reorder_routes(org, order, by=BY),
        lambda: set_default(org, engine.Action("m"), by=BY),
        *(lambda do=do: change_routes(org, do, [row.uid], by=BY) for do in ("disable", "pause", "delete")),
    ):
        before = state_of(org)
        with pytest.raises(ExampleBroken):
            act()
        assert state_of(org) == before


def test_apply_and_revert_are_held_to_them_too(org: Organization) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    row = an_example(org, expected={"route": None})
    with pytest.raises(ExampleBroken):
        plans.apply(plan, by=BY)
    plan.refresh_from_db()
    assert plan.state == "projected"
    with accepted.bind("it saves"):
        plans.apply(plan, by=BY)
    assert last_entry(org)[1]["accept_broken"] == "it saves"
    update_example(row, name="short", request=row.request, expected={"route": "short to mini"}, by=BY)
    plan.refresh_from_db()
    with pytest.raises(ExampleBroken):
        plans.revert(plan, by=BY)


def test_the_entry_of_an_import_of_a_thousand_routes_keeps_why_examples_broke(org: Organization) -> None:
    def content(prefix: str) -> dict[str, Any]:
        then = {"target_model": prefix}
        return {"routes": [{"name": f"{prefix} {number} {'x' * 80}", "then": then} for number in range(1_000)]}

    import_routes(org, content("old"), mode="replace", by=BY)
    row = an_example(org, expected={"target_model": "old"})
    with accepted.bind("the board wants it"):
        import_routes(org, content("new"), mode="replace", by=BY, note="as agreed")
    action, payload = last_entry(org)
    first = content("new")["routes"][0]["name"]
    assert action == "routes.imported"
    assert payload["accept_broken"] == "the board wants it"
    assert payload["broken"] == [{"id": str(row.uid), "name": "short", "route": first}]
    assert (payload["mode"], payload["note"], payload["counts"]) == (
        "replace", "as agreed", {"added": 1_000, "removed": 1_000},
    )  # fmt: skip
    assert payload["digest"] == document_of(org).digest
    assert "routes" not in payload
    assert payload["replaced"]["members"]["routes"]["count"] == 2_000


def test_a_direct_write_is_refused_for_being_one_first(org: Organization) -> None:
    a_route(org)
    an_example(org)
    Organization.objects.update(approval="all")
    with pytest.raises(DirectWrite):
        take_all(org)


def test_where_nobody_could_load_what_was_live_nothing_held(org: Organization) -> None:
    a_route(org)
    an_example(org)
    empty = engine.Engine([])
    assert len(broken_by(org, content_at(org.pk, 1) or {}, empty)) == 1
    assert broken_by(org, {"default": {"nonsense": 1}, "routes": [], "services": []}, empty) == []


def test_a_request_that_cannot_be_read_any_more_fails_and_blocks_nothing(org: Organization) -> None:
    a_route(org)
    ExampleRequest.objects.filter(pk=an_example(org).pk).update(request={"context": {"gone": 1}})
    (checked,) = check_all(org, engine.Engine.from_document(document_of(org)))
    assert (checked.found, checked.holds, in_words(checked.found)) == (None, False, "it cannot be read any more")
    take_all(org)


def test_a_hundred_examples_take_no_longer_than_the_compiling_that_is_done_anyway(org: Organization) -> None:
    many_routes(org, 1_000)
    for number in range(100):
        an_example(org, f"e{number}", expected={"route": None}, request={"context": {"model": "none", "prompt": "x y"}})
    document = document_of(org)

    def best(act: Any) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            act()
            times.append(time.perf_counter() - began)
        return min(times)

    routes = engine.Engine.from_document(document)
    assert broken_by(org, document.content, routes) == []
    checking = best(lambda: broken_by(org, document.content, routes))
    assert checking < best(lambda: engine.Engine.from_document(document))
