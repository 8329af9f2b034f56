"""Exports and imports of routes, as JSON Schema."""

from routes.history.shapes import ROUTE_CHANGES
from routes.paths.shapes import GIVEN_SERVICE
from routes.rules.shapes import CONTENT, DOCUMENT_ROUTE, FINDING
from routes.shapes import CHANGE, UUID, described, given, listed, one_of, or_null, text, written
from routes.transfer.services import MODES

EXPORT = CONTENT
_ROUTE = given(
    "ImportedRoute",
    {
        **DOCUMENT_ROUTE["properties"],
        "id": described(or_null(UUID), "Without it the route of this name is meant, or else a new one."),
    },
    required=("name", "then"),
)
IMPORT = given(
    "RoutesToImport",
    {
        "mode": described(one_of(*MODES), "`replace`: exactly these routes. `merge`: the others stay."),
        "content": given(
            "ContentToImport",
            {
                "default": described(CONTENT["properties"]["default"], "Left out, it stays as it is."),
                "routes": listed(_ROUTE),
                "services": described(
                    listed(GIVEN_SERVICE, maxItems=500), "Left out, they stay as they are; each is known by its slug."
                ),
            },
            required=("routes",),
        ),
        "note": text(longest=10_000),
    },
    required=("mode", "content"),
)
IMPORTED = written("RoutesImported", {"difference": ROUTE_CHANGES, **CHANGE, "lint": listed(FINDING)})
