"""`prices/`: everybody's and, under an organisation, those that hold there. To look at, to load, to import."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Case, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.urls import path
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from routes.api import ListField, ListView, StrictSerializer, TextField, TimeField, View, not_modified, receipt_json
from routes.catalog.comparison import FieldChange, ImportPlan, PriceChange
from routes.catalog.filters import PriceFilters
from routes.catalog.formats import MAX_BYTES, read_prices
from routes.catalog.listed import FACTS, FIGURES, Fact
from routes.catalog.models import ModelPrice
from routes.catalog.served import ServedPrices
from routes.catalog.services import import_prices, prices_for
from routes.engine.errors import PayloadTooLarge
from routes.engine.money import nano_usd, usd_number
from routes.engine.prices import SCHEMA
from routes.shapes import (
    COUNT,
    DAY,
    DIGEST,
    FLAG,
    NUMBER,
    RECEIPT,
    TEXT,
    TIME,
    UUID,
    by_name,
    described,
    given,
    listed,
    one_of,
    or_null,
    thing,
    whole,
    written,
)
from routes.times import rfc3339

_AMOUNT = described(or_null(NUMBER), "USD per million tokens.")
_FACTS = {name: or_null(DAY if name == "retires_on" else COUNT if name.startswith("max_") else FLAG) for name in FACTS}
PRICE = thing(
    "Price",
    {
        "provider": TEXT,
        "model": TEXT,
        "since": described(or_null(TIME), "Null: in force since ever."),
        "negotiated": FLAG,
        **dict.fromkeys(FIGURES, _AMOUNT),
        **_FACTS,
        "source": described(TEXT, "Where the figures come from."),
    },
)
_CHANGE = thing(
    "PriceChange",
    {
        "kind": one_of("added", "changed", "facts"),
        "provider": TEXT,
        "model": TEXT,
        "since": or_null(TIME),
        "until": described(or_null(TIME), "When a later price of the table takes over."),
        "fields": listed(
            thing("PriceField", {"field": one_of(*FIGURES, *FACTS), "was": {}, "is": {}, "percent": or_null(NUMBER)})
        ),
    },
)
IMPORT = thing(
    "PriceImport",
    {
        "digest": described(DIGEST, "Names all that is done: send it as `expected`."),
        "format": TEXT,
        "file": described(DIGEST, "Of the file."),
        "since": or_null(TIME),
        "providers": listed(TEXT),
        "counts": by_name(COUNT),
        "changes": listed(_CHANGE),
        "refused": listed(thing("RefusedPrice", {"name": TEXT, "reason": TEXT})),
        "unlisted": described(
            listed(thing("UnlistedPrice", {"provider": TEXT, "model": TEXT})),
            "In the table, and not in the file: kept.",
        ),
    },
)
_DOCUMENT_PRICE = given(
    "DocumentPrice",
    {
        "provider": TEXT,
        "model": TEXT,
        "input_usd_per_million": NUMBER,
        "output_usd_per_million": NUMBER,
        "cached_input_usd_per_million": NUMBER,
        "since": TIME,
        "negotiated": FLAG,
        "max_input_tokens": COUNT,
        "max_output_tokens": COUNT,
        "retires_on": DAY,
    },
    required=("provider", "model", "input_usd_per_million", "output_usd_per_million"),
)
DOCUMENT = thing(
    "PriceDocument",
    {
        "schema": whole(1, SCHEMA),
        "org_id": described(or_null(UUID), "Null: everybody's."),
        "as_of": TIME,
        "digest": DIGEST,
        "prices": listed(_DOCUMENT_PRICE),
    },
)


def price_json(row: ModelPrice) -> dict[str, Any]:
    """The row; amounts are USD per million tokens, null is what nobody knows."""
    return {
        "provider": row.provider,
        "model": row.model,
        "since": rfc3339(row.since),
        "negotiated": row.org_id is not None,
        **{name: _plain(getattr(row, name)) for name in FIGURES + FACTS},
        "source": row.source,
    }


def import_json(plan: ImportPlan) -> dict[str, Any]:
    """What an import would change, or changed: in `changes` those of prices first, the largest of them before all."""
    return {
        "digest": plan.digest,
        "format": plan.file.format,
        "file": plan.file.digest,
        "since": rfc3339(plan.since),
        "providers": list(plan.providers),
        "counts": plan.counts,
        "changes": [_change_json(change) for change in plan.changes],
        "refused": [{"name": refusal.name, "reason": refusal.reason} for refusal in plan.refused],
        "unlisted": [{"provider": provider, "model": model} for provider, model in plan.unlisted],
    }


def _change_json(change: PriceChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "provider": change.provider,
        "model": change.model,
        "since": rfc3339(change.since),
        "until": rfc3339(change.until),
        "fields": [_field_json(field) for field in change.fields],
    }


def _field_json(field: FieldChange) -> dict[str, Any]:
    percent = None if field.percent is None else round(float(field.percent), 1)
    return {"field": field.field, "was": _plain(field.old), "is": _plain(field.new), "percent": percent}


def _plain(value: Decimal | Fact) -> float | str | int | bool | None:
    if isinstance(value, Decimal):
        return usd_number(nano_usd(value))
    return value if value is None or isinstance(value, int) else value.isoformat()


class PriceList(ListView):
    """Prices by provider and model, with those of former times and to come."""

    required_role: dict[str, str | tuple[str, ...]] = {"GET": "anybody"}
    gives = {"GET": PRICE}
    orderings = {
        "": ("provider", "model", "is_dated", "began", "whose"),
        "-name": ("-provider", "-model", "-is_dated", "-began", "-whose"),
    }
    filterset_class = PriceFilters
    search_fields = ("provider", "model")

    def get(self, request: Request, **_: Any) -> Response:
        rows: QuerySet[ModelPrice] = prices_for(request.org).annotate(
            # Cursors hold no null; and a price may also begin at the first moment that there is.
            is_dated=Case(When(since=None, then=0), default=1),
            began=Coalesce("since", Value(datetime.min.replace(tzinfo=UTC))),
            whose=Case(When(org=None, then=0), default=1),
        )
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([price_json(row) for row in page or []])


class PriceFile(BaseParser):
    """The bytes of a price table as it is published: more than our own parser takes, and read by the catalog's."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> bytes:
        body: bytes = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge(f"A price table may have {MAX_BYTES:,} bytes.")
        return body


