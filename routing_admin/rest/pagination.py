"""Pages of lists."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ErrorDetail
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

#: Where a page lies, as seen from the row of its cursor: (does it go back, has it the row itself).
_SIDES: Final = {"after": (False, False), "from": (False, True), "before": (True, False), "until": (True, True)}


class Pages(BasePagination):
    """`{"next", "previous", "results"}`: 50 objects a page, `?limit=` up to 500, beside the row that `?cursor=` names.

    A cursor holds what that row has in all columns of the ordering. So no page repeats or skips a row, however many are
    equal in the first column, and whatever was added or deleted since.

    A view names its `orderings`: by the value of `?ordering=` the columns, none of which is null, and which together
    leave no two rows equal; "" is the usual order.
    """

    page_size = 50
    max_page_size = 500

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        size = self.get_page_size(request)
        order = self.get_ordering(request, view)
        token = request.query_params.get("cursor")
        self._url = request.build_absolute_uri()
        self._next = self._previous = None
        if token is None:
            rows = list(queryset.order_by(*order)[: size + 1])
            if len(rows) > size:
                self._next = _token(order, "after", _place(order, rows[size - 1]))
            return rows[:size]
        try:
            side, place = _read(token, order, queryset)
            goes_back, has_row = _SIDES[side]
            asked = _reversed(order) if goes_back else order
            rows = list(queryset.filter(_beyond(asked, place, has_row)).order_by(*asked)[: size + 1])
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError, ValidationError, DataError) as error:
            message = "This is no cursor of this list in this order. Take one from next or previous, or begin without."
            raise Refused({"cursor": ErrorDetail(message, "bad_cursor")}) from error
        is_more, rows = len(rows) > size, rows[:size]
        ahead, behind = is_more, True  # where one came from there was something, at least then
        if goes_back:
            rows.reverse()
            ahead, behind = behind, ahead
        if not rows:  # all of it was deleted: back to what the cursor lay beside
            self._next = _token(order, "from", place) if ahead else None
            self._previous = _token(order, "until", place) if behind else None
        else:
            self._next = _token(order, "after", _place(order, rows[-1])) if ahead else None
            self._previous = _token(order, "before", _place(order, rows[0])) if behind else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._link(self._next), "previous": self._link(self._previous), "results": data})

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get("limit")
        if asked is None:
            return self.page_size
        size = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
        if not 1 <= size <= self.max_page_size:
            message = f"A page has 1 to {self.max_page_size} objects."
            raise Refused({"limit": ErrorDetail(message, "out_of_range")})
        return size

    def get_ordering(self, request: Request, view: Any) -> tuple[str, ...]:
        orderings: dict[str, tuple[str, ...]] = view.orderings
        asked = request.query_params.get("ordering")
        if asked is None:
            return orderings[""]
        if not asked or asked not in orderings:
            known = ", ".join(filter(None, orderings)) or "none"
            raise Refused({"ordering": ErrorDetail(f"Unknown. Known: {known}.", "unknown_ordering")})
        return orderings[asked]

    def _link(self, token: str | None) -> str | None:
        return token and replace_query_param(self._url, "cursor", token)


# --- Cursors ----------------------------------------------------------------------------------------------------------


def _token(order: tuple[str, ...], side: str, place: tuple[Any, ...]) -> str:
    values = [value if isinstance(value, int) else _text(value) for value in place]
    written = json.dumps([side, *order, *values], ensure_ascii=False, separators=(",", ":"))
    return urlsafe_b64encode(written.encode()).decode().rstrip("=")


def _text(value: Any) -> str:
    return str(value.astimezone(UTC) if isinstance(value, datetime) else value)


def _read(token: str, order: tuple[str, ...], queryset: QuerySet[Any, Any]) -> tuple[str, tuple[Any, ...]]:
    """Raises all kinds of errors unless we wrote it, for this order."""
    side, *rest = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    values = rest[len(order) :]
    place = tuple(_field(queryset, name).to_python(value) for name, value in zip(order, values, strict=True))
    # Text can be read in many ways, and most of what can be read was not written so.
    if _token(order, side, place) != token:
        raise ValueError("not written by us")
    return side, place


def _field(queryset: QuerySet[Any, Any], name: str) -> Any:
    name = name.removeprefix("-")
    if name in queryset.query.annotations:
        return queryset.query.annotations[name].output_field
    return queryset.query.names_to_path(name.split("__"), queryset.model._meta)[1]


def _place(order: tuple[str, ...], row: Any) -> tuple[Any, ...]:
    found = []
    for name in order:
        value = row
        for part in name.removeprefix("-").split("__"):
            value = getattr(value, part)
        found.append(value)
    return tuple(found)


def _reversed(order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.removeprefix("-") if name.startswith("-") else f"-{name}" for name in order)


def _beyond(order: tuple[str, ...], place: tuple[Any, ...], has_row: bool) -> Q:
    """What comes after the place, and with `has_row` what lies there."""
    found: Q | None = None
    for name, value in zip(reversed(order), reversed(place), strict=True):
        column, later = name.removeprefix("-"), "lt" if name.startswith("-") else "gt"
        if found is None:
            found = Q(**{f"{column}__{later}{'e' if has_row else ''}": value})
        else:
            # The first part alone is what an index can begin at.
            found = Q(**{f"{column}__{later}e": value}) & (Q(**{f"{column}__{later}": value}) | found)
    assert found is not None, "an ordering has a column"
    return found
