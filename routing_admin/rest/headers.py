"""What headers answers have beside those of all HTTP, as the OpenAPI document states them."""

from typing import Any, Final

from routes.shapes import TEXT, UUID, Shape, text, whole

type Headers = dict[str, dict[str, str]]


def _header(description: str, shape: Shape, *, required: bool = True) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": shape}


_TAG: Final = text(pattern=r'^".+"$')
#: By the name of their component.
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": _header("Of this call, in the log and in audit entries.", UUID),
    "RateLimit": _header("How many calls are left, and for how many seconds.", text(pattern=r'^".+";r=\d+;t=\d+$')),
    "RateLimit-Policy": _header("How many calls there are, in how many seconds.", text(pattern=r'^".+";q=\d+;w=\d+$')),
    "Retry-After": _header("After so many seconds ask again.", whole(0, 86_400)),
    "RetryAfterIfAny": _header("After so many seconds ask again, where time helps.", whole(0, 86_400), required=False),
    "WWW-Authenticate": _header("How to say who one is.", {"type": "string", "const": "Bearer"}),
    "ETag": _header("Names the state of what was answered, or of `current`.", _TAG),
    "ETagIfAny": _header("Names the state of what was answered; nothing has none.", _TAG, required=False),
    "ETagWritten": _header("Names the state as it is now; none with `dry_run`.", _TAG, required=False),
    "Location": _header("The path of what was made; none with `dry_run`.", TEXT, required=False),
    "Idempotency-Replayed": _header(
        "That this is the answer to an earlier call.", {"type": "string", "const": "true"}, required=False
    ),
}
#: Headers of components that are not called so.
_OTHERWISE: Final = {"ETagIfAny": "ETag", "ETagWritten": "ETag", "RetryAfterIfAny": "Retry-After"}
_EVERYWHERE: Final = ("X-Request-Id", "RateLimit", "RateLimit-Policy")
_OF_REFUSALS: Final = {
    401: ("WWW-Authenticate",),
    409: ("RetryAfterIfAny",),
    412: ("ETag",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def stated(*components: str) -> Headers:
    """The headers of an answer: those that every answer has, and these."""
    names = {name: _OTHERWISE.get(name, name) for name in (*components, *_EVERYWHERE)}
    return {header: {"$ref": f"#/components/headers/{name}"} for name, header in names.items()}


def of_refusal(status: int) -> Headers:
    return stated(*_OF_REFUSALS.get(status, ()))