class ImportParameters(StrictSerializer):
    """Of the query string, because the body is the file."""

    since = TimeField(default=None)
    provider = ListField(child=TextField(max_length=100), default=list, max_length=100)
    expected = serializers.RegexField(r"\Asha256:[0-9a-f]{64}\Z", default=None)


class PriceImport(View):
    """Takes the LiteLLM table as it is published, or a list of one's own, keeps history and answers what changed.

    The same file again changes nothing.
    """

    required_role: dict[str, str | tuple[str, ...]] = {"POST": "installation"}
    takes = {"POST": {}}
    gives = {"POST": written("PriceImported", {"import": IMPORT, "receipt": or_null(RECEIPT)})}
    examples = {
        "POST": [{"provider": "openai", "model": "gpt-4o", "input_usd_per_million": 2.5, "output_usd_per_million": 10}]
    }
    parser_classes = [PriceFile]
    parameters = {
        "since": described(TIME, "When changed prices start; without it, now."),
        "provider": described(listed(TEXT, maxItems=100), "Only these; without it, all."),
        "expected": described(DIGEST, "The `digest` of a dry run: nothing else is done than what was seen."),
    }

    def post(self, request: Request, **_: Any) -> Response:
        given = {name: request.query_params[name] for name in ("since", "expected") if name in request.query_params}
        asked = ImportParameters(data={**given, "provider": request.query_params.getlist("provider")})
        asked.is_valid(raise_exception=True)
        file = read_prices(request.data if isinstance(request.data, bytes) else b"")
        done = import_prices(
            file,
            by=request.actor,
            source=file.source("api"),
            org=request.org,
            since=asked.validated_data["since"],
            providers=asked.validated_data["provider"],
            expected=asked.validated_data["expected"],
        )
        return Response({"import": import_json(done.plan), "receipt": receipt_json(done.receipt)})


class PriceSnapshot(View):
    """The price document that a gateway loads. Its ETag changes with the prices: a gateway that has it gets a 304."""

    required_role: dict[str, str | tuple[str, ...]] = {"GET": ("anybody", "gateway")}
    gives = {"GET": DOCUMENT}
    answers_etag = True

    def get(self, request: Request, **_: Any) -> HttpResponse:
        served = ServedPrices(request.org)
        headers = {"Cache-Control": "private, no-cache", **({"ETag": served.etag} if served.etag else {})}
        if served.etag and not_modified(request, served.etag):
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(served.read(), content_type="application/json", headers=headers)


class NegotiatedList(PriceList):
    """Everybody's prices and those negotiated with the organisation."""

    required_role = {"GET": "viewer"}


class NegotiatedImport(PriceImport):
    """Imports prices that were negotiated with the organisation: stronger than everybody's, and only there."""

    required_role = {"POST": "admin"}


class NegotiatedSnapshot(PriceSnapshot):
    """The prices that hold in the organisation, as a gateway loads them."""

    required_role = {"GET": ("viewer", "gateway")}


#: Under `orgs/<org>/`.
urlpatterns = [
    path("prices/", NegotiatedList.as_view(), name="org_prices"),
    path("prices/import/", NegotiatedImport.as_view(), name="org_prices_import"),
    path("prices/snapshot/", NegotiatedSnapshot.as_view(), name="org_prices_snapshot"),
]
#: Under the root of the API.
outside = [
    path("prices/", PriceList.as_view(), name="prices"),
    path("prices/import/", PriceImport.as_view(), name="prices_import"),
    path("prices/snapshot/", PriceSnapshot.as_view(), name="prices_snapshot"),
]
