"""What pages ask for once they are there: how many requests a route would match, and how many each route took."""

import re
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client
from django.utils import timezone

from plans.logs.models import RequestLog
from plans.matching import services
from plans.matching.sampling import sample_of
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.build import START, a_person, a_route, an_org, many_routes, prices, traffic, usual_prices
from tests.routes.rules.test_route_form import NEW

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_at_hand() -> None:
    services._kept.clear()


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def matching(client: Client, org: Organization, of: Route | None = None, **fields: Any) -> dict[str, Any]:
    at = f"/admin/o/{org.slug}/logs/matching/{f'{of.uid}/' if of else ''}"
    answer = client.post(at, {**NEW, **fields})
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    return said


def hits(client: Client, org: Organization) -> dict[str, Any]:
    said: dict[str, Any] = client.get(f"/admin/o/{org.slug}/logs/hits/").json()
    return said


def test_an_empty_log_is_said_to_be_empty(client: Client, org: Organization) -> None:
    row = a_route(org)
    said = matching(client, org)
    assert (said["sample"], said["matched"], said["words"]) == (0, 0, "No requests are logged yet.")
    assert hits(client, org) == {
        "sample": 0, "total": 0, "is_whole": True, "window": None, "words": "No requests are logged yet.",
        "hits": {str(row.uid): {"count": 0, "share": None}}, "is_told": False,
    }  # fmt: skip
    traffic(org)
    assert matching(client, org)["sample"] == 40, "the first import shows at once"


def test_a_draft_is_counted_in_its_place(client: Client, org: Organization) -> None:
    traffic(org)
    row = a_route(org, "short", priority=50, when={"input_tokens_lt": 500})
    said = matching(client, org, input_tokens_lt="1050")
    assert (said["sample"], said["total"], said["is_whole"]) == (40, 40, True)
    assert (said["matched"], said["taken_above"], said["unknown"], said["share"]) == (10, 0, 0, 0.25)
    assert said["words"] == "10 of all 40 requests of the week until 2026-05-01 match (25.0%)."
    assert said["window"]["to"] == (START + timedelta(minutes=40, microseconds=1)).isoformat()
    low = matching(client, org, input_tokens_lt="1050", priority="10")
    assert low["taken_above"] == 4
    assert low["words"].endswith("match (25.0%). 4 of them are taken by routes above.")
    assert matching(client, org, row, input_tokens_lt="1050", priority="10")["taken_above"] == 0, "not by itself"
    assert matching(client, org, input_tokens_lt="300", priority="10")["words"].endswith(
        "All of them are taken by routes above."
    )
    assert matching(client, org, headers="x = a")["words"].endswith(
        "match (0.0%). Of 40 more nobody can tell: the log lacks a fact that a condition asks for."
    )


