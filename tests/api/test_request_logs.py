"""`request-logs/`: rows in, each for itself, and rows out."""

import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from audit.models import AuditEntry
from plans.logs import api
from plans.logs.models import RequestLog
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routes.rules.services import delete_route
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import BY, a_person, a_route, an_org, traffic

pytestmark = pytest.mark.django_db
ROW = {
    "request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "gpt-4o", "requested_model": "gpt-4o", "input_tokens": 10,
    "output_tokens": 5, "cost_usd": "0.000000001", "tag": "a",
}  # fmt: skip


@pytest.fixture
def gateway(org: Organization) -> Client:
    made = create_key(org, name="gw", kind="gateway", by=a_person("root", is_superuser=True))
    return Client(headers={"Authorization": f"Bearer {made.text}"})


def lines(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def send(client: Client, org: Organization, body: bytes, query: str = "", **headers: str) -> Any:
    url = f"/api/v1/orgs/{org.slug}/request-logs/{query}"
    return client.post(url, body, content_type="application/x-ndjson", headers=headers)


def test_each_row_is_accepted_repeated_or_refused_for_itself(gateway: Client, org: Organization) -> None:
    body = lines(
        ROW, {**ROW, "request_id": "r2"}, {**ROW, "input_tokens": -1}, b"{", ROW, {**ROW, "request_id": "r3", "x": 1}
    )
    answer = send(gateway, org, body).json()
    assert {key: answer[key] for key in ("read", "accepted", "repeated", "refused_total")} == {
        "read": 6, "accepted": 2, "repeated": 1, "refused_total": 3,
    }  # fmt: skip
    assert [one["line"] for one in answer["refused"]] == [3, 4, 6]
    assert "input_tokens" in answer["refused"][0]["reason"]
    again = send(gateway, org, body).json()
    assert (again["accepted"], again["repeated"]) == (0, 3)
    assert RequestLog.objects.of(org).count() == 2


@pytest.mark.parametrize(
    "first",
    [b"{", b"[", b"[1]", b"[{", b'{"rows": [{', b'{"rows": [{"x": 1}]}', b"nonsense", b"\xef\xbb\xbf{", b"PAR1\0",
     b"\xff\xfe", b"\n {"],
)  # fmt: skip
def test_no_line_decides_about_the_others(gateway: Client, org: Organization, first: bytes) -> None:
    rows = [{**ROW, "request_id": f"r{n}"} for n in range(6)]
    answer = send(gateway, org, lines(first, *rows, b"{")).json()
    assert (answer["accepted"], answer["refused_total"]) == (6, 2)
    begin = 1 + first.count(b"\n")
    assert [one["line"] for one in answer["refused"]] == [begin, begin + 7]


def test_what_gateways_send_is_traffic_and_what_people_send_is_recorded(
    gateway: Client, editor: Caller, viewer: Caller, org: Organization
) -> None:
    entries = AuditEntry.objects.count()
    send(gateway, org, lines(ROW))
    assert AuditEntry.objects.count() == entries
    send(editor.client, org, lines({**ROW, "request_id": "r2"}))
    assert AuditEntry.objects.filter(action="logs.imported").count() == 1
    problem(send(viewer.client, org, lines(ROW)), 403, "forbidden")
    problem(send(gateway, an_org("other"), lines(ROW)), 404, "not_found")
    dry = send(editor.client, org, lines({**ROW, "request_id": "r3"}), "?dry_run=1").json()
    assert (dry["accepted"], dry["dry_run"], RequestLog.objects.of(org).count()) == (1, True, 2)


def test_a_dry_run_answers_what_the_same_rows_are_answered_then(editor: Caller, org: Organization) -> None:
    rows = [{**ROW, "request_id": f"r{n % 1100}"} for n in range(1200)]
    send(editor.client, org, lines(*rows[:10]))
    body = lines({"request_id": "x"}, *rows, ROW, b"{")
    entries = AuditEntry.objects.count()
    dry = send(editor.client, org, body, "?dry_run=1").json()
    assert (RequestLog.objects.of(org).count(), AuditEntry.objects.count()) == (10, entries)
    assert dry == {**send(editor.client, org, body).json(), "dry_run": True}
    assert (dry["accepted"], dry["repeated"], dry["refused_total"]) == (1090, 111, 2)


def test_a_body_may_be_packed_but_not_without_bounds(
    gateway: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = lines(*({**ROW, "request_id": f"r{n}"} for n in range(100)))
    packed = gzip.compress(body)
    assert send(gateway, org, packed, **{"Content-Encoding": "gzip"}).json()["accepted"] == 100
    monkeypatch.setattr(api, "MAX_UNPACKED", len(body) - 1)
    problem(send(gateway, org, packed, **{"Content-Encoding": "gzip"}), 413, "payload_too_large")
    monkeypatch.setattr(api, "MAX_BYTES", len(body) - 1)
    problem(send(gateway, org, body), 413, "payload_too_large")


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_request_has_so_many_lines_at_most_blank_ones_too(
    gateway: Client, org: Organization, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(api, "MAX_LINES", 4)
    body = lines(ROW) + b"\n\n" + json.dumps({**ROW, "request_id": "r2"}).encode() + end
    for sent, coding in ((body, "identity"), (gzip.compress(body), "gzip")):
        answer = send(gateway, org, sent, **{"Content-Encoding": coding})
        if end == b"\n\n":
            refused = problem(answer, 413, "too_many_rows")
            assert refused["detail"] == "A request may have 4 lines, blank ones too. Send the rows in several requests."
        else:
            assert answer.json()["read"] == 2
    assert RequestLog.objects.count() == (0 if end == b"\n\n" else 2)


def test_four_million_lines_in_twelve_kilobytes_are_refused_at_once(gateway: Client, org: Organization) -> None:
    packed = gzip.compress(b"{}\n" * (4 * 2**20))
    problem(send(gateway, org, packed, **{"Content-Encoding": "gzip"}), 413, "too_many_rows")


def test_a_body_is_packed_in_so_many_members_at_most(gateway: Client, org: Organization) -> None:
    filled = gzip.compress(lines(ROW)) + b"\0" * 70_000 + gzip.compress(lines({**ROW, "request_id": "r2"})) + b"\0"
    assert send(gateway, org, filled, **{"Content-Encoding": "gzip"}).json()["accepted"] == 2
    empty = gzip.compress(b"") * 998
    assert send(gateway, org, empty + filled, **{"Content-Encoding": "gzip"}).json()["repeated"] == 2
    for sent in (empty + gzip.compress(b"") + filled, empty * 100):
        problem(send(gateway, org, sent, **{"Content-Encoding": "gzip"}), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (b"", "identity", 400, "malformed_body"),
        (b"", "gzip", 400, "malformed_body"),
        (b"no gzip", "gzip", 400, "malformed_body"),
        (gzip.compress(lines(ROW))[:-9], "gzip", 400, "malformed_body"),
        (gzip.compress(lines(ROW)) + b"more", "gzip", 400, "malformed_body"),
        (gzip.compress(lines(ROW)) + b"\x1f", "gzip", 400, "malformed_body"),
        (gzip.compress(lines(ROW))[:-8] + bytes(8), "gzip", 400, "malformed_body"),
        (lines(ROW), "br", 415, "unsupported_media_type"),
    ],
    ids=["nothing", "nothing packed", "no gzip", "cut", "more behind", "another begins", "sums", "another"],
)
def test_what_is_packed_wrongly_stores_nothing(
    gateway: Client, org: Organization, body: bytes, coding: str, status: int, code: str
) -> None:
    problem(send(gateway, org, body, **{"Content-Encoding": coding}), status, code)
    assert not RequestLog.objects.exists()


def test_json_that_is_no_lines_is_another_media_type(gateway: Client, org: Organization) -> None:
    answer = gateway.post(f"/api/v1/orgs/{org.slug}/request-logs/", lines(ROW), content_type="application/json")
    problem(answer, 415, "unsupported_media_type")


def test_logs_are_listed_newest_first_and_narrowed(viewer: Caller, editor: Caller, org: Organization) -> None:
    send(editor.client, org, lines(ROW, {**ROW, "request_id": "r2", "ts": "2026-05-02T00:00:00Z", "tag": None}))
    first, second = viewer("get", "request-logs/").json()["results"]
    assert (first["request_id"], second["request_id"]) == ("r2", "r1")
    assert (second["ts"], second["cost_usd"], second["tag"]) == ("2026-05-01T12:00:00.000000Z", 1e-9, "a")
    assert first["tag"] is None
    for query, found in [
        ("since=2026-05-02T00:00:00Z", ["r2"]), ("until=2026-05-02T00:00:00Z", ["r1"]), ("tag=a", ["r1"]),
        ("model=other", []), ("request_id=r2", ["r2"]), ("ordering=ts", ["r1", "r2"]), ("status=200&limit=1", ["r2"]),
    ]:  # fmt: skip
        rows = viewer("get", f"request-logs/?{query}").json()["results"]
        assert [row["request_id"] for row in rows] == found, query
    for query in ("since=2026-05-02", "status=x", "matched_route_id=1", "tag=%00", "ordering=cost", "modle=x"):
        assert viewer("get", f"request-logs/?{query}").status_code == 422, query


def test_a_list_of_logs_takes_two_queries(viewer: Caller, org: Organization, django_assert_num_queries: Any) -> None:
    traffic(org)
    viewer("get", "routes/")
    for limit in (1, 30):
        with django_assert_num_queries(2):
            assert len(viewer("get", f"request-logs/?limit={limit}").json()["results"]) == limit


# --- Why one went where it did ----------------------------------------------------------------------------------------


def test_a_logged_request_is_explained_then_and_now(viewer: Caller, org: Organization) -> None:
    route = a_route(org, "short ones")
    taken = {"matched_route_id": route.uid, "reason": "matched", "decided_version": 1, "model": "gpt-4o-mini"}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "secret"}]}
    traffic(org, 1, **taken, request_id="a/b?c=d&e", fact_input_tokens=90, body=body)
    delete_route(org, str(route.uid), by=BY, expected_revision=route.revision)
    answer = viewer("get", f"request-logs/explain/?request_id={quote('a/b?c=d&e', safe='')}")
    found = answer.json()
    assert (found["request"]["request_id"], found["facts"]["input_tokens"]) == ("a/b?c=d&e", 90)
    assert (found["then"]["version"], found["now"]["version"], found["is_version_logged"]) == (1, 2, True)
    assert found["then"]["explanation"]["decision"]["route_name"] == "short ones"
    assert found["now"]["explanation"]["decision"]["reason"] == "no_match"
    assert (found["disagreements"], found["doubts"], found["attempts"]) == ([], [], [])
    assert "secret" not in answer.text
    again = viewer("post", "decide/", {"context": found["facts"]}).json()
    assert again == found["now"]["explanation"], "the facts are those that decide/ takes"


def test_what_cannot_be_explained_is_refused(viewer: Caller, org: Organization) -> None:
    traffic(an_org("other"), 1, request_id="theirs")
    problem(viewer("get", "request-logs/explain/?request_id=theirs"), 404, "not_found")
    problem(viewer("get", "request-logs/explain/?request_id=nope"), 404, "not_found")
    for query in (
        "",
        "?request_id=",
        f"?request_id={'x' * 201}",
        "?request_id=%00",
        "?id=1",
        "?request_id=a&request_id=b",
    ):
        assert viewer("get", f"request-logs/explain/{query}").status_code == 422, query


def test_a_version_that_is_not_kept_leaves_the_rest(viewer: Caller, org: Organization) -> None:
    a_route(org, "short ones")
    traffic(org, 1, decided_version=7)
    found = viewer("get", "request-logs/explain/?request_id=r1").json()
    assert (found["then"]["explanation"], found["then"]["problem"]) == (
        None, "There is no version 7 of this organisation.",
    )  # fmt: skip
    assert found["now"]["explanation"] is not None
