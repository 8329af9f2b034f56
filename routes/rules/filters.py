"""What a list of routes is narrowed by."""

import django_filters as filters

from routes.filters import FlagFilter, TextFilter, TimeFilter, WholeFilter
from routes.rules.models import Route


class RouteFilters(filters.FilterSet):
    name = TextFilter()
    enabled = FlagFilter()
    paused = FlagFilter()
    priority = WholeFilter(min_value=0, max_value=2**31 - 1)
    updated_since = TimeFilter(field_name="updated_at", lookup_expr="gte")

    class Meta:
        model = Route
        fields: list[str] = []
