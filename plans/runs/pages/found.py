"""What all pages about one plan begin with."""

from django.http import Http404, HttpRequest

from plans.runs import services
from plans.runs.models import PlanRun
from routes.errors import NotFound


def plan_or_404(request: HttpRequest, id: str) -> PlanRun:
    try:
        return services.get_plan(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error
