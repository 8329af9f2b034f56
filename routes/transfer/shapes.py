"""Exports and imports of routes, as JSON Schema."""

from routes.history.shapes import ROUTE_CHANGES
from routes.rules.shapes import CONTENT, DOCUMENT_ROUTE, FINDING
from routes.shapes import CHANGE, OBJECT, UUID, described, given, listed, one_of, or_null, text, written
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
                "services": listed(OBJECT, maxItems=0),
            },
            required=("routes",),
        ),
        "note": text(longest=10_000),
    },
    required=("mode", "content"),
)
IMPORTED = written("RoutesImported", {"difference": ROUTE_CHANGES, **CHANGE, "lint": listed(FINDING)})
