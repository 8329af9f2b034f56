"""The request that is being served: what the log and the metrics may say of it.

Its pattern's name, never its path: paths, queries, headers and bodies hold names, tags and secrets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

from audit.actors import as_actor

#: What is answered before URLs are looked at, by its path.
PROBES: Final = {"/healthz": "healthz", "/readyz": "readyz", "/metrics": "metrics"}
#: The name of what no pattern was found for: nothing is there, or it was refused before anybody looked.
UNRESOLVED: Final = "unresolved"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_served: ContextVar[HttpRequest | None] = ContextVar("served", default=None)


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Make this the request that is being served inside the block."""
    token = _served.set(request)
    try:
        yield
    finally:
        _served.reset(token)


def route_of(request: HttpRequest) -> str:
    """The name of the URL's pattern, such as `api:route`; of static files `static`. One of a few, whatever is asked for."""
    if match := request.resolver_match:
        return str(match.view_name)
    if request.path_info in PROBES:
        return PROBES[request.path_info]
    return "static" if request.path_info.startswith(settings.STATIC_URL) else UNRESOLVED


def method_of(request: HttpRequest) -> str:
    """The method; `other` for any that nobody here answers, because clients may invent them."""
    return request.method if request.method in _METHODS else "other"


def facts() -> dict[str, str]:
    """Of the request that is being served, what is known of it by now: `request_id`, `org` (slug), `actor` (`user:5`,
    `api_key:k3yid`), `method` and `route`. Empty outside a request. Asks no database."""
    request: Any = _served.get()
    if request is None:
        return {}
    org, actor = getattr(request, "org", None), _actor_of(request)
    return {
        "request_id": request.id,
        **({"org": org.slug} if org is not None else {}),
        **({"actor": actor} if actor else {}),
        "method": method_of(request),
        "route": route_of(request),
    }


def _actor_of(request: Any) -> str | None:
    # `request.user` would ask the database, if nobody did before: what it found is kept here.
    by = getattr(request, "actor", None) or getattr(request, "_cached_user", None)
    if by is None or getattr(by, "is_anonymous", False):
        return None
    actor = as_actor(by)
    return f"{actor.type}:{actor.id}"
