"""What lists of organisations, members and keys are narrowed by."""

from typing import Any

import django_filters as filters
from django.db.models import Q
from django.utils import timezone

from routes.filters import FlagFilter, TextFilter
from routes.orgs.models import ApiKey, Membership, Organization, Role


class OrganizationFilters(filters.FilterSet):
    environment = TextFilter()
    status = filters.ChoiceFilter(choices=Organization.Status.choices)
    approval = filters.ChoiceFilter(choices=Organization.Approval.choices)

    class Meta:
        model = Organization
        fields: list[str] = []


class MemberFilters(filters.FilterSet):
    role = filters.ChoiceFilter(choices=Role.choices)
    username = TextFilter(field_name="user__username")

    class Meta:
        model = Membership
        fields: list[str] = []


class KeyFilters(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=ApiKey.Kind.choices)
    role = filters.ChoiceFilter(choices=Role.choices)
    is_valid = FlagFilter(method="valid", label="Neither revoked nor expired.")

    class Meta:
        model = ApiKey
        fields: list[str] = []

    def valid(self, rows: Any, name: str, value: bool) -> Any:
        is_valid = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        return rows.filter(is_valid if value else ~is_valid)
