"""Versions and what differs between two of them, as JSON Schema."""

from routes.rules.shapes import CONTENT, FINDING
from routes.shapes import (
    CHANGE,
    COUNT,
    DIGEST,
    FLAG,
    TEXT,
    TIME,
    UUID,
    described,
    listed,
    one_of,
    or_null,
    thing,
    written,
)

_AUTHOR = thing("VersionAuthor", {"type": TEXT, "id": TEXT, "name": TEXT})
_VERSION = {
    "version": COUNT,
    "digest": DIGEST,
    "cause": described(TEXT, "The action in the audit log that led to it, like `route.updated`."),
    "author": _AUTHOR,
    "note": TEXT,
    "published_at": TIME,
    "is_kept": described(FLAG, "Whether its content is still there: that of old versions is retired."),
}
BRIEF = thing("VersionBrief", _VERSION)
VERSION = thing("Version", {**_VERSION, "content": described(or_null(CONTENT), "Null where it is retired.")})
ROUTE_CHANGES = listed(
    thing(
        "RouteChange",
        {
            "route_id": described(
                or_null(UUID), "Null for what happens to requests that no route takes, and for services."
            ),
            "service": described(TEXT, "The slug of the service that this is about; of nothing else."),
            "name": or_null(TEXT),
            "change": one_of("added", "removed", "changed", "moved"),
            "fields": listed(
                thing(
                    "FieldChange",
                    {
                        "path": described(
                            TEXT,
                            "A JSON pointer into the route, or the service; `/position` is a route's place in the order.",
                        ),
                        "was": described({}, "Null where it was not there."),
                        "is": described({}, "Null where it is not there any more."),
                    },
                )
            ),
        },
        optional=("service",),
    )
)
DIFFERENCE = thing("VersionDifference", {"from": COUNT, "to": COUNT, "results": ROUTE_CHANGES})
RESTORED = written(
    "VersionRestored", {"restored_version": COUNT, "difference": ROUTE_CHANGES, **CHANGE, "lint": listed(FINDING)}
)
