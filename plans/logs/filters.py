"""What a list of request logs is narrowed by."""

import django_filters as filters

from plans.logs.models import RequestLog
from routes.filters import TextFilter, TimeFilter, WholeFilter


class RequestLogFilters(filters.FilterSet):
    since = TimeFilter(field_name="ts", lookup_expr="gte")
    until = TimeFilter(field_name="ts", lookup_expr="lt")
    request_id = TextFilter()
    kind = filters.ChoiceFilter(choices=RequestLog.Kind.choices)
    provider = TextFilter()
    model = TextFilter()
    requested_model = TextFilter()
    tag = TextFilter()
    cluster_key = TextFilter()
    matched_route_id = filters.UUIDFilter()
    status = WholeFilter(min_value=100, max_value=599)

    class Meta:
        model = RequestLog
        fields: list[str] = []
