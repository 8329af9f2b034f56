"""Pages of lists."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import ErrorDetail, NotFound
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`{"results", "next", "previous"}` by cursor; 50 a page, `?limit=` up to 500.

    A view names its `orderings`: by the value of `?ordering=` the columns, which together leave no two rows equal; "" is
    the usual order.
    """

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500
    ordering_query_param = "ordering"

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, OverflowError, ValidationError, DataError) as error:
            # A cursor that can be decoded, but whose position is of another type than the column, or beyond it.
            raise NotFound(self.invalid_cursor_message) from error

    def get_page_size(self, request: Any) -> int:
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        size = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
        if not 1 <= size <= self.max_page_size:
            message = f"A page has 1 to {self.max_page_size} objects."
            raise Refused({"limit": ErrorDetail(message, "out_of_range")})
        return size

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        orderings: dict[str, tuple[str, ...]] = view.orderings
        asked = request.query_params.get(self.ordering_query_param)
        if asked is None:
            return orderings[""]
        if not asked or asked not in orderings:
            known = ", ".join(filter(None, orderings)) or "none"
            raise Refused({"ordering": ErrorDetail(f"Unknown. Known: {known}.", "unknown_ordering")})
        return orderings[asked]
