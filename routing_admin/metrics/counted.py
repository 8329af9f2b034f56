"""What a web process counts itself, and how several of them are added up.

With one process behind an address these are its own. Where several answer in turn, as granian's workers do, a scrape would
meet now the one, now the other: there `PROMETHEUS_MULTIPROC_DIR` names a folder in which each keeps its counts, and
whichever is asked adds up all of them, with those of processes that have ended.
"""

import os
from collections.abc import Iterable
from typing import Final

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from routing_admin.served import method_of, route_of

#: Routes at which a request is decided, and by which door one comes there.
_DOORS: Final = {"api:decide": "api", "admin:try": "admin"}
#: From a poll that is answered from memory to what a proxy gives up on.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # several processes added up have no moment of creation
_registry = CollectorRegistry()
_requests = Histogram(
    "routing_admin_request_duration_seconds",
    "Requests, and how long until their answers began, by the name of the URL's pattern, method and class of status.",
    ["route", "method", "status"],
    buckets=_BUCKETS,
    registry=_registry,
)
_decisions = Counter(
    "routing_admin_decisions",
    "Requests that were decided on trial: decide/ of the API, and Try a request in the admin.",
    ["door"],
    registry=_registry,
)


def count(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    """Count an answered request."""
    route = route_of(request)
    _requests.labels(route, method_of(request), f"{response.status_code // 100}xx").observe(seconds)
    if route in _DOORS and request.method == "POST" and response.status_code == 200:
        _decisions.labels(_DOORS[route]).inc()


def counted() -> Iterable[Metric]:
    """The counts of this process, or of all that share the folder."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return MultiProcessCollector(None).collect()
    return _registry.collect()
