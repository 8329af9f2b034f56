"""`/metrics` in the text format of Prometheus, for who has the token, or sits on this very machine."""

from collections.abc import Callable, Iterable
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from routing_admin.errors import problem_body
from routing_admin.metrics.counted import counted
from routing_admin.metrics.stored import Stored

PATH: Final = "/metrics"
#: What proxies leave in a request.
_TRACES: Final = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_")
stored = Stored()


class _Everything(Collector):
    def collect(self) -> Iterable[Metric]:
        yield from counted()
        yield from stored.collect()


def metrics(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers scrapes before anything else looks at them: they name no host that is allowed, and have no session."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return _answer(request) if request.path_info == PATH else get_response(request)

    return middleware


def _answer(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        # Not 404: everybody may know that this page exists, and who set a scraper up must learn what it lacks.
        detail = "Send METRICS_TOKEN as Authorization: Bearer …"
        body = problem_body(request, 403, "forbidden", detail)
        return JsonResponse(body, status=403, content_type="application/problem+json")
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    text = generate_latest(_Everything())
    return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        # Then nothing else counts, so that setting it closes the page whatever stands in front.
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        token = settings.METRICS_TOKEN.encode()
        return scheme.lower() == "bearer" and compare_digest(given.strip().encode("utf-8", "replace"), token)
    return _is_from_this_machine(request)


def _is_from_this_machine(request: HttpRequest) -> bool:
    # Behind a proxy on the same machine everybody's request comes from loopback. A proxy shows in the settings, or by what
    # it leaves in the request. One that does neither, as nginx without further words, cannot be told from somebody at this
    # machine: there METRICS_TOKEN closes the page.
    if settings.NUM_PROXIES or settings.SECURE_PROXY_SSL_HEADER:
        return False
    if any(name.startswith(_TRACES) for name in request.META):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a socket of the file system, which has no address
        return False
    return address.is_loopback
