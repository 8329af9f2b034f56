"""The page that imports request logs: a file, a look at it, and the import with its progress.

Without JavaScript both steps are forms, and the file is chosen for each. With it the file stays chosen, the preview
needs only the beginning of most files, and the import is one request whose answer tells how far it is, a line of JSON
at a time. Closing the page stops the import; importing the file again stores what is missing.
"""

import json
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_protect

from plans.errors import PlansError
from plans.logs.formats import MAPPABLE, LogFile, NoModel, Reader, UnpricedModel, detect
from plans.logs.formats.records import MAX_RECORD
from plans.logs.forms import ImportForm
from plans.logs.preview import BYTES, Preview, preview
from plans.logs.services import ImportRefused, ImportReport, Progress, import_steps, open_log
from plans.logs.words import GROUPS, WORDS
from routes.catalog.services import prices_for

MAX_UPLOAD = 1024 * 1024 * 1024
#: A preview reads so much of a file that has lines: its bound, and the record that goes beyond it.
HEAD = BYTES + MAX_RECORD
#: Rows of a preview that the page shows.
SHOWN_ROWS = 6
NDJSON = "application/x-ndjson"
logger = logging.getLogger(__name__)


def logs_import(request: HttpRequest) -> HttpResponseBase:
    # Looked at before anything reads the body, which the check of the CSRF token does; hence `csrf_exempt` below.
    if request.method == "POST" and int(request.META.get("CONTENT_LENGTH") or 0) > MAX_UPLOAD:
        form = ImportForm()
        return _page(
            request, form, status=413, problem=f"The file is too large: {_size(MAX_UPLOAD)} are possible here."
        )
    return _checked(request)


@csrf_protect
def _checked(request: HttpRequest) -> HttpResponseBase:
    if request.method != "POST":
        return _page(request, ImportForm())
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form, status=422)
    file = _log_file(form.cleaned_data["file"])
    try:
        how = form.how(detect(file, form.cleaned_data["format"]))
        if request.POST.get("step") != "import":
            return _page(request, form, seen=preview(request.org, file, how, guessing=True), file=file)
        reader = open_log(request.org, file, how)
    except PlansError as error:
        form.add_error("model" if isinstance(error, NoModel | UnpricedModel) else None, str(error))
        return _page(request, form, status=422)
    on_error = form.cleaned_data["on_error"] or "abort"
    steps = import_steps(request.org, reader.items, on_error=on_error, by=request.actor, source=file.name)
    if NDJSON in request.headers.get("Accept", ""):
        return StreamingHttpResponse(_lines(request, steps, reader), content_type=NDJSON)
    result: dict[str, Any] = {}
    for line in _told(request, steps, reader):
        result = line
    return _page(request, ImportForm(), result=result, status=200 if result["code"] == "imported" else 422)


logs_import.required_role = "editor"
logs_import.csrf_exempt = True


def _page(
    request: HttpRequest,
    form: ImportForm,
    *,
    seen: Preview | None = None,
    file: LogFile | None = None,
    result: dict[str, Any] | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    filled = seen.filled if seen else []
    rows = [(number, [values.get(name, "") for name in filled]) for number, values in seen.rows] if seen else []
    context = {
        "title": "Import logs",
        "form": form,
        "refused": "Nothing was imported.",
        "problem": problem,
        "seen": seen,
        "filled": filled,
        "file": file,
        "rows": rows[:SHOWN_ROWS],
        "more_rows": len(rows[SHOWN_ROWS:]),
        "result": result,
        "targets": GROUPS,
        "lacking": [WORDS[name].lower() for name in seen.lacking] if seen else [],
        "models": sorted({price.model for price in prices_for(request.org)}),
        "head": HEAD,
        "max_upload": MAX_UPLOAD,
    }
    return render(request, "plans/logs_import.html", context, status=status)


def _log_file(upload: UploadedFile) -> LogFile:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        stream: Any = upload.file  # closed with the request
        stream.seek(0)
        yield stream

    return LogFile(upload.name or "", upload.size or 0, opened)


def _lines(request: HttpRequest, steps: Generator[Progress, None, ImportReport], reader: Reader) -> Iterator[str]:
    """What `_told` tells, as lines. They are asked for after the view has returned, so they bring its context along: the
    id of the request stands in the audit log."""
    context = copy_context()
    told = _told(request, steps, reader)

    def lines() -> Iterator[str]:
        try:
            while (line := context.run(next, told, None)) is not None:
                yield json.dumps(line) + "\n"
        finally:
            # Where the browser is gone: what was stored stays, and the import says so in the audit log.
            context.run(told.close)

    return lines()


def _told(
    request: HttpRequest, steps: Generator[Progress, None, ImportReport], reader: Reader
) -> Generator[dict[str, Any], None, None]:
    """How far the import is, again and again; at last its result, with `code` and with the page's words in `html`."""
    last = Progress("checked", 0, 0, 0, 0)
    code, detail = "imported", ""
    try:
        while True:
            try:
                last = next(steps)
            except StopIteration as end:
                report = end.value
                break
            figures = {"read": last.read, "imported": last.imported, "repeated": last.repeated, "refused": last.refused}
            yield {"phase": last.phase, **figures, "bytes": reader.bytes_read}
    except ImportRefused as refused:
        code, detail, report = refused.code, str(refused), refused.report
    except OperationalError:
        logger.exception("an import stopped because the database was busy or away")
        code, detail = "busy", "The database was busy, so the import stopped. What was stored stays:"
        report = ImportReport(last.read, last.imported, last.repeated, [], last.refused)
    finally:
        steps.close()
    result = {
        "code": code,
        "detail": detail,
        "read": report.read,
        "imported": report.imported,
        "repeated": report.repeated,
        "refused": report.refused_total,
        "refusals": [{"number": number, "reason": reason} for number, reason in report.refused],
    }
    shown = {"result": result, "words": str(report), "unnamed": f"{report.unnamed:,}" if report.unnamed else ""}
    shown |= {"numbered": reader.numbered, "file": reader.file, "org": request.org}
    shown["can_be_mapped"] = reader.format in MAPPABLE
    yield {**result, "html": render_to_string("plans/logs_import_result.html", shown, request)}


def _size(size: int) -> str:
    return f"{size // 1024**3} GiB"
