"""The page that imports request logs, without a browser: what it answers, and how its progress is told."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import OperationalError
from django.test import Client

from audit.models import AuditEntry
from plans.logs import import_page
from plans.logs.models import RequestLog
from routes.orgs.models import Organization
from tests.build import a_person, an_org, usual_prices

pytestmark = pytest.mark.django_db
URL = "/admin/o/acme/logs/import/"
HEADER = "request_id,ts,model,input_tokens,output_tokens,tag\n"


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def csv(rows: int, bad: int = 0) -> str:
    return HEADER + "".join(f"r{n},2026-05-01T12:00:00Z,m,{'x' if n <= bad else n},2,\n" for n in range(1, rows + 1))


def post(client: Client, text: str | bytes, *, stream: bool = False, name: str = "a.csv", **data: Any) -> Any:
    content = text.encode() if isinstance(text, str) else text
    file = SimpleUploadedFile(name, content) if content else BytesIO()
    headers = {"accept": "application/x-ndjson"} if stream else {}
    return client.post(URL, {"file": file, "format": "auto", "step": "import", **data}, headers=headers)


def told(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def said(org: Organization) -> list[str]:
    entries = AuditEntry.objects.filter(org_id=org.pk, action__startswith="logs.").order_by("seq")
    return [*entries.values_list("action", flat=True)]


def test_a_preview_stores_nothing_and_offers_the_mapping(org: Organization, client: Client) -> None:
    answer = post(client, 'id,when,<b>\nr1,"""<script>",x\n', step="preview")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert "Every row needs when it came, model that served it, input tokens, output tokens, and no column" in html
    assert '<optgroup label="What it cost"><option value="cost_usd">Cost in USD · cost_usd</option>' in html
    assert '<button class="btn" type="submit" name="step" value="import">' in html, "there is nothing to import"
    good = post(client, csv(1), step="preview").content.decode()
    assert '<button class="btn btn-primary" type="submit" name="step" value="import">' in good
    assert '<input type="hidden" name="column" value="&lt;b&gt;">' in html
    assert "<script>x" not in html.replace("&lt;script&gt;", "")
    assert '<option value="request_id" selected>' in html
    assert not RequestLog.objects.exists()


def test_progress_is_told_in_lines_and_ends_with_the_report(org: Organization, client: Client) -> None:
    lines = told(post(client, csv(2_500, bad=1), stream=True, on_error="skip"))
    size = len(csv(2_500, bad=1))
    assert [set(line) for line in lines[:-1]] == [{"phase", "read", "imported", "repeated", "refused", "bytes"}] * 2
    assert lines[0]["read"] == 1_000
    assert 0 < lines[0]["bytes"] < lines[1]["bytes"] < size
    last = lines[-1]
    assert (last["code"], last["read"], last["imported"], last["refused"]) == ("imported", 2_500, 2_499, 1)
    assert last["refusals"] == [{"number": 2, "reason": 'input_tokens: "x" is not a whole number'}]
    assert "2,499 rows imported, 0 repeated, 1 refused." in last["html"]
    assert said(org) == ["logs.import_began", "logs.imported"]
    assert set(AuditEntry.objects.filter(org_id=org.pk, action__startswith="logs.").values_list("actor_type")) == {
        ("user",)
    }


def test_entries_carry_the_id_of_the_request_that_they_belong_to(org: Organization, client: Client) -> None:
    answer = post(client, csv(5), stream=True)
    told(answer)
    assert AuditEntry.objects.get(action="logs.imported").request_id == answer["X-Request-Id"]


def test_a_refused_row_stops_all_and_a_hundred_are_named(org: Organization, client: Client) -> None:
    last = told(post(client, csv(300, bad=250), stream=True))[-1]
    assert last["code"] == "import_refused"
    assert (len(last["refusals"]), last["refused"], last["imported"]) == (100, 250, 0)
    assert "… and 150 more" in last["html"]
    assert not RequestLog.objects.exists()
    answer = post(client, csv(300, bad=250))
    assert answer.status_code == 422
    assert "250 records were refused, so nothing was imported." in answer.content.decode()


def test_a_refusal_names_the_way_out_that_the_page_has(org: Organization, client: Client) -> None:
    naive = HEADER + "r1,2026-05-01T12:00:00,m,1,2,\n"
    seen = post(client, naive, step="preview").content.decode()
    assert "map the column to ts_utc if its times are UTC" in seen
    assert "Mend the file, or choose above what a column is stored as." in seen
    assert '<option value="cost_usd_rounded">' in seen
    result = told(post(client, naive, stream=True))[-1]
    assert (
        "Mend the file, choose in its preview what a column is stored as, or choose “Import the other rows”."
        in (result["html"])
    )
    assert "--map" not in seen + result["html"]
    mapped = told(post(client, naive, stream=True, column=["ts"], target=["ts_utc"]))[-1]
    assert mapped["imported"] == 1
    fixed = json.dumps(
        {"request_id": "a", "startTime": "soon", "prompt_tokens": 1, "completion_tokens": 1, "model": "m"}
    )
    assert "Mend the file, or choose “Import the other rows”." in told(post(client, fixed, stream=True))[-1]["html"]


