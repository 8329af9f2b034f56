"""The admin's pages about plans, by URL; see `plans.runs.pages`."""

from django.urls import path

from plans.runs.drafting import ACTS
from plans.runs.pages.drafts import plan_edit, plan_new, plan_new_json, plan_windows
from plans.runs.pages.lists import plans, plans_seen
from plans.runs.pages.routes import plan_route, plan_route_act, plan_traffic
from plans.runs.pages.shown import plan, plan_progress
from plans.runs.pages.steps import STEPS, plan_step

PAGES = [
    path("plans/", plans, name="plans"),
    path("plans/seen/", plans_seen, name="plans_seen"),
    path("plans/new/", plan_new, name="plan_new"),
    path("plans/new/json/", plan_new_json, name="plan_new_json"),
    path("plans/<uuid:id>/", plan, name="plan"),
    path("plans/<uuid:id>/edit/", plan_edit, name="plan_edit"),
    path("plans/<uuid:id>/progress/", plan_progress, name="plan_progress"),
    path("plans/<uuid:id>/windows/", plan_windows, name="plan_windows"),
    path("plans/<uuid:id>/traffic/", plan_traffic, name="plan_traffic"),
    path("plans/<uuid:id>/routes/new/", plan_route, name="plan_route_new"),
    path("plans/<uuid:id>/routes/<uuid:route>/", plan_route, name="plan_route"),
    *(
        path(f"plans/<uuid:id>/routes/<uuid:route>/{act}/", plan_route_act, {"act": act}, name=f"plan_route_{act}")
        for act in ACTS
    ),
    *(path(f"plans/<uuid:id>/{step}/", plan_step, {"step": step}, name=f"plan_{step}") for step in STEPS),
]
