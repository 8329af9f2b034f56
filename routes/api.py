"""What the API of this application and of `plans` share: preconditions, dry runs, repeats, strict serializers."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.core.exceptions import RequestDataTooBig, ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.http.request import RawPostDataException
from rest_framework import exceptions, serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from audit.parameters import check_parameters
from audit.services import Receipt
from routes import noted
from routes.engine.reading import shown
from routes.errors import StaleVersion
from routes.examples import accepted
from routes.idempotency.services import Answer, once
from routes.orgs.models import ApiKey
from routes.publish import Change, DirectWrite
from routes.shapes import described, text
from routes.texts import one_line, several_lines

_FLAGS = {"1": True, "true": True, "0": False, "false": False}
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
#: More unknown keys than this are one mistake, not each its own: else a body of 10 MiB makes an answer of 200.
_MAX_UNKNOWN: Final = 100
#: So long may be what says nothing.
_MAX_NOTHING: Final = 1_000
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii")
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST_TAG = re.compile(r'"(\d{1,18})(?:-yaml)?"', re.ASCII)


class PreconditionRequired(exceptions.APIException):
    """A write to one object says which state of it the caller saw."""

    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_code = "precondition_required"
    default_detail = "Send If-Match with the ETag of what you saw, so that nobody's change is lost."


class LengthRequired(exceptions.APIException):
    """WSGI has no length of a body that comes in chunks, so that it would be taken for none."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = "Send the body with its Content-Length, not in chunks."


class UnexpectedBody(exceptions.ParseError):
    """Whoever sends a body where none is taken believes that what it says is done."""

    default_code = "unexpected_body"
    default_detail = "This takes no body. Send none, or {}."


