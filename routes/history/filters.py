"""What a list of versions is narrowed by."""

import django_filters as filters

from routes.filters import TextFilter, TimeFilter
from routes.versions.models import RouteSetVersion


class VersionFilters(filters.FilterSet):
    cause = TextFilter()
    author = TextFilter(field_name="author_id")
    since = TimeFilter(field_name="published_at", lookup_expr="gte")
    until = TimeFilter(field_name="published_at", lookup_expr="lt")

    class Meta:
        model = RouteSetVersion
        fields: list[str] = []
