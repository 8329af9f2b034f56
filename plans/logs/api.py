"""`request-logs/` of an organisation: what gateways send, and what there is."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import IO, Any, Final
from uuid import UUID

from django.urls import path
from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from plans.errors import PlansError
from plans.logs.columns import COLUMNS
from plans.logs.filters import RequestLogFilters
from plans.logs.formats import LogFile, ReadAs, Reader
from plans.logs.models import RequestLog
from plans.logs.services import ImportReport, count_rows, import_rows, open_log
from routes.api import ListView
from routes.engine.errors import PayloadTooLarge
from routes.shapes import COUNT, TEXT, described, listed, thing, written
from routes.times import rfc3339

MAX_BYTES: Final = 10 * 2**20
MAX_UNPACKED: Final = 200 * 2**20
#: The shortest lines are packed into a thousandth of their size, and each takes as long as a row.
MAX_LINES: Final = 100_000
MAX_MEMBERS: Final = 1_000
_STEP: Final = 2**20
#: Small, because what is behind a member is copied.
_PACKED_STEP: Final = 2**16


class TooManyRows(PlansError):
    """A request has more lines than are read of one; nothing is stored."""

    code = "too_many_rows"


class Lines(BaseParser):
    """NDJSON, perhaps packed with gzip: bytes that can be read again and again. Bounded before anything is stored."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> LogFile:
        assert parser_context is not None
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge(
                f"A body may have {MAX_BYTES:,} bytes. Send the rows in several, or pack them with gzip."
            )
        coding = parser_context["request"].headers.get("Content-Encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return LogFile("request", _measured([body]), lambda: _opened(BytesIO(body)))
        if coding not in ("gzip", "x-gzip"):
            raise exceptions.UnsupportedMediaType(coding, "A body is packed with gzip, or not at all.")
        size = _measured(_unpacked(body))
        return LogFile("request", size, lambda: _opened(gzip.GzipFile(fileobj=BytesIO(body))))


@contextmanager
def _opened(stream: Any) -> Iterator[IO[bytes]]:
    with stream:
        yield stream


def _measured(parts: Iterable[bytes]) -> int:
    """How many bytes there are. Raises `PayloadTooLarge` for more than 200 MiB, and `TooManyRows`."""
    size = lines = 0
    is_line_open = False
    for part in parts:
        size += len(part)
        lines += part.count(b"\n")
        is_line_open = not part.endswith(b"\n") if part else is_line_open
        if size > MAX_UNPACKED:
            raise PayloadTooLarge(f"A body may have {MAX_UNPACKED:,} bytes unpacked. Send the rows in several.")
        if lines + is_line_open > MAX_LINES:
            raise TooManyRows(
                f"A request may have {MAX_LINES:,} lines, blank ones too. Send the rows in several requests."
            )
    return size


def _unpacked(body: bytes) -> Iterator[bytes]:
    """The bytes that are packed, member after member of gzip: to begin one takes as long as a row, and `GzipFile` counts
    none. Raises `ParseError` for what is no gzip, and `PayloadTooLarge` for too many members."""
    stream = BytesIO(body)
    rest, members = stream.read(_PACKED_STEP), 0
    try:
        while rest:
            if (members := members + 1) > MAX_MEMBERS:
                raise PayloadTooLarge(f"A body may have {MAX_MEMBERS:,} members of gzip. Pack the rows at once.")
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                yield member.decompress(rest, _STEP)
                rest = member.unused_data or member.unconsumed_tail or stream.read(_PACKED_STEP)
                if not rest and not member.eof:  # the sums behind the data are the last that is consumed
                    raise EOFError("its end is missing")
            while rest and not (rest := rest.lstrip(b"\0")):  # zeros may fill up what is behind a member
                rest = stream.read(_PACKED_STEP)
    except (EOFError, zlib.error) as error:
        raise exceptions.ParseError(f"The body is not gzip, or ends too early: {error}") from None


LOG = thing("RequestLog", {name: {} for name in COLUMNS if name != "embedding"})
IMPORTED = written(
    "LogsTaken",
    {
        "read": described(COUNT, "Lines."),
        "accepted": COUNT,
        "repeated": described(COUNT, "Known by their request_id: ignored."),
        "refused": listed(thing("RefusedLine", {"line": COUNT, "reason": TEXT})),
        "refused_total": described(COUNT, "Of more than are named in `refused`."),
    },
)


def log_json(row: RequestLog) -> dict[str, Any]:
    """The row in the columns of a file of logs; what nobody logged is null. Bodies are not part of it."""
    return {name: _plain(getattr(row, name)) for name in COLUMNS if name != "embedding"}


def report_json(report: ImportReport) -> dict[str, Any]:
    return {
        "read": report.read,
        "accepted": report.imported,
        "repeated": report.repeated,
        "refused": [{"line": line, "reason": reason} for line, reason in report.refused],
        "refused_total": report.refused_total,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID) else value


class RequestLogs(ListView):
    """The request logs of an organisation."""

    required_role = {"GET": "viewer", "POST": ("editor", "gateway")}
    takes = {"POST": described(TEXT, "A row in each line: JSON objects, the columns of a file of logs.")}
    gives = {"GET": LOG, "POST": IMPORTED}
    examples = {
        "POST": '{"request_id": "r-1", "ts": "2026-05-01T12:00:00Z", "provider": "openai", "model": "gpt-4o",'
        ' "input_tokens": 800, "output_tokens": 120, "cost_usd": 0.0032}\n'
    }
    parser_classes = [Lines]
    unpacks = True
    orderings = {"": ("-ts", "-request_id"), "ts": ("ts", "request_id")}
    filterset_class = RequestLogFilters
    #: The same rows again are the same rows: `request_id` is what repeats are known by.
    keeps_answers = False

    def get(self, request: Request, **_: Any) -> Response:
        """Request logs, newest first."""
        rows = RequestLog.objects.of(request.org).defer("body", "response_body", "embedding")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([log_json(row) for row in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Takes NDJSON: each line is a row in the columns of a file of logs, accepted, repeated or refused for itself.

        100,000 lines in 10 MiB; with `Content-Encoding: gzip` 200 MiB unpacked, of 1,000 members.
        """
        report = import_rows(
            request.org,
            _sent(request).items,
            on_error="skip",
            by=request.actor,
            source="api",
            # What gateways send all day is traffic, which nobody decided.
            is_recorded=not request.grant.is_gateway,
        )
        return Response(report_json(report))

    def dry_run(self, handler: Callable[..., Response], request: Request, **_: Any) -> Response:
        """Without a transaction, which would last as long as the body is read."""
        return Response(report_json(count_rows(request.org, _sent(request).items())))


def _sent(request: Request) -> Reader:
    if not isinstance(request.data, LogFile):  # of nothing, no parser is asked
        raise exceptions.ParseError("The body is empty. Send a row in each line.")
    return open_log(request.org, request.data, ReadAs("jsonl", by_line=True))


urlpatterns = [path("request-logs/", RequestLogs.as_view(), name="request_logs")]
