"""What the engine and the routers behind its SPI refuse: one tree, so that a gateway needs a single handler.

Every class carries its own HTTP status, because a gateway has no table of statuses, and says whether the same call may
succeed later with nothing changed by the caller.
"""

from collections.abc import Iterable
from typing import ClassVar, TypedDict


class Issue(TypedDict):
    """One thing that is wrong with a route: where (`when.model_in[1]`), a stable code, and a sentence for people."""

    path: str
    code: str
    message: str


class RoutingError(Exception):
    """Base of all refusals. `code` is the class in snake case unless given."""

    code: ClassVar[str] = "routing_error"
    http_status: ClassVar[int] = 500
    #: Whether the same call may succeed later, with nothing changed by the caller.
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "code" not in cls.__dict__:
            cls.code = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__)[1:]


class PartitionUnresolved(RoutingError):
    """The request does not say which partition (organisation) it belongs to."""

    http_status = 400


class UnsupportedEndpoint(RoutingError):
    """The router does not serve this endpoint."""

    http_status = 400


class UnsafePath(RoutingError):
    """The path could mean another one to an upstream: dot segments, encoded slashes or backslashes, control bytes."""

    http_status = 400


class MalformedRequest(RoutingError):
    """The request is not what its endpoint reads, or not well-formed HTTP."""

    http_status = 400


class AuthFailed(RoutingError):
    """Whoever asks could not be identified."""

    http_status = 401


class BudgetExceeded(RoutingError):
    """Every model that could serve the request costs more than its ceiling allows."""

    http_status = 402


class Forbidden(RoutingError):
    """Whoever asks is known and may not do this."""

    http_status = 403


class PlacementMissing(RoutingError):
    """The partition has no placement."""

    http_status = 404


class NoRoute(RoutingError):
    """Nothing is configured for this request."""

    http_status = 404


class MethodNotAllowed(RoutingError):
    """The path is known, the method is not. `allow` holds the methods that are, in the order of the alphabet."""

    http_status = 405

    def __init__(self, message: str, allow: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.allow: tuple[str, ...] = tuple(sorted(allow))

    def __reduce__(self) -> tuple[type["MethodNotAllowed"], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.allow)


class StaleEpoch(RoutingError):
    """The write was decided before a step of its placement; deciding again gives it the present epoch."""

    http_status = 409
    retryable = True


class PayloadTooLarge(RoutingError):
    """The request is larger than the router takes."""

    http_status = 413


#: So many issues stand in the text of an error; `issues` has all.
MAX_TOLD = 20


class InvalidRoute(RoutingError):
    """A route, or a part of one, is not acceptable. `issues` holds everything that is wrong, not only the first."""

    http_status = 422

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues: list[Issue] = list(issues)
        told = [f"{issue['path'] or 'route'}: {issue['message']}" for issue in self.issues[:MAX_TOLD]]
        if len(self.issues) > MAX_TOLD:
            told.append(f"and {len(self.issues) - MAX_TOLD:,} more")
        super().__init__("; ".join(told))

    def __reduce__(self) -> tuple[type["InvalidRoute"], tuple[list[Issue]]]:
        # By default an exception is pickled with its message, which is not what the constructor takes.
        return type(self), (self.issues,)


class DocumentRejected(RoutingError):
    """A document cannot be loaded as a whole; the last good one stays in use."""

    http_status = 422


class Overloaded(RoutingError):
    """More requests are under way than the router takes at a time."""

    http_status = 429
    retryable = True


class Internal(RoutingError):
    """A fault of our own. What an implementation of the SPI raises beside this tree becomes one of these."""

    http_status = 500


class ManagementUnsupported(RoutingError):
    """This store only reads; routes are managed elsewhere."""

    http_status = 501


class UpstreamFailed(RoutingError):
    """The upstream could not be reached, broke off, or did not answer with HTTP."""

    http_status = 502


class EgressDenied(RoutingError):
    """The upstream's address is one to which the gateway does not connect."""

    http_status = 502


class ProviderUnresolved(RoutingError):
    """No provider is configured for the model that was decided on."""

    http_status = 502


class UpstreamUnavailable(RoutingError):
    """The upstream failed so often that it is left alone for a while."""

    http_status = 503
    retryable = True


class StoreUnavailable(RoutingError):
    """The store does not answer, and nothing loaded earlier can stand in."""

    http_status = 503
    retryable = True


class PlacementUnavailable(RoutingError):
    """The placements cannot be read at the moment."""

    code = "placement_backend_unavailable"
    http_status = 503
    retryable = True


class UpstreamTimeout(RoutingError):
    """The upstream did not answer in time."""

    http_status = 504
