"""`plans/` of an organisation."""

import json
from collections.abc import Callable
from typing import Any

from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.runs import services, shapes
from plans.runs.errors import PlanChanged
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
from routes.rules.shapes import ACTION
from routes.shapes import or_null
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
#: Of a plan, what the body says, and who asks: `by`, and what they saw of it, `seen`.
Step = Callable[..., Change | None]


class RoutesField(ListField):
    shape = shapes.PROPOSED


class DefaultField(serializers.JSONField):
    shape = or_null(ACTION)


class PlanInput(StrictSerializer):
    name = TextField(max_length=200)
    note = TextField(lines=True, default="", allow_blank=True, max_length=10_000)
    mode = serializers.ChoiceField(Mode.choices, default=Mode.MERGE)
    routes = RoutesField(child=serializers.JSONField())
    #: Beside the routes, where it is to change too.
    default = DefaultField(required=False, allow_null=True)
    window_start = TimeField()
    window_end = TimeField()
    seed = WholeField(default=1)
    iterations = WholeField(default=10_000)
    interval_method = serializers.ChoiceField(IntervalMethod.choices, default=IntervalMethod.RANDOM_SUBSETS)
    l1_ttl_seconds = NumberField(default=None, allow_null=True)
    l2_ttl_seconds = NumberField(default=None, allow_null=True)
    l2_threshold_sweep = ListField(child=NumberField(), default=default_sweep)
    l2_priced_threshold = NumberField(default=None, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # None means that nothing is said of it; that nothing is to happen to the rest is a tuple which holds None.
        return {**attrs, "default": (attrs["default"],)} if "default" in attrs else attrs


class PlanChange(PlanInput):
    """What is left out stays as it is."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.required = False
        return fields

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        return {name: value for name, value in given.items() if name in data}


class ReasonInput(StrictSerializer):
    reason = TextField(lines=True, max_length=10_000)


class RevertInput(StrictSerializer):
    force = serializers.BooleanField(default=False)
    reason = TextField(lines=True, max_length=10_000, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["force"] != ("reason" in attrs):
            message = "To force it takes a reason, which the log keeps; a revert that is not forced has none."
            raise serializers.ValidationError({"reason": [exceptions.ErrorDetail(message, "conflict")]})
        return attrs


class ScheduleInput(StrictSerializer):
    apply_at = TimeField(allow_null=True)


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
        "edited_by": sorted(plan.edited_by.values()),
        "approved_by": plan.approved_by_name or None,
        "approved_at": rfc3339(plan.approved_at),
        "rejected_reason": plan.rejected_reason or None,
        "superseded_by": plan.superseded_by or None,
        "apply_at": rfc3339(plan.apply_at),
        "scheduled_by": plan.scheduled_by_name or None,
        "schedule_failure": plan.schedule_failure or None,
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
    if not whole:
        return brief
    # Only where the plan changes it: null is an action too, that of leaving requests as they are.
    default = {"proposed_default": json.loads(plan.proposed_default)} if plan.proposed_default else {}
    return {**brief, "proposed_routes": plan.proposed_routes, **default, "result": plan.outcome}


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
        rows = PlanRun.objects.of(request.org).brief()
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([plan_json(plan, whole=False) for plan in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Proposes a plan on today's routes: a draft, which `project/` starts."""
        given = PlanInput(data=request.data)
        given.is_valid(raise_exception=True)
        plan = services.propose(request.org, by=request.actor, **given.validated_data)
        headers = {"Location": f"{request.path}{plan.pk}/", "ETag": services.etag(plan)}
        return Response(plan_json(plan), status=201, headers=headers)


class OnePlan(View):
    """What names a plan by its id."""

    def find(self, request: Request) -> None:
        self.plan = services.get_plan(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return services.etag(self.plan)

    def names_state(self, tag: str, etag: str) -> bool:
        """By what people decide: else a replay would be in the way of who renames its plan."""
        return tag.partition("-")[0] == etag.partition("-")[0]

    def seen(self, request: Request) -> str | None:
        """What a service compares once it holds the plan: the tag of what If-Match names; None where any will do. Raises
        `PlanChanged`."""
        if self.is_stale:
            raise PlanChanged(self.plan)
        return None if request.headers.get("If-Match", "*").strip() == "*" else services.tag(self.plan)


class PlanDetail(OnePlan):
    """One plan, with its routes and its result."""

    required_role = {"GET": "viewer", "PATCH": "editor"}
    takes = {"PATCH": PlanChange}
    gives = {"GET": shapes.PLAN, "PATCH": shapes.PLAN_EDITED}
    examples = {"PATCH": {"note": "Asked for by finance."}}

    def get(self, request: Request, **_: Any) -> Response:
        """One plan, with what it proposes and its result."""
        return Response(plan_json(self.plan), headers={"ETag": self.etag()})

    def patch(self, request: Request, **_: Any) -> Response:
        """Changes a draft, which stands on today's routes once it asks something else; of a plan that is none any more,
        name and note. Any change voids an approval."""
        given = PlanChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        changed = services.edit(self.plan, by=request.actor, seen=self.seen(request), **given.validated_data)
        return Response({**plan_json(self.plan), "changed": changed}, headers={"ETag": self.etag()})


class PlanStep(OnePlan):
    """One step in the life of a plan. An If-Match that is sent must name the plan as it is."""

    required_role = {"POST": "admin"}
    gives = {"POST": shapes.STEPPED}
    step: Step | None = None

    def post(self, request: Request, **_: Any) -> Response:
        assert self.step is not None  # given with the URL, on the instance: it gets no self
        given = self.read(request)
        change = self.step(self.plan, given, by=request.actor, seen=self.seen(request))
        changed = change_json(change) if change else {}
        plan = services.get_plan(request.org, self.kwargs["id"])
        return Response({**plan_json(plan), **changed}, headers={"ETag": services.etag(plan)})


class PlanAgain(OnePlan):
    """Another plan that asks what this one asks, on newer routes."""

    required_role = {"POST": "editor"}
    gives = {"POST": (201, shapes.PLAN_MADE)}
    make: Callable[..., PlanRun] | None = None

    def post(self, request: Request, **_: Any) -> Response:
        assert self.make is not None  # given with the URL, on the instance: it gets no self
        plan = self.make(self.plan, by=request.actor, seen=self.seen(request))
        url = request.path.removesuffix("/").rpartition("/")[0].removesuffix(self.kwargs["id"]) + f"{plan.pk}/"
        return Response(plan_json(plan), status=201, headers={"Location": url, "ETag": services.etag(plan)})


def _rebase(plan: PlanRun, **who: Any) -> PlanRun:
    """Makes the same plan on what is live now, and has it replayed. The old one is superseded."""
    return services.rebase(plan, **who)


def _copy(plan: PlanRun, **who: Any) -> PlanRun:
    """Makes a draft that asks the same on what is live now, to be changed. The plan stays as it is."""
    return services.copy(plan, **who)


def _project(plan: PlanRun, given: dict[str, Any], **who: Any) -> None:
    """Has the draft replayed, by the next worker that is free."""
    services.project(plan, **who)


def _cancel(plan: PlanRun, given: dict[str, Any], **who: Any) -> None:
    """Ends the plan; a replay stops."""
    services.cancel(plan, **who)


def _approve(plan: PlanRun, given: dict[str, Any], **who: Any) -> None:
    """Approves what the result says; any change voids it."""
    services.approve(plan, **who)


def _reject(plan: PlanRun, given: dict[str, Any], **who: Any) -> None:
    """Turns the plan down, with a reason."""
    services.reject(plan, reason=given["reason"], **who)


def _apply(plan: PlanRun, given: dict[str, Any], **who: Any) -> Change:
    """Makes exactly the planned routes live, in one transaction."""
    return services.apply(plan, **who)[0]


def _revert(plan: PlanRun, given: dict[str, Any], **who: Any) -> Change:
    """Brings back what was live before, as a new version. Where that was changed again since, only by force, with a
    reason."""
    return services.revert(plan, **who, force_reason=given.get("reason", ""))[0]


def _schedule(plan: PlanRun, given: dict[str, Any], **who: Any) -> None:
    """Has an approved plan applied at a time; null calls that off."""
    services.schedule(plan, given["apply_at"], **who)


#: The steps, with the role each needs.
STEPS: dict[str, tuple[str, Step]] = {
    "project": ("editor", _project),
    "cancel": ("editor", _cancel),
    "approve": ("approver", _approve),
    "reject": ("approver", _reject),
    "schedule": ("approver", _schedule),
    "apply": ("approver", _apply),
    "revert": ("approver", _revert),
}
#: Of steps that take something: its shape, and an example.
_TAKEN: dict[str, tuple[Any, Any]] = {
    "reject": (ReasonInput, {"reason": "The window has a holiday in it."}),
    "schedule": (ScheduleInput, {"apply_at": "2026-12-01T06:00:00Z"}),
    "revert": (RevertInput, {"force": True, "reason": "The small model fails on invoices."}),
}

urlpatterns = [
    path("plans/", PlanList.as_view(), name="plans"),
    path("plans/<str:id>/", PlanDetail.as_view(), name="plan"),
    *(
        path(
            f"plans/<str:id>/{name}/",
            PlanAgain.as_view(make=make, about=make.__doc__ or ""),
            name=f"plan_{name}",
        )
        for name, make in (("rebase", _rebase), ("copy", _copy))
    ),
    *(
        path(
            f"plans/<str:id>/{name}/",
            PlanStep.as_view(
                required_role={"POST": role},
                step=step,
                about=step.__doc__ or "",
                parameters=PUBLISHES if name in ("apply", "revert") else {},
                takes={"POST": _TAKEN[name][0]} if name in _TAKEN else {},
                examples={"POST": _TAKEN[name][1]} if name in _TAKEN else {},
            ),
            name=f"plan_{name}",
        )
        for name, (role, step) in STEPS.items()
    ),
]
