"""The log through the API and the admin's page: what is shown, to whom, and what is refused."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from audit.actors import Actor, system
from audit.log.entry import time_text
from audit.models import AuditEntry, AuditHead, Refusal
from audit.services import record
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.rules.services import pause_route
from tests.audit.build import TABLE, sql, without_triggers
from tests.build import BY, a_person, a_route, an_org, sign_logs
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db


@pytest.fixture
def org() -> Organization:
    return an_org()


@pytest.fixture
def program(org: Organization) -> Client:
    key = create_key(org, name="reader", role="viewer", by=a_person("edda", org, "viewer"))
    return Client(headers={"Authorization": f"Bearer {key.text}"})


@pytest.fixture
def signed_in(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("arno", org, "viewer"))
    return client


def happened(org: Organization, count: int = 1, **fields: Any) -> None:
    with transaction.atomic():
        for n in range(count):
            said: dict[str, Any] = {
                "by": system("test"),
                "action": "test.happened",
                "target": ("thing", str(n)),
                **fields,
            }
            record(org.pk, **said)


def listed(program: Client, org: Organization, query: str = "") -> list[dict[str, Any]]:
    answer = program.get(f"/api/v1/orgs/{org.slug}/audit/{query}")
    assert answer.status_code == 200, answer.content
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


# --- The API ----------------------------------------------------------------------------------------------------------


def test_an_item_says_what_its_entry_says(program: Client, org: Organization) -> None:
    happened(
        org,
        by=Actor("api_key", "k1", "7", "ci"),
        action="route.paused",
        target=("route", "r1"),
        payload={"why": "<b>"},
        version_before=1,
        version_after=2,
    )
    row = AuditEntry.objects.of(org.pk).latest("seq")
    assert listed(program, org)[0] == {
        "log": row.log,
        "seq": row.seq,
        "ts": time_text(row.ts),
        "actor": {"type": "api_key", "id": "k1", "on_behalf_of": "7"},
        "action": "route.paused",
        "target": {"type": "route", "id": "r1"},
        "request_id": None,
        "version_before": 1,
        "version_after": 2,
        "leaf_hash": bytes(row.leaf_hash).hex(),
        "payload": {"why": "<b>", "actor_name": "ci"},
    }


def test_items_come_newest_first_page_by_page_and_none_is_missed(program: Client, org: Organization) -> None:
    happened(org, 7)
    size = AuditHead.objects.get(org_id=org.pk).size
    seen: list[int] = []
    url: str | None = f"/api/v1/orgs/{org.slug}/audit/?limit=3"
    while url:
        page = program.get(url).json()
        assert len(page["results"]) <= 3
        seen += [item["seq"] for item in page["results"]]
        url = page["next"]
        happened(org)  # what is written meanwhile moves no page
    assert seen == list(range(size - 1, -1, -1))


def test_filters_choose_and_combine(program: Client, org: Organization) -> None:
    happened(org, by=Actor("user", "u1"), action="a.a", target=("x", "1"))
    happened(org, by=Actor("api_key", "k1", "u1"), action="a.b", target=("x", "2"))
    happened(org, by=Actor("user", "u2"), action="a.b", target=("y", "2"))

    def found(query: str) -> list[str]:
        return [
            f"{e['actor']['id']} {e['action']} {e['target']['type']}{e['target']['id']}"
            for e in listed(program, org, query)
        ]

    assert found("?action=a.b") == ["u2 a.b y2", "k1 a.b x2"]
    assert found("?actor=u1") == ["k1 a.b x2", "u1 a.a x1"], "a person is also behind the acts of one's keys"
    assert found("?target_type=x&target_id=2") == ["k1 a.b x2"]
    assert found("?actor=u1&action=a.b") == ["k1 a.b x2"]
    assert found("?action=a.c") == []


def test_since_is_part_of_the_window_and_until_is_not(program: Client, org: Organization) -> None:
    happened(org, 3)
    newest, second = listed(program, org)[:2]
    assert second["ts"] < newest["ts"], "else this test could not fail"
    assert listed(program, org, f"?since={newest['ts']}") == [newest]
    assert listed(program, org, f"?since={second['ts']}&until={newest['ts']}") == [second]
    east = datetime.fromisoformat(newest["ts"]).isoformat().replace("+00:00", "%2B00:00")
    assert listed(program, org, f"?since={east}") == [newest]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("?since=yesterday", "since", "bad_time"),
        ("?since=2026-11-21", "since", "bad_time"),
        ("?until=2026-11-21T08:00:00", "until", "bad_time"),
        ("?until=2026-02-30T08:00:00Z", "until", "bad_time"),
        ("?since=0001-01-01T00:00:00%2B14:00", "since", "bad_time"),
        ("?until=9999-12-31T23:59:59-14:00", "until", "bad_time"),
        ("?action=%00", "action", "bad_text"),
        ("?actor=a%00b", "actor", "bad_text"),
        ("?target_id=%00", "target_id", "bad_text"),
        ("?acton=x", "acton", "unknown_key"),
    ],
)
def test_a_filter_that_cannot_be_read_is_named(
    program: Client, org: Organization, query: str, field: str, code: str
) -> None:
    answer = program.get(f"/api/v1/orgs/{org.slug}/audit/{query}")
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(f"/{field}", code)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0001-01-01T00:00:00%2B14:00", "A time is between the years 1 and 9999 in UTC."),
        ("9999-12-31T23:59:59-14:00", "A time is between the years 1 and 9999 in UTC."),
        ("2026-11-21T08:00:00", "Write a time with its zone, like 2026-11-21T08:00:00Z."),
    ],
)
def test_whoever_writes_a_time_is_told_what_is_wrong_with_it(
    program: Client, org: Organization, text: str, told: str
) -> None:
    for name in ("audit", "request-logs"):
        answer = program.get(f"/api/v1/orgs/{org.slug}/{name}/?since={text}")
        assert [one["detail"] for one in answer.json()["errors"]] == [told]


def test_nobody_reads_the_log_of_another_organisation(program: Client, org: Organization, signed_in: Client) -> None:
    other = an_org("other")
    happened(other, action="secret.act")
    happened(org)
    assert program.get(f"/api/v1/orgs/{other.slug}/audit/").status_code == 404
    assert signed_in.get(f"/admin/o/{other.slug}/audit/").status_code == 404
    assert signed_in.post(f"/admin/o/{other.slug}/audit/verify/").status_code == 404
    assert "secret.act" not in {item["action"] for item in listed(program, org)}
    assert "secret.act" not in signed_in.get(f"/admin/o/{org.slug}/audit/").text
    assert Client().get(f"/api/v1/orgs/{org.slug}/audit/").status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_api_writes_nothing(program: Client, org: Organization, method: str) -> None:
    assert getattr(program, method)(f"/api/v1/orgs/{org.slug}/audit/").status_code == 405


# --- The page ---------------------------------------------------------------------------------------------------------


def numbers(page: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'<td class="num">(\d+)</td>', page)]


def test_the_page_shows_fifty_and_leads_to_older_ones(signed_in: Client, org: Organization) -> None:
    happened(org, 60)
    size = AuditHead.objects.get(org_id=org.pk).size
    url = f"/admin/o/{org.slug}/audit/"
    first = signed_in.get(url).text
    assert numbers(first) == list(range(size - 1, size - 51, -1))
    older = re.search(r'href="(\?[^"]*before=1\.\d+)"', first)
    assert older is not None
    second = signed_in.get(url + older[1]).text
    assert numbers(second) == list(range(size - 51, -1, -1))
    assert "before=" not in second


def test_a_filter_of_the_page_stays_on_older_pages(signed_in: Client, org: Organization) -> None:
    happened(org, 55, action="a.a")
    happened(org, 3, action="a.b")
    first = signed_in.get(f"/admin/o/{org.slug}/audit/?action=a.a").text
    assert len(numbers(first)) == 50
    assert "?action=a.a&amp;before=" in first
    assert numbers(signed_in.get(f"/admin/o/{org.slug}/audit/?action=a.b&actor=test").text)[0] > numbers(first)[0]


def test_the_page_says_in_words_what_was_done_with_the_action_beside_it(signed_in: Client, org: Organization) -> None:
    pause_route(a_route(org, "x"), by=BY)
    happened(org, action="test.<b>")
    page = signed_in.get(f"/admin/o/{org.slug}/audit/").text
    assert '<div>Route paused<div class="mono whole muted">route.paused</div></div>' in page
    assert '<option value="route.paused">Route paused (route.paused)</option>' in page
    assert "<div>test.&lt;b&gt;</div>" in page, "what has no words is told as it is"
    chosen = signed_in.get(f"/admin/o/{org.slug}/audit/?action=route.paused").text
    assert '<option value="route.paused" selected>' in chosen
    assert len(numbers(chosen)) == 1


@pytest.mark.parametrize("zone", ["", "Z"])
def test_the_times_of_the_page_are_picked_in_utc(signed_in: Client, org: Organization, zone: str) -> None:
    happened(org, 3)
    url = f"/admin/o/{org.slug}/audit/"
    assert 'name="since" type="datetime-local" value="" step="any"' in signed_in.get(url).text
    page = signed_in.get(url, {"since": f"2026-01-02T03:04{zone}", "until": f"2026-01-02T03:04:05.678{zone}"}).text
    assert 'name="since" type="datetime-local" value="2026-01-02T03:04" step="any"' in page
    assert 'name="until" type="datetime-local" value="2026-01-02T03:04:05.678" step="any"' in page
    assert numbers(page) == []
    assert f'No entry fits. <a href="{url}">Show all entries.</a>' in page
    assert f'<a class="btn" href="{url}">Show all</a>' in page
    assert "Show all" not in signed_in.get(url).text
    now = timezone.now().astimezone(UTC)
    east = timezone.get_fixed_timezone(300)
    for since in (now - timedelta(minutes=1), now + timedelta(minutes=1)):
        for text in (since.strftime(f"%Y-%m-%dT%H:%M:%S{zone}"), since.astimezone(east).isoformat()):
            assert bool(numbers(signed_in.get(url, {"since": text}).text)) is (since < now)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-02-30T08:00", "2026-01-02T03:04:05.678901Z", "2026-01-02T03:04+05:00"]
)
def test_what_a_field_for_times_would_empty_stays_in_it(signed_in: Client, org: Organization, text: str) -> None:
    page = signed_in.get(f"/admin/o/{org.slug}/audit/", {"since": text}).text
    assert f'name="since" type="text" value="{text}">' in page


def test_a_payload_is_shown_as_text(signed_in: Client, org: Organization) -> None:
    happened(org, payload={"note": "<script>alert(1)</script>"})
    page = signed_in.get(f"/admin/o/{org.slug}/audit/").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page), "the strict policy blocks inline styles and handlers"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?since=yesterday", "since: Write a time with its zone, like 2026-11-21T08:00:00Z."),
        ("?action=%00", "action: Text with U+0000."),
        ("?until=9999-12-31T23:59:59-14:00", "until: A time is between the years 1 and 9999 in UTC."),
    ],
)
def test_a_filter_that_cannot_be_read_is_said_on_the_page(
    signed_in: Client, org: Organization, query: str, said: str
) -> None:
    answer = signed_in.get(f"/admin/o/{org.slug}/audit/{query}")
    assert answer.status_code == 200
    assert f'<div class="notice notice-bad" role="alert">{said}</div>' in answer.text


@pytest.mark.parametrize("before", ["x", "-1", "1.²", "1." + "9" * 30, "0.5", ""])
def test_a_place_that_is_none_is_ignored(signed_in: Client, org: Organization, before: str) -> None:
    assert numbers(signed_in.get(f"/admin/o/{org.slug}/audit/", {"before": before}).text)


def test_the_page_says_what_is_signed_and_leads_to_what_shows_it(signed_in: Client, org: Organization) -> None:
    url = f"/admin/o/{org.slug}/audit/"
    assert "Nothing is signed yet" in signed_in.get(url).text
    happened(org, 2)
    sign_logs()
    size = AuditHead.objects.get(org_id=org.pk).size
    happened(org)
    page = signed_in.get(url).text
    assert f"Signed up to entry {size - 1}, confirmed" in page
    links = set(re.findall(rf'href="(/api/v1/orgs/{org.slug}/audit/[^"]+)"', page))
    proofs = {f"/api/v1/orgs/{org.slug}/audit/{seq}/proof/" for seq in range(size)}
    assert links == proofs | {f"/api/v1/orgs/{org.slug}/audit/{name}/" for name in ("export", "checkpoint")}
    assert {signed_in.get(link).status_code for link in links} == {200}


def test_the_page_says_that_the_signer_refuses_the_log(signed_in: Client, org: Organization) -> None:
    log = AuditHead.objects.get(org_id=org.pk).log
    Refusal.objects.create(log=log, since=timezone.now(), rule="cut", message="Of 5 entries 3 are left.")
    Refusal.objects.create(log="other.example/audit/x", since=timezone.now(), rule="cut", message="Of 9 entries none.")
    page = signed_in.get(f"/admin/o/{org.slug}/audit/").text
    assert "Of 5 entries 3 are left." in page
    assert "manage.py audit_epoch" in page
    assert "Of 9 entries" not in page


def test_entries_of_all_logs_of_an_organisation_are_listed(signed_in: Client, org: Organization) -> None:
    old = AuditHead.objects.get(org_id=org.pk)
    happened(org, 30)
    AuditHead.objects.filter(pk=old.pk).update(is_current=False)
    AuditHead.objects.create(org_id=org.pk, log=f"{old.log}/e2", epoch=2)
    happened(org, 40)
    url = f"/admin/o/{org.slug}/audit/"
    first = signed_in.get(url).text
    assert first.count('title="The log with this number"') == 40
    older = re.search(r'href="(\?[^"]*before=1\.\d+)"', first)
    assert older is not None
    rows = AuditEntry.objects.filter(org_id=org.pk)
    assert (
        first.count('<td class="num">') + signed_in.get(url + older[1]).text.count('<td class="num">') == rows.count()
    )


def test_verify_now_says_what_it_found(signed_in: Client, org: Organization) -> None:
    happened(org, 4)
    url = f"/admin/o/{org.slug}/audit/verify/"
    size = AuditHead.objects.get(org_id=org.pk).size
    good = signed_in.post(url).text
    assert f"<strong>Verified:</strong> {size} entries" in good
    with without_triggers():
        sql(f"UPDATE {TABLE} SET action = 'forged' WHERE seq = 2")
    bad = signed_in.post(url).text
    assert "<strong>Tampered at entry 2.</strong>" in bad
    assert "wrong_column" in bad
    assert "Verified:" not in bad


def test_verify_now_is_asked_for_and_not_followed_from_a_link(signed_in: Client, org: Organization) -> None:
    url = f"/admin/o/{org.slug}/audit/verify/"
    assert signed_in.get(url).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = signed_in.cookies
    assert strict.post(url).status_code == 403


@pytest.mark.skipif(ON_POSTGRES, reason="PostgreSQL keeps the types of its columns")
@pytest.mark.parametrize("change", ["leaf_hash = 'x'", "payload = 100000000000000", "payload = x'5b375d'"])
def test_garbage_in_the_table_is_said_to_be_there(
    program: Client, signed_in: Client, org: Organization, change: str
) -> None:
    happened(org, 3)
    with without_triggers():
        sql(f"UPDATE {TABLE} SET {change} WHERE seq = 2 AND org_id IS NOT NULL")
    answer = program.get(f"/api/v1/orgs/{org.slug}/audit/")
    assert (answer.status_code, answer.json()["code"]) == (503, "log_damaged")
    page = signed_in.get(f"/admin/o/{org.slug}/audit/").content.decode()
    assert "Some of these entries cannot be read" in page
    page = signed_in.post(f"/admin/o/{org.slug}/audit/verify/").content.decode()
    assert "Tampered at entry 2" in page


def test_on_the_page_somebody_is_found_by_name(signed_in: Client, org: Organization) -> None:
    edda = a_person("Edda", org, "editor")
    pause_route(a_route(org, "of edda"), by=edda)
    for text in ("edda", "Edda", str(edda.pk)):
        page = signed_in.get(f"/admin/o/{org.slug}/audit/", {"actor": text}).content.decode()
        assert ("route.paused" in page.split("<tbody>")[1], "route.created" in page.split("<tbody>")[1]) == (
            True,
            False,
        )
        assert f'name="actor" value="{text}"' in page
    assert signed_in.get(f"/admin/o/{org.slug}/audit/", {"actor": "nobody\0"}).status_code == 200


def test_a_page_without_entries_says_why_there_are_none(signed_in: Client, org: Organization) -> None:
    happened(org, 1)
    url = f"/admin/o/{org.slug}/audit/"
    assert (
        f'There are no older entries. <a href="{url}">Show the newest.</a>'
        in signed_in.get(url, {"before": "1.0"}).text
    )
    staff = Client()
    staff.force_login(a_person("root", is_superuser=True))
    assert not AuditHead.objects.filter(org_id=None).exists()
    assert "Nothing was recorded yet." in staff.get("/admin/audit/").text
