"""`plans/` of an organisation."""

from collections.abc import Callable
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.runs import services, shapes
from plans.runs.filters import PlanFilters
from plans.runs.models import IntervalMethod, Mode, PlanRun, default_sweep
from routes.api import (
    PUBLISHES,
    ListField,
    ListView,
    NumberField,
    StrictSerializer,
    TextField,
    TimeField,
    View,
    WholeField,
    change_json,
)
from routes.publish import Change
from routes.times import rfc3339

_EXAMPLE = {
    "name": "Short requests to the small model",
    "routes": [
        {
            "name": "short requests to the small model",
            "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 2000},
            "then": {"target_model": "gpt-4o-mini"},
        }
    ],
    "window_start": "2026-05-01T00:00:00Z",
    "window_end": "2026-05-08T00:00:00Z",
}
Step = Callable[[PlanRun, Request], Change | None]


class RoutesField(ListField):
    shape = shapes.PROPOSED


class PlanInput(StrictSerializer):
    name = TextField(max_length=200)
    note = TextField(lines=True, default="", allow_blank=True, max_length=10_000)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.MERGE)
    routes = RoutesField(child=serializers.JSONField())
    window_start = TimeField()
    window_end = TimeField()
    seed = WholeField(default=1)
    iterations = WholeField(default=10_000)
    interval_method = serializers.ChoiceField(IntervalMethod.choices, default=IntervalMethod.RANDOM_SUBSETS)
    l1_ttl_seconds = NumberField(default=None, allow_null=True)
    l2_ttl_seconds = NumberField(default=None, allow_null=True)
    l2_threshold_sweep = ListField(child=NumberField(), default=default_sweep)
    l2_priced_threshold = NumberField(default=None, allow_null=True)


class ReasonInput(StrictSerializer):
    reason = TextField(lines=True, max_length=10_000)


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
        "interval_method": plan.interval_method,
        "l1_ttl_seconds": plan.l1_ttl_seconds,
        "l2_ttl_seconds": plan.l2_ttl_seconds,
        "l2_threshold_sweep": plan.l2_threshold_sweep,
        "l2_priced_threshold": plan.l2_priced_threshold,
        "created_by": plan.created_by_name,
        "created_at": rfc3339(plan.created_at),
        "approved_by": plan.approved_by_name or None,
        "approved_at": rfc3339(plan.approved_at),
        "rejected_reason": plan.rejected_reason or None,
        "progress": {
            "phase": plan.phase or None,
            "rows_done": plan.rows_done,
            "rows_total": plan.rows_total,
            "rows_per_second": plan.rows_per_second or None,
            "seconds_left": plan.seconds_left,
        },
        "failure": plan.failure or None,
        "projected_at": rfc3339(plan.projected_at),
        "applied_at": rfc3339(plan.applied_at),
        "applied_version": plan.applied_version,
        "reverted_at": rfc3339(plan.reverted_at),
        "reverted_version": plan.reverted_version,
    }
    return {**brief, "proposed_routes": plan.proposed_routes, "result": plan.outcome} if whole else brief


class PlanList(ListView):
    """The plans of an organisation."""

    required_role = {"GET": "viewer", "POST": "editor"}
    takes = {"POST": PlanInput}
    gives = {"GET": shapes.BRIEF, "POST": (201, shapes.PLAN_MADE)}
    examples = {"POST": _EXAMPLE}
    orderings = {"": ("-created_at", "-id"), "created_at": ("created_at", "id")}
    filterset_class = PlanFilters
    search_fields = ("name", "note")

    def get(self, request: Request, **_: Any) -> Response:
        """Plans, newest first, without their routes and results."""
        rows = PlanRun.objects.of(request.org).brief().defer("result")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([plan_json(plan, whole=False) for plan in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Proposes a plan on today's routes: a draft, which `project/` starts."""
        given = PlanInput(data=request.data)
        given.is_valid(raise_exception=True)
        plan = services.propose(request.org, by=request.actor, **given.validated_data)
        return Response(plan_json(plan), status=201, headers={"Location": f"{request.path}{plan.pk}/"})


class PlanDetail(View):
    """One plan, with its routes and its result."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.PLAN}

    def find(self, request: Request) -> None:
        self.plan = services.get_plan(request.org, self.kwargs["id"])

    def get(self, request: Request, **_: Any) -> Response:
        return Response(plan_json(self.plan))


class PlanStep(View):
    """One step in the life of a plan."""

    required_role = {"POST": "admin"}
    gives = {"POST": shapes.STEPPED}
    step: Step | None = None

    def find(self, request: Request) -> None:
        self.plan = services.get_plan(request.org, self.kwargs["id"])

    def post(self, request: Request, **_: Any) -> Response:
        assert self.step is not None  # given with the URL, on the instance: it gets no self
        change = self.step(self.plan, request)
        changed = change_json(change) if change else {}
        return Response({**plan_json(services.get_plan(request.org, self.kwargs["id"])), **changed})


def _project(plan: PlanRun, request: Request) -> None:
    """Has the draft replayed, by the next worker that is free."""
    services.project(plan, by=request.actor)


def _cancel(plan: PlanRun, request: Request) -> None:
    """Ends the plan; a replay stops."""
    services.cancel(plan, by=request.actor)


def _approve(plan: PlanRun, request: Request) -> None:
    """Approves what the result says; any change voids it."""
    services.approve(plan, by=request.actor)


def _reject(plan: PlanRun, request: Request) -> None:
    """Turns the plan down, with a reason."""
    given = ReasonInput(data=request.data)
    given.is_valid(raise_exception=True)
    services.reject(plan, reason=given.validated_data["reason"], by=request.actor)


def _apply(plan: PlanRun, request: Request) -> Change:
    """Makes exactly the planned routes live, in one transaction."""
    return services.apply(plan, by=request.actor)[0]


def _revert(plan: PlanRun, request: Request) -> Change:
    """Brings back what was live before, as a new version."""
    return services.revert(plan, by=request.actor)[0]


#: The steps, with the role each needs.
STEPS: dict[str, tuple[str, Step]] = {
    "project": ("editor", _project),
    "cancel": ("editor", _cancel),
    "approve": ("approver", _approve),
    "reject": ("approver", _reject),
    "apply": ("approver", _apply),
    "revert": ("approver", _revert),
}

urlpatterns = [
    path("plans/", PlanList.as_view(), name="plans"),
    path("plans/<str:id>/", PlanDetail.as_view(), name="plan"),
    *(
        path(
            f"plans/<str:id>/{name}/",
            PlanStep.as_view(
                required_role={"POST": role},
                step=step,
                about=step.__doc__ or "",
                parameters=PUBLISHES if name in ("apply", "revert") else {},
                takes={"POST": ReasonInput} if name == "reject" else {},
                examples={"POST": {"reason": "The window has a holiday in it."}} if name == "reject" else {},
            ),
            name=f"plan_{name}",
        )
        for name, (role, step) in STEPS.items()
    ),
]
