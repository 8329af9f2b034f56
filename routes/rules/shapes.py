"""Routes, decisions and what lint finds, as JSON Schema."""

from routes.engine.document import SCHEMA
from routes.paths.shapes import DOCUMENT_SERVICE
from routes.requests import MAY_BE_UNKNOWN
from routes.shapes import (
    CHANGE,
    COUNT,
    DIGEST,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    USD,
    UUID,
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

_WORDS = listed(text(least=1))
_TOKENS = or_null(whole(0, 2**53 - 1))
_ANY = or_null(FLAG)
_CONDITIONS: Shape = {"$ref": "#/components/schemas/Conditions"}

CONDITIONS = given(
    "Conditions",
    {
        "model_in": described(_WORDS, "The requested model is one of these."),
        "model_matches": described(_WORDS, "It matches one of these; `*` stands for any run of characters."),
        "input_tokens_lt": described(_TOKENS, "Fewer tokens than this."),
        "input_tokens_gt": described(_TOKENS, "More tokens than this."),
        "tag_equals": or_null(text(least=1)),
        "has_images": _ANY,
        "has_audio": _ANY,
        "has_documents": _ANY,
        "has_tools": _ANY,
        "is_stream": _ANY,
        "prompt_contains_any_of": described(_WORDS, "Any of these is in the text of user and system, in any case."),
        "prompt_matches_any_of": described(_WORDS, "Any of these RE2 patterns is found in it."),
        "estimated_cost_gt": or_null(USD),
        "estimated_cost_lt": or_null(USD),
        "metadata": described(by_name(_WORDS), "Of every key the value is one of these."),
        "headers": described(by_name(_WORDS), "Of every header, in lower case, a value is one of these."),
        "numbers": by_name({"type": "object", "properties": {"gt": NUMBER, "lt": NUMBER}, "minProperties": 1}),
        "upstream_latency_ms_p95_gt": _TOKENS,
        "time_window": or_null(
            given(
                "TimeWindow",
                {
                    "days": listed(one_of("mon", "tue", "wed", "thu", "fri", "sat", "sun")),
                    "from": text(pattern="^[0-2][0-9]:[0-5][0-9]$"),
                    "to": text(pattern="^[0-2][0-9]:[0-5][0-9]$"),
                    "tz": described(TEXT, "Like Europe/Berlin."),
                },
                required=("from", "to", "tz"),
            )
        ),
        "any_of": described(listed(_CONDITIONS), "At least one of these holds."),
        "not": described({"anyOf": [_CONDITIONS, {"type": "null"}]}, "This does not hold."),
    },
)
_MODEL = text(least=1)
ACTION = given(
    "Action",
    {
        "target_model": described(or_null(_MODEL), "The model to send; null leaves it as it is."),
        "provider": or_null(_MODEL),
        "fallbacks": described(listed(_MODEL), "To be tried after it, in order."),
        "disable_cache": FLAG,
        "max_cost_usd": or_null(USD),
        "traffic_pct": described(or_null(whole(0, 100)), "This share takes the route; the rest passes unchanged."),
        "split": listed(thing("SplitArm", {"target_model": _MODEL, "weight": whole(1, 10_000)})),
        "shadow_model": or_null(_MODEL),
        "refuse": or_null(
            thing("Refusal", {"status": whole(400, 499), "code": text(least=1, longest=64), "message": text(least=1)})
        ),
    },
)
META: Shape = {
    "title": "Meta",
    "type": "object",
    "description": "For people; decisions ignore it.",
    "properties": {
        "description": or_null(text(longest=2_000)),
        "owner": or_null(TEXT),
        "labels": or_null(by_name(TEXT)),
        "link": or_null(text(pattern="^[Hh][Tt][Tt][Pp][Ss]?://")),
    },
    "patternProperties": {"^x-.": {}},
    "additionalProperties": False,
}
_NAME = text(least=1, longest=200)
_PRIORITY = described(whole(0, 2**31 - 1), "Higher ones are asked first.")
_SAVED: dict[str, Shape] = {"revision": COUNT, "created_at": TIME, "updated_at": TIME}

_ROUTE_KEYS: dict[str, Shape] = {
    "id": described(TEXT, "As in the URL, or left out."),
    "name": _NAME,
    "priority": _PRIORITY,
    "enabled": FLAG,
    "paused": FLAG,
    "active_from": or_null(TIME),
    "active_until": or_null(TIME),
    "when": CONDITIONS,
    "then": ACTION,
    "meta": META,
}
ROUTE = thing("Route", {**_ROUTE_KEYS, "id": UUID, **_SAVED})
_IGNORED: dict[str, Shape] = {name: described({}, "Not looked at.") for name in _SAVED}
#: As versions and plans hold it: defaults are left out.
DOCUMENT_ROUTE = given("DocumentRoute", _ROUTE_KEYS, required=("id", "name", "priority", "enabled", "when", "then"))
NEW_ROUTE = given("NewRoute", {**_ROUTE_KEYS, **_IGNORED}, required=("name", "then"))
ROUTE_PATCH = given(
    "RoutePatch",
    {
        **{name: shape if name in ("id", "name", "then") else or_null(shape) for name, shape in _ROUTE_KEYS.items()},
        **_IGNORED,
    },
)

_CODES = ("never_matches", "shadowed", "tie", "no_effect", "retired_target", "unknown_target")
FINDING = thing(
    "Finding",
    {
        "code": one_of(*_CODES),
        "severity": one_of("error", "warning", "info"),
        "route_ids": described(listed(UUID), "The routes that it is about; none where it is about the default."),
        "by": described(listed(UUID), "The routes that are in the way."),
        "witness": described(or_null(OBJECT), "A request that shows it."),
        "undecided": described(or_null(one_of("keywords", "pattern", "regex", "budget")), "Why it is not certain."),
        "message": TEXT,
    },
)
FINDINGS = thing("Findings", {"results": listed(FINDING)})
ROUTE_WRITTEN = written("RouteWritten", {"route": ROUTE, **CHANGE, "lint": listed(FINDING)})
ROUTE_DELETED = written("RouteDeleted", CHANGE)
IDS = listed(UUID, maxItems=1_000)
ROUTES_WRITTEN = written("RoutesWritten", {**CHANGE, "lint": listed(FINDING)})
DEFAULT = thing("Default", {"default": or_null(ACTION)})
DEFAULT_WRITTEN = written("DefaultWritten", {"default": or_null(ACTION), **CHANGE})

CONTEXT = given(
    "Context",
    {
        "model": or_null(TEXT),
        "input_tokens": _TOKENS,
        "tag": or_null(TEXT),
        "prompt": or_null(TEXT),
        "has_images": _ANY,
        "has_audio": _ANY,
        "has_documents": _ANY,
        "has_tools": _ANY,
        "is_stream": _ANY,
        "estimated_cost_usd": or_null({**USD, "minimum": 0, "maximum": 1_000_000}),
        "upstream_latency_ms_p95": _TOKENS,
        "metadata": or_null(by_name(TEXT)),
        "headers": or_null(by_name({"anyOf": [TEXT, listed(TEXT)]})),
        "numbers": or_null(by_name(NUMBER)),
        "at": or_null(TIME),
        "request_id": or_null(TEXT),
        "sticky_key": or_null(TEXT),
        "unknown": described(
            or_null(listed(one_of(*MAY_BE_UNKNOWN))), "Of which it is not known whether there is one."
        ),
    },
)
TRIED = given(
    "TriedRequest",
    {
        "context": described(CONTEXT, "Facts; what is left out is unknown, and tag, metadata and headers are absent."),
        "chat": described(or_null(OBJECT), "The body of an OpenAI chat-completions request."),
        "force": described(or_null(TEXT), "The name of the route that is to take it."),
    },
)
_REASONS = ("matched", "default", "no_match", "paused", "control", "refused", "forced", "forced_not_found")
EXPLANATION = thing(
    "Explanation",
    {
        "decision": thing(
            "Decision",
            {
                "org_id": or_null(UUID),
                "version": COUNT,
                "route_id": or_null(UUID),
                "route_name": or_null(TEXT),
                "target_model": or_null(TEXT),
                "provider": or_null(TEXT),
                "fallbacks": listed(TEXT),
                "disable_cache": FLAG,
                "max_cost_usd": or_null(USD),
                "shadow_model": or_null(TEXT),
                "variant": or_null(COUNT),
                "refusal": or_null(ACTION["properties"]["refuse"]["anyOf"][0]),
                "reason": one_of(*_REASONS),
            },
        ),
        "routes": listed(
            thing(
                "RouteExplanation",
                {
                    "route_id": UUID,
                    "name": TEXT,
                    "priority": COUNT,
                    "outcome": one_of("selected", "conditions", "disabled", "inactive", "shadowed"),
                    "conditions": listed(
                        thing(
                            "ConditionExplanation",
                            {"path": TEXT, "expected": {}, "seen": {}, "result": one_of("true", "false", "unknown")},
                        )
                    ),
                    "first_failed": or_null(TEXT),
                },
            )
        ),
    },
)
CONTENT = thing(
    "RoutingContent",
    {
        "default": or_null(ACTION),
        "routes": listed(DOCUMENT_ROUTE),
        "services": listed(DOCUMENT_SERVICE),
    },
)
SNAPSHOT = thing(
    "RoutingDocument",
    {
        "schema": whole(1, SCHEMA),
        "org_id": UUID,
        "org_slug": TEXT,
        "status": one_of("active", "frozen", "closed"),
        "version": COUNT,
        "published_at": or_null(TIME),
        "digest": DIGEST,
        "signature": {"type": "null"},
        "placements": listed({}, maxItems=0),
        "content": CONTENT,
    },
)
