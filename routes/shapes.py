"""What bodies of the API look like, as JSON Schema (2020-12): small pieces that the views put together.

A view says by method what it `takes` and `gives`. A shape with a `title` becomes a component of the OpenAPI document under
that name.
"""

from typing import Any

#: A JSON Schema.
type Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
WHOLE: Shape = {"type": "integer"}
COUNT: Shape = {"type": "integer", "minimum": 0}
NUMBER: Shape = {"type": "number"}
FLAG: Shape = {"type": "boolean"}
UUID: Shape = {"type": "string", "format": "uuid"}
TIME: Shape = {"type": "string", "format": "date-time", "examples": ["2026-11-21T08:00:00.000000Z"]}
DAY: Shape = {"type": "string", "format": "date"}
USD: Shape = {"type": "number", "description": "US dollars, with nine decimals at most."}
OBJECT: Shape = {"type": "object"}
DIGEST: Shape = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}


def described(shape: Shape, description: str) -> Shape:
    return {**shape, "description": description}


def text(*, longest: int | None = None, least: int | None = None, pattern: str | None = None) -> Shape:
    limits = {"minLength": least, "maxLength": longest, "pattern": pattern}
    return {"type": "string", **{name: limit for name, limit in limits.items() if limit is not None}}


def whole(least: int, most: int) -> Shape:
    return {"type": "integer", "minimum": least, "maximum": most}


def one_of(*values: str) -> Shape:
    return {"type": "string", "enum": list(values)}


def or_null(shape: Shape) -> Shape:
    if "title" in shape or not isinstance(shape.get("type"), str):
        return {"anyOf": [shape, {"type": "null"}]}
    also = {"enum": [*shape["enum"], None]} if "enum" in shape else {}
    return {**shape, "type": [shape["type"], "null"], **also}


def listed(shape: Shape, **limits: Any) -> Shape:
    return {"type": "array", "items": shape, **limits}


def by_name(shape: Shape) -> Shape:
    return {"type": "object", "additionalProperties": shape}


def thing(title: str, properties: dict[str, Shape], *, optional: tuple[str, ...] = ()) -> Shape:
    """An object with these members and no others; all are there but the `optional` ones."""
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def given(title: str, properties: dict[str, Shape], *, required: tuple[str, ...] = ()) -> Shape:
    """An object that a caller sends; all may be left out but the `required` ones."""
    return thing(title, properties, optional=tuple(name for name in properties if name not in required))


def written(title: str, properties: dict[str, Shape], *, optional: tuple[str, ...] = ()) -> Shape:
    """What a write answers: with `?dry_run=1` it says so."""
    told = described({"type": "boolean", "const": True}, "Nothing was written.")
    return thing(title, {**properties, "dry_run": told}, optional=("dry_run", *optional))


RECEIPT = thing(
    "Receipt",
    {
        "log": described(TEXT, "Which audit log."),
        "seq": described(COUNT, "The number of the entry there."),
        "leaf_hash": described(text(pattern="^[0-9a-f]{64}$"), "Its hash in the Merkle tree."),
    },
)
#: What a write of routes answers beside its object.
CHANGE: dict[str, Shape] = {
    "changed": described(FLAG, "False where it was so already: then there is no new version."),
    "version": described(COUNT, "The organisation's version now."),
    "digest": described(DIGEST, "Of the content of that version."),
    "receipt": or_null(RECEIPT),
}
UPSTREAM_FINDINGS = described(
    listed(
        thing(
            "UpstreamFinding",
            {
                "code": one_of("upstream_forbidden", "upstream_unknown", "upstream_not_looked_up"),
                "severity": one_of("warning"),
                "path": TEXT,
                "message": TEXT,
            },
        )
    ),
    "What the names of upstreams lead to, as they were looked up for at most two seconds.",
)
