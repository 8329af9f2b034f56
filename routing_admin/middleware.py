"""Gives every request an id that its answer, its problems and its audit entries carry."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from audit.request_id import bind


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        # Made here, never taken from the client: an id in the audit log must not be of somebody's choosing.
        own = str(uuid.uuid4())
        request.id = own
        with bind(own):
            response = get_response(request)
        response["X-Request-Id"] = own
        return response

    return middleware