def test_a_browser_that_goes_away_leaves_what_is_stored_and_an_entry(org: Organization, client: Client) -> None:
    answer = post(client, csv(5_000), stream=True, on_error="skip")
    lines: Iterator[bytes] = iter(answer.streaming_content)
    while json.loads(next(lines))["imported"] < 2_000:
        pass
    answer._iterator.close()  # as a server does; `answer.close()` would take the test's own connection along
    assert RequestLog.objects.of(org).count() == 2_000
    assert said(org) == ["logs.import_began", "logs.import_interrupted"]
    assert AuditEntry.objects.get(action="logs.import_interrupted").request_id == answer["X-Request-Id"]
    last = told(post(client, csv(5_000), stream=True))[-1]
    assert (last["imported"], last["repeated"]) == (3_000, 2_000)


def test_a_busy_database_ends_it_in_words(org: Organization, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: Any, **kwargs: Any) -> Any:
        yield import_page.Progress("imported", 1_000, 700, 300, 0)
        raise OperationalError("database is locked")

    monkeypatch.setattr(import_page, "import_steps", busy)
    last = told(post(client, csv(5), stream=True))[-1]
    assert (last["code"], last["imported"]) == ("busy", 700)
    assert "Import the file again to add the rest." in last["html"]


def test_a_large_file_lies_in_a_temporary_one_and_is_read_from_it(
    org: Organization, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000
    seen = []
    really = import_page._log_file
    monkeypatch.setattr(import_page, "_log_file", lambda upload: seen.append(upload) or really(upload))
    assert told(post(client, csv(2_000), stream=True))[-1]["imported"] == 2_000
    assert isinstance(seen[0], TemporaryUploadedFile)


def test_a_parquet_file_is_imported_from_either_place(org: Organization, client: Client, settings: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    for n, limit in enumerate((10_000_000, 100)):
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = limit
        made = {"request_id": [f"p{n}"], "ts": [1777636800], "model": ["m"], "input_tokens": [1], "output_tokens": [1]}
        out = BytesIO()
        pq.write_table(pa.table(made), out)
        assert "Read as <strong>parquet</strong>" in post(client, out.getvalue(), step="preview").content.decode()
        assert told(post(client, out.getvalue(), stream=True))[-1]["imported"] == 1


def test_more_than_a_gibibyte_is_refused_before_it_is_read(org: Organization, client: Client) -> None:
    class Unread(BytesIO):
        def read(self, *args: Any) -> bytes:
            raise AssertionError("the body was read")

    answer = client.generic(
        "POST", URL, b"", content_type="multipart/form-data; boundary=x",
        CONTENT_LENGTH=str(2**30 + 1), **{"wsgi.input": Unread()},
    )  # fmt: skip
    assert answer.status_code == 413
    assert "The file is too large: 1 GiB are possible here." in answer.content.decode()


def test_the_token_against_forged_requests_is_asked_for(org: Organization) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(a_person("edda", org, "editor"))
    assert post(strict, csv(1)).status_code == 403
    assert not RequestLog.objects.exists()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"file": ""}, "This field is required."),
        ({"format": "xls"}, "Select a valid choice"),
        ({"column": ["tag"], "target": ["price"]}, "tag is mapped to price, which is no column."),
        ({"column": ["x"], "target": ["tag"]}, "the mapping names &quot;x&quot;, which the header lacks"),
        ({"column": ["tag", "x"], "target": ["tag"]}, "1 rows imported"),
        ({"format": "parquet"}, "cannot be read as Parquet"),
        ({"format": "litellm", "provider": "openai"}, "Columns of litellm have fixed meanings"),
        ({"format": "azure-llm-trace"}, "A trace does not say which model served it"),
        ({"format": "azure-llm-trace", "model": "m\0"}, "Null characters are not allowed."),
        ({"provider": "x" * 101}, "at most 100 characters"),
        ({"tag": "a\nb"}, "has a control character"),
    ],
)
def test_what_is_wrong_is_said_where_it_belongs(
    org: Organization, client: Client, data: dict[str, Any], expected: str
) -> None:
    usual_prices()
    for step in ("preview", "import"):
        html = post(client, csv(1), **{"step": step, **data}).content.decode()
        if "rows imported" not in expected or step == "import":
            assert expected in html


def test_only_editors_import_and_only_into_their_own(org: Organization) -> None:
    an_org("other")
    viewer, stranger = Client(), Client()
    viewer.force_login(a_person("vera", org, "viewer"))
    stranger.force_login(a_person("otto", Organization.objects.get(slug="other"), "admin"))
    assert post(viewer, csv(1)).status_code == 403
    assert viewer.get(URL).status_code == 403
    assert post(stranger, csv(1)).status_code == 404
    assert post(Client(), csv(1)).status_code == 302
    assert not RequestLog.objects.exists()
    assert "Import logs" not in viewer.get("/admin/o/acme/logs/").content.decode()
