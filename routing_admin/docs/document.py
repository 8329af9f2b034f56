"""The OpenAPI document of this release: made once in each process."""

import json
from functools import cache
from threading import Lock
from typing import Any, Final

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from routes.examples.api import BROKEN
from routes.shapes import TEXT, UUID, Shape, described, listed, or_null, thing, whole
from routing_admin.errors import TITLES
from routing_admin.rest.headers import HEADERS, of_refusal
from routing_admin.rest.schema import CODES, TAGS, problem_name

_PROBLEM: Final[Shape] = thing(
    "Problem",
    {
        "type": TEXT,
        "title": TEXT,
        "status": whole(400, 599),
        "code": described(TEXT, "Stable: what programs look at."),
        "detail": described(TEXT, "For people."),
        "instance": TEXT,
        "request_id": or_null(UUID),
        "errors": listed(
            thing(
                "Error",
                {
                    "pointer": described(TEXT, "A JSON pointer into the body; of a query parameter, to its name."),
                    "code": TEXT,
                    "detail": TEXT,
                },
            )
        ),
        "current": described({}, "What is there now."),
        "difference": described({}, "By field what changed since the caller looked; null where that is not known."),
        "state": described(TEXT, "The state that the plan is in."),
        "touched": described(listed(TEXT), "What changed since, of that which the plan changes too."),
        "conflicts": described(listed(TEXT), "What was changed again since the plan was applied."),
        "plan": described(thing("DraftMade", {"id": UUID, "name": TEXT}), "The draft that keeps what was refused."),
        "broken": described(listed(BROKEN), "The examples that held and would not hold any more."),
    },
    optional=("errors", "current", "difference", "state", "touched", "conflicts", "plan", "broken"),
)
_SECURITY: Final = {
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "rk_<kind>_<id>_<secret>"},
    "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
}


_making: Final = Lock()


def document() -> dict[str, Any]:
    """Not to be changed."""
    # The generator fails where several threads are in it for the first time.
    with _making:
        return _made()


@cache
def _made() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    found["tags"] = [{"name": title} for title in TAGS.values()]
    components = found["components"]
    components["schemas"]["Problem"] = {name: part for name, part in _PROBLEM.items() if name != "title"}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    components["responses"] = {
        problem_name(code): {"description": TITLES[code], "headers": of_refusal(code), "content": content}
        for code in CODES
    }
    components["headers"] = HEADERS
    components["securitySchemes"] = _SECURITY
    return found


@cache
def as_json() -> bytes:
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def as_yaml() -> bytes:
    return bytes(OpenApiYamlRenderer().render(document(), renderer_context={}))
