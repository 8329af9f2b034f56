"""Services and their paths, as JSON Schema."""

from routes.engine.placements import PHASES
from routes.shapes import (
    CHANGE,
    COUNT,
    FLAG,
    RECEIPT,
    TEXT,
    TIME,
    UPSTREAM_FINDINGS,
    Shape,
    by_name,
    described,
    given,
    listed,
    one_of,
    or_null,
    text,
    thing,
    whole,
    written,
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

# --- What the API takes and gives ---------------------------------------------------------------------------------------

_READ_ONLY: dict[str, Shape] = {"revision": COUNT, "created_at": TIME, "updated_at": TIME}
_IGNORED: dict[str, Shape] = {name: described({}, "Not looked at.") for name in _READ_ONLY}
SERVICE = thing("Service", {**NEW_KEYS, **_READ_ONLY})
NEW_SERVICE = given("NewService", {**NEW_KEYS, **_IGNORED}, required=("slug",))
WHOLE_SERVICE = given(
    "WholeService", {**NEW_KEYS, "slug": described(SLUG, "Left out, it stays; another one renames."), **_IGNORED}
)
SERVICE_PATCH = given(
    "ServicePatch",
    {**{name: shape if name == "slug" else or_null(shape) for name, shape in NEW_KEYS.items()}, **_IGNORED},
)
SERVICE_WRITTEN = written("ServiceWritten", {"service": SERVICE, **CHANGE, "findings": UPSTREAM_FINDINGS})
SERVICE_DELETED = written("ServiceDeleted", CHANGE)
_INDEX = described(COUNT, "Its place in the service's list, which settles what is equally specific.")
TABLE = thing(
    "ServiceTable",
    {
        "paths": described(
            listed(
                thing(
                    "OrderedPath",
                    {"index": _INDEX, **_PATH_KEYS},
                    optional=("methods", "headers", "enabled"),
                )
            ),
            "In the order in which they are asked; disabled ones, which are not, come last.",
        )
    },
)
NEW_PATHS = given(
    "NewServicePaths",
    {
        "paths": listed(
            given(
                "GivenPath",
                {**_PATH_KEYS, "index": described({}, "Not looked at.")},
                required=("pattern", "target_url"),
            ),
            maxItems=500,
        )
    },
    required=("paths",),
)
TRIED_PATH = given(
    "TriedPath",
    {
        "method": described(text(pattern="^[A-Z][A-Z0-9_-]*$"), "GET where it is left out."),
        "path": described(text(longest=8_192), "As on the wire, without query."),
        "headers": by_name({"anyOf": [TEXT, listed(TEXT)]}),
    },
    required=("path",),
)
PATH_MATCHED = thing(
    "PathMatched",
    {
        "reason": one_of("matched", "disabled", "no_path", "method_not_allowed", "unsafe_path"),
        "detail": described(TEXT, "Why no path takes it; empty where one does."),
        "allow": described(listed(TEXT), "The methods that would be taken, with `method_not_allowed`."),
        "index": or_null(_INDEX),
        "pattern": or_null(TEXT),
        "target_url": or_null(TEXT),
        "params": by_name(TEXT),
        "remainder": described(or_null(TEXT), "What the star took; null without a star."),
        "url": described(or_null(TEXT), "What a gateway would ask; null where it would answer a refusal."),
        "placement": described(
            or_null(
                thing(
                    "FoundPlacement",
                    {
                        "partition": or_null(TEXT),
                        "detail": described(TEXT, "What gateways answer where there is no placement; else empty."),
                        "cluster": or_null(TEXT),
                        "resource": or_null(TEXT),
                        "phase": or_null(one_of(*PHASES)),
                        "epoch": or_null(COUNT),
                    },
                )
            ),
            "Of a target that leads to placements, what holds at this moment.",
        ),
        "paths": listed(
            thing(
                "PathStep",
                {
                    "index": COUNT,
                    "pattern": TEXT,
                    "outcome": one_of("taken", "later", "method", "headers", "path", "disabled"),
                    "why": TEXT,
                },
            )
        ),
    },
)
SERVICE_HOSTS = thing("ServiceHosts", {"hosts": HOSTS})
NEW_HOSTS = given("NewServiceHosts", {"hosts": {**HOSTS, "maxItems": 100}}, required=("hosts",))
_CHANGED: dict[str, Shape] = {"changed": FLAG, "receipt": or_null(RECEIPT)}
HOSTS_WRITTEN = written("ServiceHostsWritten", {"hosts": HOSTS, **_CHANGED})
_UPSTREAMS = listed(
    thing("PrivateUpstream", {"network": described(TEXT, "Like 10.1.0.0/16."), "port": whole(1, 65_535)}), maxItems=100
)
PRIVATE_UPSTREAMS = thing("PrivateUpstreams", {"private_upstreams": _UPSTREAMS})
UPSTREAMS_WRITTEN = written("PrivateUpstreamsWritten", {"private_upstreams": _UPSTREAMS, **_CHANGED})
