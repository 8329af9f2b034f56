"""What a list of prices is narrowed by."""

from typing import Any

import django_filters as filters
from django.db.models import F, OuterRef, Q, Subquery

from routes.catalog.models import ModelPrice
from routes.catalog.services import prices_for
from routes.filters import FlagFilter, TextFilter, TimeFilter


class PriceFilters(filters.FilterSet):
    """`in_force_at`: of each provider's model the one price that a request of this moment costs."""

    provider = TextFilter()
    model = TextFilter()
    negotiated = FlagFilter(field_name="org", lookup_expr="isnull", exclude=True)
    in_force_at = TimeFilter(method="in_force")

    class Meta:
        model = ModelPrice
        fields: list[str] = []

    def in_force(self, rows: Any, _: str, at: Any) -> Any:
        if at is None:
            return rows
        strongest = (
            prices_for(self.request.org)
            .filter(Q(since__isnull=True) | Q(since__lte=at), provider=OuterRef("provider"), model=OuterRef("model"))
            .order_by(F("org").desc(nulls_last=True), F("since").desc(nulls_last=True))
        )
        return rows.filter(pk=Subquery(strongest.values("pk")[:1]))
