"""`meta`: what people want to know of a route; decisions ignore it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from routes.engine.canonical import MAX_INTEGER, NotCanonical, canonical_bytes
from routes.engine.frozen import FrozenDict, frozen, thawed
from routes.engine.reading import Reading, below, shown, unsupported_in

KEYS = ("description", "owner", "labels", "link")
MAX_DESCRIPTION = 2_000
#: Of the canonical bytes of one `x-` value.
MAX_EXTENSION_BYTES = 4_096


def read_meta(raw: object, path: str, reading: Reading) -> FrozenDict[str, Any]:
    """The meta at this path of something bigger; issues go to `reading`."""
    if not isinstance(raw, dict):
        reading.add(path, "wrong_type", f"This is an object, not {shown(raw)}.")
        return FrozenDict()
    extensions = [key for key in raw if isinstance(key, str) and key.startswith("x-") and len(key) > 2]
    given = reading.fields(raw, path, (*KEYS, *extensions))
    found: dict[str, Any] = {}
    if given.get("description") is not None:
        longest = MAX_DESCRIPTION * reading.scale
        found["description"] = reading.text(given["description"], below(path, "description"), longest=longest)
    if given.get("owner") is not None:
        found["owner"] = reading.text(given["owner"], below(path, "owner"))
    if given.get("link") is not None:
        found["link"] = _read_link(given["link"], below(path, "link"), reading)
    if given.get("labels"):
        labels = reading.members(given["labels"], below(path, "labels"), reading.text, name_of=lambda name, _: name)
        found["labels"] = FrozenDict(labels)
    elif "labels" in given and given["labels"] not in ({}, None):
        reading.add(below(path, "labels"), "wrong_type", f"This is an object, not {shown(given['labels'])}.")
    for key in extensions:
        where = below(path, key[:60])
        if reading.text(key, where) and _is_extension(given[key], where, reading):
            found[key] = frozen(given[key])
    return FrozenDict(found)


def write_meta(meta: FrozenDict[str, Any]) -> dict[str, Any]:
    """The canonical JSON object: known keys first, then the others by name."""
    order = [*(key for key in KEYS if key in meta), *sorted(key for key in meta if key not in KEYS)]
    return {key: thawed(meta[key]) for key in order}


def _read_link(raw: object, path: str, reading: Reading) -> str:
    link = reading.text(raw, path)
    if link and (not link.lower().startswith(("https://", "http://")) or any(map(str.isspace, link))):
        # It becomes a link on pages; `javascript:` must not.
        reading.add(path, "unsupported_value", "A link starts with https:// or http:// and has no spaces.")
    return link


def _is_extension(value: Any, path: str, reading: Reading) -> bool:
    try:
        data = canonical_bytes(value)
    except NotCanonical as error:
        reading.add(path, "unsupported_value", str(error))
        return False
    if len(data) > MAX_EXTENSION_BYTES * reading.scale:
        most = MAX_EXTENSION_BYTES * reading.scale
        reading.add(path, "out_of_range", f"At most {most:,} bytes of JSON; this has {len(data):,}.")
        return False
    before = reading.count
    for part in _parts(value):
        if isinstance(part, str) and unsupported_in(part):
            refused = "Control characters, line separators and lone surrogates are refused."
            reading.add(path, "unsupported_value", refused)
        elif isinstance(part, float) and abs(part) > MAX_INTEGER:
            # Databases write it as the integer it is equal to, which no reader must be able to hold.
            reading.add(path, "out_of_range", f"Numbers go to {MAX_INTEGER:,}; this is {shown(part)}.")
    return reading.count == before


def _parts(value: Any) -> Iterator[Any]:
    """The value, and all keys and members in it."""
    yield value
    if isinstance(value, dict):
        yield from value
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for member in value:
        yield from _parts(member)
