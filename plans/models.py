"""The models of all subjects of this application, in one place for Django."""

from plans.logs.models import RequestLog
from plans.runs.models import PlanRun, PlansSeen

__all__ = ["PlanRun", "PlansSeen", "RequestLog"]
