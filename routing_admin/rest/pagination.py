from typing import Any

from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`{"results", "next", "previous"}` by cursor; 50 a page, `?limit=` up to 500. Views name `cursor_ordering`."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        ordering = view.cursor_ordering
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)
