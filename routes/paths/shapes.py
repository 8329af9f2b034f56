"""Services and their paths, as JSON Schema."""

from routes.shapes import (
    FLAG,
    Shape,
    by_name,
    described,
    given,
    listed,
    or_null,
    text,
    thing,
)

SLUG = described(text(pattern="^[a-z][a-z0-9-]{1,62}$"), "In URLs, and in the prefix `/s/<org>/<slug>` of gateways.")
_SECONDS: Shape = {"type": "number", "exclusiveMinimum": 0, "maximum": 3_600}
TIMEOUTS = given(
    "ServiceTimeouts",
    {
        "connect_seconds": or_null(_SECONDS),
        "first_byte_seconds": or_null(_SECONDS),
        "idle_seconds": or_null(_SECONDS),
    },
)
_PATH_KEYS: dict[str, Shape] = {
    "pattern": described(
        text(pattern="^/"),
        "`/users/:id`, `/api/*` (what is below), `/api/**` (and `/api` itself); `\\:` and `\\*` are text.",
    ),
    "target_url": described(text(pattern="^https?://"), "What a star took is appended to its path."),
    "methods": described(or_null(listed(text(pattern="^[A-Z][A-Z0-9_-]*$"))), "Null or left out: any."),
    "headers": described(or_null(by_name(listed(text(least=1)))), "Of every header, in lower case, one of these."),
    "enabled": FLAG,
}
PATH = given("ServicePath", _PATH_KEYS, required=("pattern", "target_url"))
PATHS = listed(PATH, maxItems=500)
#: As versions and exports hold it.
DOCUMENT_SERVICE = thing(
    "DocumentService", {"slug": SLUG, "enabled": FLAG, "timeouts": TIMEOUTS, "paths": listed(PATH)}
)
NEW_KEYS: dict[str, Shape] = {"slug": SLUG, "enabled": FLAG, "timeouts": TIMEOUTS, "paths": PATHS}
#: What an import takes.
GIVEN_SERVICE = given("GivenService", NEW_KEYS, required=("slug",))
HOSTS = listed(text(longest=253))
