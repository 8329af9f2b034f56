"""`audit/checkpoint/`, `audit/{seq}/proof/`, `audit/consistency/` and `audit/export/`, of an organisation's log and of the
installation's."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from rest_framework import exceptions
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.evidence.bundles import bundle_of
from audit.evidence.proofs import consistency_of, log_of, newest_checkpoint, proof_of
from audit.parameters import check_parameters

_LOG = {"type": "string", "description": "The origin of an older log. Without it: the log that is written to."}
_SIZE = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
CONSISTENCY: dict[str, Any] = {
    "title": "AuditConsistency",
    "type": "object",
    "properties": {
        "log": {"type": "string"},
        "from": _SIZE,
        "to": _SIZE,
        "hashes": {"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"}},
    },
    "required": ["log", "from", "to", "hashes"],
    "additionalProperties": False,
}


class _Refusal(BaseRenderer):
    """So that `Accept` may ask for this. The view writes the answer; what comes here is a refusal, which is JSON."""

    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return JSONRenderer().render(data)


class PlainText(_Refusal):
    media_type, format = "text/plain", "txt"


class Zip(_Refusal):
    media_type, format = "application/zip", "zip"


class EvidenceView(APIView):
    """Read alone; a parameter that nobody knows is refused, and one that is given twice."""

    http_method_names = ["get", "head"]
    required_role: dict[str, str] = {"GET": "viewer"}
    gives: dict[str, Any] = {"GET": {"type": "string"}}
    #: Query parameters by name, with their shapes, and those of them that have to be given.
    asks: dict[str, Any] = {"log": _LOG}
    required_parameters: tuple[str, ...] = ()
    #: What nobody signed yet.
    refuses = (409,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_parameters(request.query_params, list(self.asks))


class CheckpointView(EvidenceView):
    """What the log was when it was signed last."""

    renderer_classes = [PlainText]

    def get(self, request: Request, **_: Any) -> HttpResponse:
        """What the log was when it was signed last, as a signed note (c2sp.org/tlog-checkpoint): its origin, size and root,
        and the signature.

        Keep it elsewhere: with `--since` the verifier shows that a later export continues it.
        """
        return _text(newest_checkpoint(log_of(_org_id(request), _log(request))).note)


class ProofView(EvidenceView):
    """That an entry is in the log."""

    renderer_classes = [PlainText]

    def get(self, request: Request, seq: int, **_: Any) -> HttpResponse:
        """That an entry is in the log, for whoever has its bytes: a proof as c2sp.org/tlog-proof has it, with the newest
        checkpoint.

        409 `not_signed` for the few seconds until an entry is signed; of a log that was closed before, for ever.
        """
        return _text(proof_of(_org_id(request), seq, _log(request)))


class ConsistencyView(EvidenceView):
    """That the log only grew."""

    asks = {"from": _SIZE, "to": _SIZE, "log": _LOG}
    required_parameters = ("from", "to")
    example_query = "?from=1&to=1"
    gives = {"GET": CONSISTENCY}
    refuses = ()

    def get(self, request: Request, **_: Any) -> Response:
        """That the first `from` entries of the log are the beginning of its first `to`: hashes as in RFC 6962, 2.1.2."""
        old, new = (self._size(request, name) for name in ("from", "to"))
        org_id = _org_id(request)
        log = log_of(org_id, _log(request)).log
        if old > new:
            raise _bad("from", "from is not above to.", "bad_parameter")
        return Response({"log": log, "from": old, "to": new, "hashes": consistency_of(org_id, old, new, log)})

    def _size(self, request: Request, name: str) -> int:
        text = request.query_params.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) < 17 and 0 < int(text) < 2**53):
            raise _bad(name, f"{name} is a number of entries, from 1 on.", "bad_parameter")
        return int(text)


class ExportView(EvidenceView):
    """All logs of the organisation, for an auditor."""

    renderer_classes = [Zip]
    asks = {}
    refuses = ()
    gives = {"GET": {"type": "string", "format": "binary"}}

    def get(self, request: Request, **_: Any) -> StreamingHttpResponse:
        """All that the log holds and that is signed, with payloads and checkpoints, as a ZIP file that `python -m
        audit.log.verify` checks without us."""
        name = "installation" if request.org is None else request.org.slug
        headers = {"Content-Disposition": f'attachment; filename="audit-{name}.zip"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(bundle_of(_org_id(request)), content_type=Zip.media_type, headers=headers)


def _org_id(request: Request) -> UUID | None:
    return None if request.org is None else request.org.id


def _log(request: Request) -> str:
    return str(request.query_params.get("log", ""))


def _text(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


def _bad(name: str, message: str, code: str) -> exceptions.ValidationError:
    return exceptions.ValidationError({name: exceptions.ErrorDetail(message, code)})


def urls(prefix: str, role: str) -> list[Any]:
    """The URLs under `audit/`, for who has this role; their names begin so."""
    views = {
        "checkpoint": CheckpointView,
        "consistency": ConsistencyView,
        "export": ExportView,
    }
    needed = {"required_role": {"GET": role}}
    return [
        *(path(f"audit/{name}/", view.as_view(**needed), name=f"{prefix}_{name}") for name, view in views.items()),
        path("audit/<int:seq>/proof/", ProofView.as_view(**needed), name=f"{prefix}_proof"),
    ]
