"""`plans/` of an organisation."""

from typing import Any

from django.urls import path
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from plans.runs import services
from plans.runs.models import Mode, PlanRun
from routes.api import StrictSerializer, TimeField, change_json
from routes.times import rfc3339


class PlanInput(StrictSerializer):
    name = serializers.CharField(max_length=200)
    note = serializers.CharField(default="", allow_blank=True, max_length=10_000)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.MERGE)
    routes = serializers.ListField(child=serializers.JSONField())
    window_start = TimeField()
    window_end = TimeField()
    seed = serializers.IntegerField(default=1, min_value=0, max_value=2**63 - 1)
    iterations = serializers.IntegerField(default=10_000, min_value=100, max_value=100_000)


class ReasonInput(StrictSerializer):
    reason = serializers.CharField(max_length=10_000)


def plan_json(plan: PlanRun, *, whole: bool = True) -> dict[str, Any]:
    """The plan; a list leaves the routes and the result out."""
    brief = {
        "id": str(plan.pk),
        "name": plan.name,
        "note": plan.note,
        "state": plan.state,
        "mode": plan.mode,
        "base_version": plan.base_version,
        "base_digest": plan.base_digest,
        "window_start": rfc3339(plan.window_start),
        "window_end": rfc3339(plan.window_end),
        "seed": plan.seed,
        "iterations": plan.iterations,
        "created_by": plan.created_by_name,
        "created_at": rfc3339(plan.created_at),
        "approved_by": plan.approved_by_name or None,
        "approved_at": rfc3339(plan.approved_at),
        "rejected_reason": plan.rejected_reason or None,
        "progress": {"rows_done": plan.rows_done, "rows_total": plan.rows_total},
        "failure": plan.failure or None,
        "projected_at": rfc3339(plan.projected_at),
        "applied_at": rfc3339(plan.applied_at),
        "applied_version": plan.applied_version,
        "reverted_at": rfc3339(plan.reverted_at),
        "reverted_version": plan.reverted_version,
    }
    return {**brief, "proposed_routes": plan.proposed_routes, "result": plan.outcome} if whole else brief


class PlanList(generics.GenericAPIView[PlanRun]):
    """Plans, newest first; POST proposes one on today's routes (a draft: `project/` starts it)."""

    required_role = {"GET": "viewer", "POST": "editor"}
    cursor_ordering = ("-created_at", "-id")

    def get(self, request: Request, **_: Any) -> Response:
        rows = PlanRun.objects.of(request.org).defer("proposed", "result", "inverse")
        page = self.paginate_queryset(rows)
        return self.get_paginated_response([plan_json(plan, whole=False) for plan in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        given = PlanInput(data=request.data)
        given.is_valid(raise_exception=True)
        plan = services.propose(request.org, by=request.actor, **given.validated_data)
        return Response(plan_json(plan), status=201)


class PlanDetail(APIView):
    required_role = {"GET": "viewer"}

    def get(self, request: Request, id: str, **_: Any) -> Response:
        return Response(plan_json(services.get_plan(request.org, id)))


class PlanStep(APIView):
    """One step in the life of a plan; answers the plan as it is then."""

    def post(self, request: Request, id: str, **_: Any) -> Response:
        plan = services.get_plan(request.org, id)
        extra = self.step(plan, request)
        return Response({**plan_json(services.get_plan(request.org, id)), **extra})

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        raise NotImplementedError


class Project(PlanStep):
    required_role = {"POST": "editor"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        services.project(plan, by=request.actor)
        return {}


class Cancel(PlanStep):
    required_role = {"POST": "editor"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        services.cancel(plan, by=request.actor)
        return {}


class Approve(PlanStep):
    required_role = {"POST": "approver"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        services.approve(plan, by=request.actor)
        return {}


class Reject(PlanStep):
    required_role = {"POST": "approver"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        given = ReasonInput(data=request.data)
        given.is_valid(raise_exception=True)
        services.reject(plan, reason=given.validated_data["reason"], by=request.actor)
        return {}


class Apply(PlanStep):
    required_role = {"POST": "approver"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        change, _ = services.apply(plan, by=request.actor)
        return change_json(change)


class Revert(PlanStep):
    required_role = {"POST": "approver"}

    def step(self, plan: PlanRun, request: Request) -> dict[str, Any]:
        change, _ = services.revert(plan, by=request.actor)
        return change_json(change)


urlpatterns = [
    path("plans/", PlanList.as_view(), name="plans"),
    path("plans/<str:id>/", PlanDetail.as_view(), name="plan"),
    path("plans/<str:id>/project/", Project.as_view(), name="plan_project"),
    path("plans/<str:id>/cancel/", Cancel.as_view(), name="plan_cancel"),
    path("plans/<str:id>/approve/", Approve.as_view(), name="plan_approve"),
    path("plans/<str:id>/reject/", Reject.as_view(), name="plan_reject"),
    path("plans/<str:id>/apply/", Apply.as_view(), name="plan_apply"),
    path("plans/<str:id>/revert/", Revert.as_view(), name="plan_revert"),
]
