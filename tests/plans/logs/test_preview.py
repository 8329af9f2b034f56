"""Looking at a file before it is imported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO

import pytest

from plans.logs.formats import LogFile, Mapping, ReadAs
from plans.logs.formats.records import MAX_RECORD
from plans.logs.models import RequestLog
from plans.logs.preview import BYTES, preview
from routes.orgs.models import Organization

pytestmark = pytest.mark.django_db
HEADER = b"request_id,ts,model,input_tokens,output_tokens,tag\n"


class Counting(BytesIO):
    """Says how much of it was read."""

    far = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.far = max(self.far, self.tell())
        return line


def log_file(stream: BytesIO, size: int = 0) -> LogFile:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        stream.seek(0)
        yield stream

    return LogFile("a.csv", size, opened)


def test_only_the_first_records_are_read(org: Organization) -> None:
    stream = Counting(HEADER + b"".join(b"r%d,2026-05-01T12:00:00Z,m,1,2,\n" % n for n in range(100_000)))
    seen = preview(org, log_file(stream), ReadAs("csv"), guessing=False)
    assert [number for number, _ in seen.rows] == [*range(2, 22)]
    assert stream.far < 2_000
    assert not RequestLog.objects.exists()


def test_long_records_end_it_sooner(org: Organization) -> None:
    stream = Counting(HEADER + b"".join(b"r%d,2026-05-01T12:00:00Z,m,1,2,%s\n" % (n, b"x" * 30_000) for n in range(9)))
    seen = preview(org, log_file(stream), ReadAs("csv"), guessing=True)
    assert len(seen.refused) == 3
    assert stream.far < BYTES + 31_000


def test_what_comes_after_an_unclosed_quote_is_seen(org: Organization) -> None:
    lines = [b"r%d,2026-05-01T12:00:00Z,m,1,2,\n" % n for n in range(10_000)]
    seen = preview(org, log_file(BytesIO(HEADER + b'"' + b"".join(lines))), ReadAs("csv"), guessing=False)
    assert [number for number, _ in seen.refused] == [2]
    assert [number for number, _ in seen.rows] == [*range(3, 22)]


@pytest.mark.parametrize(("length", "rows"), [(90_000, 1), (5_000, 13)])
def test_the_beginning_of_a_list_of_long_records_is_seen_without_its_end(
    org: Organization, length: int, rows: int
) -> None:
    row = {"request_id": "r", "ts": 1777636800, "model": "m", "input_tokens": 1, "output_tokens": 2}
    text = json.dumps([{**row, "metadata": {"a": "x" * length}}] * 400).encode()
    seen = preview(org, log_file(BytesIO(text[: BYTES + MAX_RECORD])), ReadAs(), guessing=True)
    assert (len(seen.rows), seen.refused) == (rows, [])


@pytest.mark.parametrize(
    ("bad", "where"),
    [({4}, "line 4"), ({2, 5, 9}, "lines 2, 5 and 9"), ({*range(2, 8)}, "6 lines, the first is 2")],
)
def test_what_is_wrong_in_many_lines_is_told_once(org: Organization, bad: set[int], where: str) -> None:
    lines = [b"r%d,2026-05-01T12:00:00Z,m,%s,2,\n" % (n, b"x" if n in bad else b"1") for n in range(2, 12)]
    seen = preview(
        org, log_file(BytesIO(HEADER + b"".join(lines) + b"r99,soon,m,1,2,\n")), ReadAs("csv"), guessing=False
    )
    assert [found for found, _ in seen.refusals] == [where, "line 12"]
    assert "input_tokens" in seen.refusals[0][1]


def test_what_it_answers_is_what_an_import_needs(org: Organization) -> None:
    data = b"id,ts,model,prompt_tokens,output_tokens,x\nr1,2026-05-01T12:00:00Z,m,1,2,3\n"
    seen = preview(org, log_file(BytesIO(data)), ReadAs(mapping=Mapping({}, {"tag": "t"})), guessing=True)
    assert seen.format == "csv"
    assert seen.mapping == Mapping({"id": "request_id", "prompt_tokens": "input_tokens", "x": ""}, {"tag": "t"})
    assert [(c.name, c.target, c.is_guess, c.examples) for c in seen.columns][-1] == ("x", "", True, ['"3"'])
    assert seen.rows == [
        (
            2,
            {
                "request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "m", "requested_model": "m",
                "input_tokens": "1", "output_tokens": "2", "tag": "t",
            },
        )
    ]  # fmt: skip
    assert seen.lacking == []


def test_what_no_column_is_taken_for_is_named(org: Organization) -> None:
    seen = preview(org, log_file(BytesIO(b"id,tokens\na,b\n")), ReadAs(), guessing=True)
    assert seen.lacking == ["ts", "model", "input_tokens", "output_tokens"]
    assert seen.refused == [
        (1, "column missing in the header: ts, model, input_tokens, output_tokens; map a column to each of them")
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 100, b"{}", b"[]", b"[", b"{", b"\xef\xbb\xbf", b"PAR1"])
def test_whatever_the_file_is_there_is_an_answer(org: Organization, data: bytes) -> None:
    seen = preview(org, log_file(BytesIO(data), len(data)), ReadAs(), guessing=True)
    assert seen.rows == []
