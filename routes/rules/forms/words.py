"""What the engine says of values, in the words of the form: people see fields and lines there, no keys and no indexes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from routes.engine.action import MAX_ARMS, MAX_WEIGHT
from routes.engine.reading import MAX_USD

#: The steps from an object to a value within it: keys, and of lists the index.
Steps = list[str | int]
Issue = Mapping[str, str]

EMPTY: Final = "Fill this in."
#: By field and code.
_OF_FIELD: Final = {
    ("active_until", "conflict"): "Choose a moment that is later than “Active from”.",
    ("window_from", "missing"): "Say when it begins, for example 22:00.",
    ("window_to", "missing"): "Say when it ends, for example 06:00.",
    ("window_tz", "missing"): "Name the time zone, for example Europe/Berlin or UTC.",
    ("refuse_status", "missing"): "Write a status from 400 to 499.",
    ("refuse_code", "missing"): "Write a word for programs, for example too_expensive.",
    ("refuse_message", "missing"): "Write a sentence for whoever sent the request.",
    ("max_cost_usd", "out_of_range"): f"Write an amount above 0, at most {MAX_USD:,} US dollars.",
    ("fallbacks", "duplicate_primary_fallback"): "The requests are sent to it already: leave it out here.",
    ("split", "out_of_range"): f"Name 2 to {MAX_ARMS} models, one a line, with their weights.",
    ("split", "too_many"): f"Name 2 to {MAX_ARMS} models, one a line, with their weights.",
    **dict.fromkeys(
        [(name, "blank_value") for name in ("metadata", "headers", "labels")], "A name is missing in front of the =."
    ),
}
#: By code, for the rest.
_OF_CODE: Final = {"blank_value": EMPTY}
#: By code, where it is about one of the field's lines, or a value on it.
_OF_LINE: Final = {
    "blank_value": "A value is missing.",
    "duplicate_value": "It is there twice.",
    "not_finite": "The number is too large.",
}
_WEIGHT: Final = f"A weight is a whole number from 1 to {MAX_WEIGHT:,}."
_is_index: Final = re.compile(r"\[([0-9]+)\]", re.ASCII).fullmatch
#: Fields of one name a line, and what is said of it.
_NAMES: Final = ("metadata", "headers", "numbers", "labels")


def in_words(name: str, issue: Issue, within: Steps, value: Any) -> str:
    """What is wrong with `value`, that of the field `name`, as a sentence. `within` leads to the part of it that the issue
    is about, which stands in front as somebody wrote it."""
    code = issue["code"]
    if within and within[-1] == "weight" and name == "split":
        message = _WEIGHT
    elif within:
        message = _OF_FIELD.get((name, code), issue["message"]) if code not in _OF_LINE else _OF_LINE[code]
    else:
        message = _OF_FIELD.get((name, code)) or _OF_CODE.get(code, issue["message"])
    return f"{where}: {message}" if (where := _where(name, within, value)) else message


def _where(name: str, within: Steps, value: Any) -> str:
    """The line that this is about, in quotes; in JSON, which somebody wrote as such, the path."""
    match within:
        case []:
            return ""
        case [int(place), *_]:
            found = value[place] if isinstance(value, list) and place < len(value) else ""
            return _quoted(str(found["target_model"] if isinstance(found, dict) else found))
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in within).removeprefix(".")
    return _quoted(_line(path, value)) if name in _NAMES else path


def _line(path: str, value: Any) -> str:
    """Of one name a line: the line. A name may have dots and brackets in it, and look like a path itself."""
    names = [name for name in value or () if path == name or path.startswith((f"{name}[", f"{name}."))]
    if not names:
        return path
    name = max(names, key=len)
    index = _is_index(path.removeprefix(name))
    if index is None or not isinstance(value[name], list) or int(index[1]) >= len(value[name]):
        return name
    return f"{name} = {value[name][int(index[1])]}".rstrip()


def _quoted(text: str) -> str:
    return f"“{text}”" if len(text) <= 60 else f"“{text[:60]}…”"
