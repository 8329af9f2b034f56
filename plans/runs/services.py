"""The services of plans. With the worker, only writers of `PlanRun`."""

from plans.runs.applying import apply, apply_due, revert, schedule
from plans.runs.proposals import copy, draft_of, edit, etag, propose, rebase, tag
from plans.runs.steps import approve, cancel, digest, get_plan, is_void, project, reject

__all__ = (
    "apply",
    "apply_due",
    "approve",
    "cancel",
    "copy",
    "digest",
    "draft_of",
    "edit",
    "etag",
    "get_plan",
    "is_void",
    "project",
    "propose",
    "rebase",
    "reject",
    "revert",
    "schedule",
    "tag",
)
