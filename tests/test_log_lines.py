"""Lines of the log: one for each request, what stands in them, and what never does."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client

from audit.models import AuditEntry
from routes.orgs.models import Organization
from routing_admin.logs.format import console, json_lines
from tests.api.conftest import Caller
from tests.build import a_person
from tests.lines import lines_of

KEY = "rk_management_k3yid0000001_" + "5ec2e7" * 10


def answering(view: Callable[[HttpRequest], HttpResponse], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client to whom this view answers /."""
    from routing_admin.urls import urlpatterns

    monkeypatch.setattr(urlpatterns[0], "callback", view)
    return Client(raise_request_exception=False)


@pytest.mark.django_db
def test_a_write_is_one_line_with_the_id_that_its_audit_entry_has(org: Organization, written: Any) -> None:
    editor = Caller(org, "editor")
    written()
    answer = editor("post", "routes/?dry_run=0", {"name": "secret-name", "when": {}, "then": {"target_model": "small"}})
    assert answer.status_code == 201, answer.content
    [line] = written()
    entry = AuditEntry.objects.of(org.pk).latest("seq")
    assert entry.action == "route.created"
    assert line.pop("request_id") == entry.request_id == answer["X-Request-Id"]
    assert line.pop("timestamp") >= entry.ts.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "logger": "routing_admin.requests",
        "event": "request",
        "org": "acme",
        "actor": f"api_key:{editor.made.key.pk}",
        "method": "POST",
        "route": "api:routes",
        "status": 201,
    }


@pytest.mark.django_db
def test_nothing_of_a_request_is_in_the_lines_after_it(org: Organization, written: Any) -> None:
    editor = Caller(org, "editor")
    written()
    editor("get", "routes/")
    Client().get("/api/v1/orgs/acme/routes/?token=secret-value")
    logging.getLogger("plans.anything").warning("between requests")
    known, unknown, between = written()
    assert (known["org"], known["actor"]) == ("acme", f"api_key:{editor.made.key.pk}")
    assert {"org", "actor"}.isdisjoint(unknown)
    assert (unknown["status"], unknown["route"]) == (401, "api:routes")
    assert known["request_id"] != unknown["request_id"]
    assert between.keys() == {"timestamp", "level", "logger", "event"}
    assert "secret-value" not in json.dumps(unknown)


@pytest.mark.django_db
def test_a_page_names_its_person_and_no_query_is_asked_for_it(
    org: Organization, written: Any, django_assert_num_queries: Any
) -> None:
    client, person = Client(), a_person("olgun@mail.example", org)
    client.force_login(person)
    client.get("/admin/o/acme/")
    [line] = [line for line in written() if line["event"] == "request"]
    assert (line["org"], line["actor"], line["route"]) == ("acme", f"user:{person.pk}", "admin:home")
    assert "olgun" not in json.dumps(line)
    with django_assert_num_queries(0):
        client.get("/api/schema/")
    assert [("actor" in line, line["route"]) for line in written()] == [(False, "api_schema")]


def test_times_are_in_utc_with_six_digits(written: Any) -> None:
    logging.getLogger("any").info("now")
    [line] = written()
    assert len(line["timestamp"]) == len("2026-05-01T12:00:00.000000Z")
    assert line["timestamp"].endswith("Z")


def test_probes_are_told_to_who_asks_for_every_line(written: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.get("/healthz")
    assert written() == []
    with caplog.at_level(logging.DEBUG, "routing_admin.requests"):
        client.get("/healthz")
    assert [(line["level"], line["route"]) for line in written()] == [("debug", "healthz")]


def test_an_error_is_one_line_with_its_traceback_without_locals_and_keys(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        local = KEY.upper()
        logging.getLogger("plans.anything").info(
            "met %s", {"nested": [KEY]}, extra={"status": KEY, "unknown": KEY, "level": KEY}
        )
        raise ValueError(f"no such key: {KEY} {len(local)}")

    answer = answering(view, monkeypatch).get("/", headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 500
    said, line = written()
    assert said["event"] == "met {'nested': ['rk_management_k3yid0000001_[redacted]']}"
    assert said["status"] == "rk_management_k3yid0000001_[redacted]"
    assert said["request_id"] == line["request_id"] == answer["X-Request-Id"]
    assert ("unknown" in said, said["level"]) == (False, "info")
    assert (line["level"], line["event"], line["status"], line["route"]) == ("error", "request", 500, "root")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: no such key: rk_management_k3yid0000001_[redacted] 87")
    assert "5ec2e7" not in json.dumps([said, line]).lower()


def test_a_message_that_cannot_be_written_is_named_by_its_place() -> None:
    record = logging.LogRecord("any", logging.INFO, "plans/some.py", 7, "%d keys", (KEY,), None)
    line = json.loads(json_lines().format(record))
    assert line["event"] == "A message of some:7 could not be written: TypeError"


FORGED = "x\n2026-11-21T00:00:00.000000Z [info] request\r\x1b[2K\x85\u2028\u202egnp.exe\ud800"


@pytest.mark.parametrize("told", ["message", "field", "error"])
def test_no_text_makes_a_line_of_its_own(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell() -> None:
        log = logging.getLogger("any")
        if told == "message":
            log.warning("said %s", FORGED)
        elif told == "field":
            log.warning("said", extra={"org": FORGED})
        else:
            try:
                raise ValueError(FORGED)
            except ValueError:
                log.exception("said")

    with lines_of(json_lines()) as text:
        tell()
        line = text()
    assert (line.count("\n"), line.isascii()) == (1, True)
    assert FORGED in "".join(json.loads(line).values())
    with lines_of(console()) as text:
        tell()
        first, *others = text().removesuffix("\n").split("\n")
    assert first.startswith("20")
    assert all(other.startswith("  | ") for other in others)
    assert (told == "error") == bool(others)
    assert not set("\r\x1b\x85\u2028\u202e\ud800") & set("".join([first, *others]))


def test_on_a_terminal_keys_are_no_more_to_be_read(shown: Any) -> None:
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("any").exception("met %s", KEY)
    text = shown()
    assert text.count("rk_management_k3yid0000001_[redacted]") == 2
    assert "5ec2e7" not in text


def test_what_a_caller_invents_as_a_host_is_in_no_line(written: Any) -> None:
    assert Client().get("/admin/", HTTP_HOST="invented.example").status_code == 400
    lines = written()
    assert [(line["event"], line["status"]) for line in lines] == [("request", 400)]
    assert "invented" not in json.dumps(lines)