class View(APIView):
    """A view whose writes keep the API's promises.

    `?dry_run=1` is answered alike and changes nothing. A POST with an `Idempotency-Key` has its effect once. PUT, PATCH and
    DELETE of an object that has an ETag need its `If-Match`, and what changes many at once that of the list; a POST to an
    object looks at one that is sent. A parameter that nobody knows is refused, because a misspelt `dry_run` must not write;
    and one that is given twice, because nobody knows which is meant; and a body where none is taken.
    """

    #: OPTIONS is refused like every method that has no `required_role`, so it is no method that `Allow` names.
    http_method_names = [name for name in APIView.http_method_names if name != "options"]
    #: What it does, in place of the handler's docstring.
    about = ""
    #: By method what the caller needs, see `Grant.may`.
    required_role: dict[str, str | tuple[str, ...]] = {}
    #: By method the shape of the body: a JSON Schema, or a serializer.
    takes: dict[str, Any] = {}
    #: By method the shape of the answer (of a list, that of one of its objects); for what is made, 201 and the shape.
    gives: dict[str, Any] = {}
    #: By method a body that is accepted.
    examples: dict[str, Any] = {}
    #: Query parameters of writes and their shapes, beside `dry_run`.
    parameters: dict[str, Any] = {}
    #: Query parameters of GET and their shapes; lists have filters.
    asks: dict[str, Any] = {}
    #: Whether POST changes many routes, so that it needs the ETag of their list.
    needs_list_match = False
    #: Statuses that refuse here, beside those of every such operation.
    refuses: tuple[int, ...] = ()
    #: Whether GET answers an ETag though what the URL names is not written to.
    answers_etag = False
    #: Whether POST changes something.
    writes = True
    #: Whether the answers to POST are kept for who sends an Idempotency-Key; else that is not looked at.
    keeps_answers = True
    #: Whether the answer to a POST holds what is shown only once.
    answers_secret = False
    #: Whether its parser unpacks bodies with a Content-Encoding.
    unpacks = False
    #: Whether the object, or the list, was another than the caller saw when it was looked up.
    is_stale = False

    def etag(self) -> str | None:
        """The present ETag of what the URL names, after `find`; None where it has none."""
        return None

    def names_state(self, tag: str, etag: str) -> bool:
        """Whether the tag of an If-Match is of the state that the present one is of, so far as it is written to."""
        return tag == etag

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = request.method or ""
        # A step of an object needs no If-Match; one that is sent holds.
        may_match = method in ("PUT", "PATCH", "DELETE") or (method == "POST" and "If-Match" in request.headers)
        if may_match and (etag := self.etag()) is not None:
            self.is_stale = not _matches(request, etag, self.names_state)
        if method == "POST" and self.needs_list_match:
            self.is_stale = not _matches(request, list_etag(request.org.version), _names_list)
        self.check_parameters(request)
        self.check_body(request)
        if method in ("POST", "PUT", "PATCH", "DELETE") and self.writes:
            # On the instance, where `dispatch` looks next: it has no hook around a handler.
            setattr(self, method.lower(), partial(self._write, getattr(self, method.lower())))

    def check_parameters(self, request: Request) -> None:
        """Raises `ValidationError` for query parameters that cannot be meant here."""
        known = list(self.asks)
        if request.method not in ("GET", "HEAD"):
            known = [*self.parameters, "dry_run"] if self.writes else []
        lists = [name for name, shape in self.parameters.items() if shape.get("type") == "array"]
        check_parameters(request.query_params, known, lists)

    def expected_version(self, request: Request) -> int | None:
        """With `needs_list_match`, what a service hands to `publish` as `expected`: the version that the caller saw; None
        where any will do. Raises `StaleVersion`.

        Asked for by the handler, after the body was read: a body that nobody can read is told first, and the repeat of a
        call with an Idempotency-Key is answered as before, though its version is no longer the newest.
        """
        given = request.headers["If-Match"]
        if self.is_stale:
            seen = _LIST_TAG.search(given)
            raise StaleVersion(int(seen[1]) if seen else None, request.org.version)
        return None if given.strip() == "*" else request.org.version

    def check_body(self, request: Request) -> None:
        """Raises for a body that would not be looked at, and for one in a form that its parser does not read."""
        if "Transfer-Encoding" in request.headers and not request.headers.get("Content-Length"):
            raise LengthRequired
        if request.method in self.takes:
            coding = request.headers.get("Content-Encoding", "").strip().lower()
            if coding not in ("", "identity") and not self.unpacks:
                raise exceptions.UnsupportedMediaType(coding, "Send the body as it is, without a Content-Encoding.")
            charset = request._request.content_params.get("charset", "utf-8")
            if charset.lower() not in _CHARSETS:
                raise exceptions.UnsupportedMediaType(charset, "Send the body in UTF-8.")
        elif request.method in ("POST", "PUT", "PATCH", "DELETE"):
            try:
                body = request._request.body
            except (RequestDataTooBig, RawPostDataException) as error:  # the latter: a form, which Django read
                raise UnexpectedBody from error
            if len(body) > _MAX_NOTHING or b"".join(body.split()) not in (b"", b"{}"):
                raise UnexpectedBody

    def read(self, request: Request) -> dict[str, Any]:
        """What the body says, by the serializer that `takes` names for the method; nothing where it names none."""
        serializer = self.takes.get(request.method or "")
        if serializer is None:
            return {}
        given = serializer(data=request.data or {})
        given.is_valid(raise_exception=True)
        read: dict[str, Any] = given.validated_data
        return read

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        etag = response.headers.get("ETag")
        if request.method in ("GET", "HEAD") and response.status_code == 200 and etag and not_modified(request, etag):
            headers = {name: response[name] for name in ("ETag", "Cache-Control", "Vary") if name in response}
            return HttpResponse(status=304, headers=headers)
        return response

    def _write(self, handler: Callable[..., Any], request: Request, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key") if request.method == "POST" and self.keeps_answers else None
        if key is not None and not _KEY.fullmatch(key):
            raise exceptions.ParseError(
                "An Idempotency-Key is 1 to 255 visible ASCII characters.", "bad_idempotency_key"
            )
        why = _said(request, noted.NAME, noted.LONGEST_IN_URL)
        with accepted.bind(_said(request, accepted.NAME, accepted.LONGEST)), noted.bind(why):
            if _flag(request, "dry_run"):
                return self._told_dry(self.dry_run(handler, request, **kwargs))
            return handler(request, **kwargs) if key is None else self._once(handler, request, key, **kwargs)

    def dry_run(self, handler: Callable[..., Response], request: Request, **kwargs: Any) -> Response:
        """What the handler would answer; nothing is changed."""
        with transaction.atomic():
            response = handler(request, **kwargs)
            transaction.set_rollback(True)
        return response

    @staticmethod
    def _told_dry(response: Response) -> Response:
        response.data = {**(response.data or {}), "dry_run": True}
        for key in ("receipt", "key"):
            if key in response.data:
                response.data[key] = None  # there is no such entry, and nothing to open
        # Neither the object nor its state is there: another write may come to have this very ETag.
        for name in ("Location", "ETag"):
            response.headers.pop(name, None)
        return response

    def _once(self, handler: Callable[..., Any], request: Request, key: str, **kwargs: Any) -> HttpResponse:
        body = request._request.body

        def act() -> Answer:
            response = handler(request, **kwargs)
            headers = {name: response[name] for name in ("ETag", "Location", "Cache-Control") if name in response}
            return Answer(response.status_code, JSONRenderer().render(response.data), headers, self.answers_secret)

        caller = f"key:{request.auth.pk}" if isinstance(request.auth, ApiKey) else f"user:{request.user.pk}"
        # One place, whether the organisation is named by its slug or by its id.
        org = {} if request.org is None else {"org": str(request.org.pk)}
        place = f"{request.resolver_match.view_name} {sorted({**self.kwargs, **org}.items())}"
        query = request.META.get("QUERY_STRING", "")
        try:
            answer = once(caller=caller, method="POST", path=place, query=query, key=key, body=body, act=act)
        except DirectWrite as refused:
            refused.make_draft()
            raise
        headers = {**answer.headers, **({"Idempotency-Replayed": "true"} if answer.is_repeated else {})}
        return HttpResponse(answer.body, status=answer.status, headers=headers, content_type="application/json")


class ListView(View, GenericAPIView[Any]):
    """A view with pages of objects: `?limit=`, `?cursor=`, and the filters, ordering and search that it names."""

    def check_parameters(self, request: Request) -> None:
        if request.method in ("GET", "HEAD"):
            return  # the filters know
        super().check_parameters(request)

    def get_rendered_response(self, results: list[bytes], headers: dict[str, str]) -> HttpResponse:
        """The present page, of results that are JSON already."""
        around: bytes = JSONRenderer().render(self.get_paginated_response([]).data)
        assert around.endswith(b"[]}"), "the results come last"
        body = b"".join([around[:-2], b",".join(results), b"]}"])
        return HttpResponse(body, headers=headers, content_type="application/json")


def list_etag(version: int, *, is_yaml: bool = False) -> str:
    """Of the list of routes, as this version published it; its YAML is another representation with another one."""
    return f'"{version}-yaml"' if is_yaml else f'"{version}"'


def _names_list(tag: str, etag: str) -> bool:
    """Whether this is a tag of what that one is of, in whatever representation."""
    found = _LIST_TAG.fullmatch(tag)
    return found is not None and f'"{found[1]}"' == etag


def not_modified(request: Request, etag: str) -> bool:
    """Whether the caller has the representation with this ETag already."""
    return any(tag == etag for _, tag in _tags(request.headers.get("If-None-Match", ""), etag))


def _matches(request: Request, etag: str, names_state: Callable[[str, str], bool]) -> bool:
    """Whether If-Match names this ETag, none but a strong one of RFC 9110. Raises `PreconditionRequired`."""
    given = request.headers.get("If-Match")
    if given is None:
        raise PreconditionRequired
    return any(names_state(tag, etag) and not weak for weak, tag in _tags(given, etag))


def _tags(given: str, etag: str) -> list[tuple[bool, str]]:
    """(is it weak, the tag) of each; `*` is whatever there is."""
    if given.strip() == "*":
        return [(False, etag)]
    return [(bool(weak), tag) for weak, tag in _TAG.findall(given)]


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "0")
    if given not in _FLAGS:
        raise exceptions.ValidationError({name: exceptions.ErrorDetail(f"{name} is 1 or 0.", "bad_parameter")})
    return _FLAGS[given]


