"""What the engine refuses. Every class carries its own HTTP status, because a gateway has no table of statuses."""

from collections.abc import Iterable
from typing import ClassVar, TypedDict


class Issue(TypedDict):
    """One thing that is wrong with a route: where (`when.model_in[1]`), a stable code, and a sentence for people."""

    path: str
    code: str
    message: str


class RoutingError(Exception):
    """Base of all refusals of the engine."""

    code: ClassVar[str] = "routing_error"
    http_status: ClassVar[int] = 500
    #: Whether the same call may succeed later, with nothing changed by the caller.
    retryable: ClassVar[bool] = False


class InvalidRoute(RoutingError):
    """A route, or a part of one, is not acceptable. `issues` holds everything that is wrong, not only the first."""

    code = "invalid_route"
    http_status = 422

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues: list[Issue] = list(issues)
        super().__init__("; ".join(f"{issue['path'] or 'route'}: {issue['message']}" for issue in self.issues))

    def __reduce__(self) -> tuple[type["InvalidRoute"], tuple[list[Issue]]]:
        # By default an exception is pickled with its message, which is not what the constructor takes.
        return type(self), (self.issues,)


class DocumentRejected(RoutingError):
    """A document cannot be loaded as a whole; the last good one stays in use."""

    code = "document_rejected"
    http_status = 422


class ManagementUnsupported(RoutingError):
    """This store only reads; routes are managed elsewhere."""

    code = "management_unsupported"
    http_status = 501


class StoreUnavailable(RoutingError):
    """The store does not answer, and nothing loaded earlier can stand in."""

    code = "store_unavailable"
    http_status = 503
    retryable = True
