"""What lists are narrowed by."""

from typing import Any, Final

from django_filters import MultipleChoiceFilter
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.request import Request

from audit.parameters import check_parameters

#: Of a search: each word is a condition of its own on every field.
MAX_SEARCH: Final = 200
MAX_WORDS: Final = 10
_PAGING = ("limit", "cursor", "ordering")


class Filters(DjangoFilterBackend):
    """The view's `filterset_class`, or the names in its `filters`, by which it narrows itself. A parameter that nobody
    knows is refused, because a misspelt filter would answer with everything; so is one that is empty, or given twice."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        filters = self.get_filterset_class(view, queryset)
        declared = filters.base_filters if filters else {}
        known = [
            *declared,
            *getattr(view, "filters", ()),
            *(("search",) if getattr(view, "search_fields", None) else ()),
            *_PAGING,
        ]
        lists = [name for name, one in declared.items() if isinstance(one, MultipleChoiceFilter)]
        check_parameters(request.query_params, known, lists)
        if empty := [name for name, value in request.query_params.items() if not value and name != "search"]:
            # A stock filter would not look at it, and answer with everything.
            message = "This is empty. Leave it out, or say by what to narrow."
            raise ValidationError({name: ErrorDetail(message, "blank_value") for name in empty})
        if filters is None or request.query_params.keys().isdisjoint(filters.base_filters):
            return queryset  # the form need not be made, which takes as long as the query
        return super().filter_queryset(request, queryset, view)


class Search(SearchFilter):
    """`?search=`: rows that have every one of its words in some field of `search_fields`."""

    def get_search_terms(self, request: Request) -> list[str]:
        if len(request.query_params.get(self.search_param, "")) <= MAX_SEARCH:
            try:
                words: list[str] = super().get_search_terms(request)
            except ValidationError as error:
                raise ValidationError({self.search_param: error.detail}) from error
            if len(words) <= MAX_WORDS:
                return words
        message = f"A search has at most {MAX_WORDS} words of {MAX_SEARCH} characters together. Search for less."
        raise ValidationError({self.search_param: ErrorDetail(message, "out_of_range")})
