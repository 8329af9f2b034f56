from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`{"results", "next", "previous"}` by cursor; 50 a page, `?limit=` up to 500. Views name `cursor_ordering`."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, ValidationError, DataError) as error:
            # A cursor that can be decoded, but whose position is of another type than the column.
            raise NotFound(self.invalid_cursor_message) from error

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        ordering = view.cursor_ordering
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)