def test_a_sample_says_so_with_its_interval(client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic(org, 400)
    RequestLog.objects.update(ts=timezone.now() - timedelta(days=2))
    found = services.sample_of
    monkeypatch.setattr(services, "sample_of", lambda org_id, now: found(org_id, now, most=100))
    said = matching(client, org, input_tokens_lt="20050")
    matched = said["matched"]
    assert 35 < matched < 65
    low, high = said["interval"]
    assert low < said["share"] < high
    assert said["words"] == (
        f"About {matched} of 100 sampled requests of the last week match ({matched:.1f}%, 95% interval"
        f" {100 * low:.1f}% to {100 * high:.1f}%; of about 400)."
    )


def test_texts_are_asked_for_where_a_condition_is_on_them(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic(org)
    body = {"model": "m", "messages": [{"role": "user", "content": "a refund please"}]}
    RequestLog.objects.filter(request_id__in=["r1", "r2"]).update(body=body)
    for most, is_kept in ((10, False), (100, True)):
        monkeypatch.setattr(services, "_MOST_TEXT", most)
        said = matching(client, org, prompt_contains_any_of="refund", enabled="")
        assert (said["matched"], said["unknown"]) == (2, 38)
        assert (services._kept[org.pk]._with_texts is not None) == is_kept


def test_a_form_with_mistakes_is_not_counted(client: Client, org: Organization) -> None:
    answer = client.post(f"/admin/o/{org.slug}/logs/matching/", {**NEW, "name": ""})
    assert answer.status_code == 422
    assert answer.json()["mistakes"][0]["field"] == "id_name"


def test_hits_are_what_the_log_says_of_each_live_route(client: Client, org: Organization) -> None:
    traffic(org)
    first, second = a_route(org, "first"), a_route(org, "second")
    RequestLog.objects.filter(input_tokens__lte=1000).update(matched_route_id=first.uid)
    said = hits(client, org)
    assert said["hits"] == {str(first.uid): {"count": 10, "share": 0.25}, str(second.uid): {"count": 0, "share": 0.0}}
    assert said["words"] == "What each route took of all 40 requests of the week until 2026-05-01."


def test_a_log_that_names_no_route_is_decided_on_by_todays(client: Client, org: Organization) -> None:
    traffic(org)
    short = a_route(org, "short", when={"input_tokens_lt": 500})
    rest, off = a_route(org, "rest", priority=1, when={}), a_route(org, "off", priority=2, when={}, enabled=False)
    said = hits(client, org)
    assert (said["is_told"], said["sample"]) == (False, 40)
    taken = {each: said["hits"][str(each.uid)]["count"] for each in (short, rest, off)}
    assert taken == {short: 4, rest: 36, off: 0}
    assert said["words"] == (
        "What today’s routes would take of all 40 requests of the week until 2026-05-01:"
        " the log does not say which route took them."
    )


def test_routes_that_this_machine_cannot_serve_are_not_counted(client: Client, org: Organization) -> None:
    traffic(org)
    a_route(org, "hours", when={"time_window": {"from": "08:00", "to": "09:00", "tz": "Europe/Berlin"}})
    with patch("routes.engine.times.zone_named", side_effect=LookupError):
        answer = client.get(f"/admin/o/{org.slug}/logs/hits/")
    assert answer.status_code == 409
    assert "The time zone 'Europe/Berlin' is not known here" in answer.json()["detail"]


def test_no_other_organisation_is_looked_at(client: Client, org: Organization) -> None:
    other = an_org("other")
    traffic(other)
    foreign = a_route(other)
    assert matching(client, org)["sample"] == 0
    assert hits(client, org)["hits"] == {}
    assert client.post(f"/admin/o/{org.slug}/logs/matching/{foreign.uid}/", NEW).status_code == 404
    assert client.post(f"/admin/o/{other.slug}/logs/matching/", NEW).status_code == 404


def test_the_sample_is_at_hand_for_a_minute(
    client: Client, org: Organization, django_assert_max_num_queries: Any
) -> None:
    traffic(org)
    many_routes(org, 30)
    matching(client, org)
    hits(client, org)
    with django_assert_max_num_queries(8):
        matching(client, org)
    with django_assert_max_num_queries(7):
        hits(client, org)
    now = timezone.now()
    services._kept[org.pk].until = now
    kept = services._kept[org.pk]
    assert services.newest_week(org.pk, now) is not kept


def test_samples_of_a_few_organisations_are_kept(org: Organization) -> None:
    now = timezone.now()
    for number in range(services.KEPT + 2):
        one = an_org(f"org{number}")
        traffic(one, 1)
        services.newest_week(one.pk, now)
    assert len(services._kept) == services.KEPT


def test_who_may_ask(client: Client, org: Organization) -> None:
    viewer = Client()
    viewer.force_login(a_person("vera", org, "viewer"))
    assert viewer.get(f"/admin/o/{org.slug}/logs/hits/").status_code == 200
    assert viewer.post(f"/admin/o/{org.slug}/logs/matching/", NEW).status_code == 403
    assert client.get(f"/admin/o/{org.slug}/logs/matching/").status_code == 405
    assert client.post(f"/admin/o/{org.slug}/logs/hits/").status_code == 405


def week(client: Client, org: Organization) -> str:
    answer = client.get(f"/admin/o/{org.slug}/logs/week/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", answer.content.decode()))


def test_the_newest_week_is_told_in_figures(client: Client, org: Organization) -> None:
    assert "No requests are logged yet." in week(client, org)
    traffic(org)
    RequestLog.objects.filter(request_id__in=["r1", "r2"]).update(status=500, model="small", cost_usd=None)
    services._kept.clear()
    said = week(client, org)
    # 38 rows of 100 n tokens at $2.50 and 50 at $10 a million: 81,700 and 1,900.
    assert "Requests 40 Cost $0.22 Failed 5.0%" in said
    assert "gpt-4o 95.0% 100.0% small 5.0% 0.0%" in said
    assert "2 of them have no cost." in said
    assert "No price is known of gpt-4o, small:" in said
    usual_prices()
    assert "No price is known of small:" in week(client, org)
    prices(small=("1", "2"))
    assert "No price is known" not in week(client, org)
    assert "No requests are logged yet." in week(client, an_org_of(client))


def an_org_of(client: Client) -> Organization:
    other = an_org("other")
    client.force_login(a_person("olga", other, "viewer"))
    return other


def test_of_a_large_week_an_estimate_is_told_with_how_far_it_is_off(client: Client, org: Organization) -> None:
    traffic(org, 400)
    with patch("plans.matching.services.sample_of", partial(sample_of, most=100, listed=10)):
        said = week(client, org)
    found = re.search(r"Requests about ([\d,]+) Cost about \$([\d.]+) ± \$([\d.]+)", said)
    assert found, said
    cost = sum(float(row.cost_usd or 0) for row in RequestLog.objects.all())
    total, estimate, off = (float(text.replace(",", "")) for text in found.groups())
    assert abs(total - 400) < 200
    assert 0 < off < estimate
    assert abs(estimate / total - cost / 400) < 3 * off / total
    assert "From 100 sampled requests" in said


def test_models_beyond_the_first_few_are_one_line(client: Client, org: Organization) -> None:
    traffic(org, 36)
    models = [f"m{n}" for n in range(8) for _ in range(8 - n)]
    for row, model in zip(RequestLog.objects.order_by("ts"), models, strict=True):
        RequestLog.objects.filter(pk=row.pk).update(model=model)
    said = week(client, org)
    assert re.search(r"m0 22.2% .* m4 11.1% [\d.]+% 3 others 16.7%", said)
    assert "No price is known of m0, m1, m2, m3, m4 and 3 more:" in said


def test_a_week_without_first_attempts_says_so(client: Client, org: Organization) -> None:
    traffic(org, kind="fallback")
    assert re.search(r"There are no requests in the week until 2026-05-\d\d", week(client, org))
