"""What a list of plans is narrowed by."""

import django_filters as filters

from plans.runs.models import PlanRun, State
from routes.filters import TimeFilter


class PlanFilters(filters.FilterSet):
    state = filters.MultipleChoiceFilter(choices=State.choices)
    created_since = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_until = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = PlanRun
        fields: list[str] = []
