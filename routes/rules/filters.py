"""What a list of routes is narrowed by."""

import django_filters as filters

from routes.filters import TextFilter, TimeFilter
from routes.rules.models import Route


class RouteFilters(filters.FilterSet):
    name = TextFilter()
    enabled = filters.BooleanFilter()
    paused = filters.BooleanFilter()
    priority = filters.NumberFilter(min_value=0, max_value=2**31 - 1)
    updated_since = TimeFilter(field_name="updated_at", lookup_expr="gte")

    class Meta:
        model = Route
        fields: list[str] = []