#: For views whose writes publish: the query parameter that lets them break examples, that which says why, for those whose
#: body has no note of its own, and both.
PUBLISHES: Final = {
    accepted.NAME: described(
        text(least=1, longest=accepted.LONGEST),
        "Why this may break examples that hold now. The audit entry keeps it, with what broke.",
    )
}
NOTE: Final = {
    noted.NAME: described(
        text(least=1, longest=noted.LONGEST_IN_URL),
        "Why this is done. The version and the audit entry keep it.",
    ),
}
NOTED: Final = {**PUBLISHES, **NOTE}


def _said(request: Request, name: str, longest: int) -> str:
    """What a parameter says in words; "" where it is not given."""
    words = request.query_params.get(name)
    if words is None:
        return ""
    try:
        one_line(words)
    except ValidationError as error:
        raise exceptions.ValidationError({name: exceptions.ErrorDetail(error.message, error.code)}) from None
    if not words.strip() or len(words) > longest:
        message = f"Say why in 1 to {longest} characters."
        raise exceptions.ValidationError({name: exceptions.ErrorDetail(message, "bad_parameter")})
    return words


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses keys that it does not know, instead of ignoring a misspelt one."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [key for key in data if key not in self.fields]
            if len(unknown) > _MAX_UNKNOWN:
                message = f"This object has {len(unknown):,} unknown keys."
                raise serializers.ValidationError(
                    {api_settings.NON_FIELD_ERRORS_KEY: [exceptions.ErrorDetail(message, "too_many")]}
                )
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {key: exceptions.ErrorDetail(f"Unknown. Known: {known}.", "unknown_key") for key in unknown}
                )
        return super().to_internal_value(data)


