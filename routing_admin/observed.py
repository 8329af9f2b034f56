"""Each request is timed, counted, and told in one line of the log."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from routing_admin.metrics.counted import count
from routing_admin.served import PROBES, serving

log = logging.getLogger("routing_admin.requests")


def observed(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Inside `request_id`, around everything else, so that what is refused early is seen too."""

    def middleware(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        with serving(request):
            response = get_response(request)
            seconds = time.perf_counter() - began
            count(request, response, seconds)
            _tell(request, response, seconds)
        return response

    return middleware


def _tell(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    level = logging.ERROR if response.status_code >= 500 else logging.INFO
    if request.path_info in PROBES:
        level = logging.DEBUG  # asked every few seconds; what is wrong is told where it is found
    more = {"status": response.status_code, "duration_ms": round(seconds * 1000, 3)}
    log.log(level, "request", exc_info=getattr(request, "uncaught", None), extra=more)


@receiver(got_request_exception)
def _keep(request: Any, **_: Any) -> None:
    """Django has answered an error that nobody foresaw by the time that the line is written."""
    request.uncaught = sys.exc_info()[1]
