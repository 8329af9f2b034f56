"""What lists are narrowed by."""

from typing import Any

from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.request import Request

_PAGING = ("limit", "cursor", "ordering")


class Filters(DjangoFilterBackend):
    """The view's `filterset_class`, and `?search=` in its `search_fields`. A parameter that nobody knows is refused: a
    misspelt filter would answer with everything."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        filters = self.get_filterset_class(view, queryset)
        known = [
            *(filters.base_filters if filters else ()),
            *(("search",) if getattr(view, "search_fields", None) else ()),
            *_PAGING,
        ]
        if unknown := [name for name in request.query_params if name not in known]:
            message = f"Unknown parameter. Known: {', '.join(known)}."
            raise ValidationError({name: ErrorDetail(message, "unknown_key") for name in unknown})
        if empty := [name for name, value in request.query_params.items() if not value and name != "search"]:
            # A stock filter would not look at it, and answer with everything.
            message = "This is empty. Leave it out, or say by what to narrow."
            raise ValidationError({name: ErrorDetail(message, "blank_value") for name in empty})
        if filters is None or request.query_params.keys().isdisjoint(filters.base_filters):
            return queryset  # the form need not be made, which takes as long as the query
        return super().filter_queryset(request, queryset, view)


class Search(SearchFilter):
    """`?search=`: rows that have every one of its words in some field of `search_fields`."""