class TimeField(serializers.DateTimeField):
    """RFC 3339 with its zone: a time without one would mean something else to every reader."""

    def to_internal_value(self, value: Any) -> Any:
        if isinstance(value, str) and not re.search(r"[Tt ].*([Zz]|[+-]\d\d:\d\d)$", value):
            raise serializers.ValidationError(
                exceptions.ErrorDetail("Write a time with its zone, like 2026-05-01T12:00:00Z.", "bad_time")
            )
        return super().to_internal_value(value)


class ListField(serializers.ListField):
    """A list, of 10,000 members unless said otherwise. They are counted before they are read: a stock field first reads,
    and finds fault with, every one of a million."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**{"max_length": 10_000, **more})

    def run_child_validation(self, data: Any) -> list[Any]:
        if len(data) > self.max_length:
            message = f"At most {self.max_length:,} members; this list has {len(data):,}."
            raise serializers.ValidationError(message, "too_many")
        found: list[Any] = super().run_child_validation(data)
        return found


class TextField(serializers.CharField):
    """A JSON string, by the rule of `routes.texts`: a stock one turns numbers into text."""

    def __init__(self, *, lines: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self._refuse_unsupported = several_lines if lines else one_line

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError(f"This is text, not {shown(data)}.", "wrong_type")
        try:
            self._refuse_unsupported(data)
        except ValidationError as error:
            raise serializers.ValidationError(error.message, error.code) from None
        return super().to_internal_value(data)


class TextsField(serializers.DictField):
    """An object of texts by name, of 100 names unless said otherwise."""

    def __init__(self, *, most: int = 100, **more: Any) -> None:
        super().__init__(child=TextField(allow_blank=True, trim_whitespace=False), **more)
        self._most = most

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict):
            raise serializers.ValidationError(f"This is an object of texts by name, not {shown(data)}.", "wrong_type")
        if len(data) > self._most:
            raise serializers.ValidationError(f"At most {self._most:,} names; these are {len(data):,}.", "too_many")
        found: dict[str, str] = super().to_internal_value(data)
        return found


class WholeField(serializers.IntegerField):
    """A JSON number that is whole: not true, not text that reads like one."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError(f"This is a whole number, not {shown(data)}.", "wrong_type")
        return data


class NumberField(serializers.Field[float, Any, float, Any]):
    """A JSON number: not true, not text that reads like one."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError(f"This is a number, not {shown(data)}.", "wrong_type")
        try:
            return float(data)
        except OverflowError:
            raise serializers.ValidationError("This number is too large.", "out_of_range") from None


def receipt_json(receipt: Receipt | None) -> dict[str, Any] | None:
    if receipt is None:
        return None
    return {"log": receipt.log, "seq": receipt.seq, "leaf_hash": receipt.leaf_hash}


def change_json(change: Change) -> dict[str, Any]:
    """What a write answers beside its object."""
    return {
        "changed": change.changed,
        "version": change.version,
        "digest": change.digest,
        "receipt": receipt_json(change.receipt),
    }
