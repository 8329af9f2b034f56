"""YAML that says what JSON can say, and says it to every reader alike.

`true`, `false`, `null` and decimal numbers are no text, and text is what every reader takes for text. Refused is what some
reader takes for something else, be it one of YAML 1.1 or of 1.2 (`no`, `on`, `010`, `1_000`, `12:30`, `1e5`, dates): with
quotes it is text. Refused is too what JSON does not have (tags, anchors, keys that are no text, infinities), and what makes
a small file a large value (aliases). What is JSON is YAML too, and read as JSON.
"""

import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Final

from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.engine.reading import shown
from routes.errors import RoutesError

#: Twice what the routes of an organisation may take (text may be twice as long in here), and what is around them.
MAX_BYTES: Final = 9 * 1024 * 1024
#: Members of lists and objects, and what holds them: a reader takes ten microseconds for each.
MAX_NODES: Final = 1_000_000
_MAX_DIGITS: Final = 400
_WORDS: Final = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
#: As 1.1 and 1.2 both have them: with an exponent only where there are a point and its sign.
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:[eE][-+][0-9]+)?)?|\.[0-9]+(?:[eE][-+][0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?[0-9]+", re.ASCII)
#: What some reader takes for a number, a time or a truth, and another for another one or for text.
_AMBIGUOUS = re.compile(
    r"[-+]?\.?[0-9][0-9_,]*(?:\.[0-9_,]*)?(?:[eE][-+]?[0-9_]+)?"
    r"|[-+]?0[oOxXbB][0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]*)?)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?"
    r"|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|[yYnN]|=|<<",
    re.ASCII,
)
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class UnreadableYaml(RoutesError):
    """This is no YAML that says what JSON can say; the text names the line."""

    code = "unreadable_yaml"

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"Line {line:,}: {message}")
        self.line = line


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_yaml(data: bytes) -> Any:
    """The JSON value of YAML in UTF-8. Raises `UnreadableYaml` and nothing else, whatever the bytes.

    Bounded in bytes before it is looked at, in depth and members while it is: nothing that goes beyond is kept.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableYaml(f"There are more than {MAX_BYTES:,} bytes.")
    try:
        text = data.decode("utf-8-sig")  # some editors put a mark before it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableYaml("This is not UTF-8.", line) from None
    if text.lstrip().startswith(("{", "[")) and not _UNSTORABLE_ESCAPED.search(data):
        try:
            return parse_json(text.encode(), MAX_DEPTH, MAX_BYTES)  # in a hundredth of the time
        except DocumentRejected:
            pass  # it may be YAML nevertheless, or what is wrong has a line
    return _Reading().value(_events(text))


def _events(text: str) -> Iterator[Any]:
    import yaml  # at the first YAML: its import takes as long as a call

    # What libyaml reads in a second takes PyYAML's own parser a minute. Either only tells what stands there: no loader of
    # theirs makes a value of it.
    parser = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        yield from yaml.parse(text, Loader=parser)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        said = [getattr(error, name, None) for name in ("context", "problem")]
        message = ", ".join(filter(None, said)) or str(error).partition("\n")[0]
        line = mark.line + 1 if mark else _line_of(text, error)
        raise UnreadableYaml(f"This is not YAML: {message[:300]}.", line) from None
    except RecursionError:
        raise UnreadableYaml(f"This is nested deeper than {MAX_DEPTH} levels.") from None


def _line_of(text: str, error: Exception) -> int | None:
    """Of a character that YAML does not have."""
    position = getattr(error, "position", None)
    return None if position is None else text.count("\n", 0, position) + 1


class _Open:
    """A list or an object that is being read."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key: str | None = None
        #: By key the line it stands in.
        self.lines: dict[str, int] = {}


class _Reading:
    """Builds the value of events one after the other. Not recursive: the depth is what is in doubt."""

    def __init__(self) -> None:
        self.outer: list[_Open] = []
        self.nodes = 0
        self.documents = 0
        self.result: Any = None

    def value(self, events: Iterator[Any]) -> Any:
        for event in events:
            line = event.start_mark.line + 1
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                self._begin(event, line)
            elif kind == "AliasEvent":
                raise UnreadableYaml(f"*{event.anchor} stands for something else. Write it out.", line)
            elif kind == "ScalarEvent":
                self._check(event, line)
                self._scalar(event, line)
            elif kind in ("SequenceStartEvent", "MappingStartEvent"):
                self._check(event, line)
                self._open([] if kind == "SequenceStartEvent" else {}, line)
            elif kind in ("SequenceEndEvent", "MappingEndEvent"):
                self.outer.pop()
        if not self.documents:
            raise UnreadableYaml("There is nothing in it.")
        return self.result

    def _begin(self, event: Any, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            raise UnreadableYaml("A second document begins here. Send one.", line)
        if event.version or event.tags:
            raise UnreadableYaml("Leave out directives (%YAML, %TAG): this is read as YAML 1.2.", line)

    def _check(self, event: Any, line: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise UnreadableYaml(f"There are more than {MAX_NODES:,} values.", line)
        if event.anchor is not None:
            raise UnreadableYaml(f"&{event.anchor} gives this a name. Leave it out: names are not used here.", line)
        if event.tag is not None:
            said = shown(event.tag.replace("tag:yaml.org,2002:", "!!"))
            raise UnreadableYaml(f"The tag {said} says what this is. Leave it out, and put text into quotes.", line)

    def _open(self, value: Any, line: int) -> None:
        if len(self.outer) >= MAX_DEPTH:
            raise UnreadableYaml(f"This is nested deeper than {MAX_DEPTH} levels.", line)
        opened = _Open(value)
        self._add(value, line)
        self.outer.append(opened)

    def _scalar(self, event: Any, line: int) -> None:
        if _UNSTORABLE.search(event.value):
            raise UnreadableYaml("This text has U+0000 or a lone surrogate.", line)
        if self._at_key and not event.style and event.value == "<<":
            raise UnreadableYaml("<< would bring in another object. Write its members out.", line)
        # Only what stands there without quotes may be something else than text.
        self._add(_plain(event.value, line) if not event.style else event.value, line)

    @property
    def _at_key(self) -> bool:
        return bool(self.outer) and isinstance(self.outer[-1].value, dict) and self.outer[-1].key is None

    def _add(self, value: Any, line: int) -> None:
        if not self.outer:
            self.result = value
            return
        inner = self.outer[-1]
        if isinstance(inner.value, list):
            inner.value.append(value)
        elif inner.key is not None:
            inner.value[inner.key], inner.key = value, None
        elif not isinstance(value, str):
            raise UnreadableYaml(f"A key is text, and this is {_in_words(value)}. Put it into quotes.", line)
        elif value in inner.lines:
            first = inner.lines[value]
            raise UnreadableYaml(f"The key {shown(value)} is there twice, first in line {first:,}.", line)
        else:
            inner.key, inner.lines[value] = value, line


def _plain(text: str, line: int) -> Any:
    """The value of what stands there without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if _ENDLESS.fullmatch(text):
        raise UnreadableYaml(f"{text} is no JSON number.", line)
    if not _NUMBER.fullmatch(text):
        if _AMBIGUOUS.fullmatch(text):
            raise UnreadableYaml(
                f"{shown(text)} is read as one thing here and as another there. Put text into quotes, and write numbers"
                " like 1000, 0.5 or 1.0e+5.",
                line,
            )
        return text
    if len(text) > _MAX_DIGITS:
        raise UnreadableYaml("This number has more digits than any reader keeps.", line)
    if _WHOLE.fullmatch(text):
        return int(text)
    if not isfinite(value := float(text)):
        raise UnreadableYaml("This number is beyond what a double holds.", line)
    return value


def _in_words(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "nothing")


# --- Writing ----------------------------------------------------------------------------------------------------------

#: Words that every reader takes for text, whatever schema it keeps to: no number and no time begins with a letter, and of
#: those that are no text in some schema none is left.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[ ./-][A-Za-z0-9_]+)*", re.ASCII)
_TAKEN = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
#: What JSON may hold as it is, and YAML must not, or takes for the end of a line.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_EXPONENT = re.compile("[0-9]e", re.ASCII)
#: A longer key is announced, because readers look only so far for what ends one.
_MAX_KEY: Final = 900


def write_yaml(value: Any) -> str:
    """The JSON value as YAML that `read_yaml` and every reader of YAML 1.1 or 1.2 reads back as the same value."""
    parts: list[str] = []
    if isinstance(value, dict | list) and value:
        _write(value, "", parts)
    else:
        parts.append(f"{_scalar(value)}\n")
    return "".join(parts)


def write_dense(value: Any) -> str:
    """The JSON value as JSON without spaces, which every reader of YAML reads back as the same value, but that some take no
    key of more than a thousand characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _dense(value) if _EXPONENT.search(text) else _escaped(text)


def _dense(value: Any) -> str:
    """The same, also where there are numbers that YAML 1.1 has otherwise."""
    if isinstance(value, dict):
        return f"{{{','.join([f'{_quoted(key)}:{_dense(member)}' for key, member in value.items()])}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_dense, value))}]"
    return _quoted(value) if isinstance(value, str) else _scalar(value)


def _write(value: Any, indent: str, parts: list[str]) -> None:
    """Members of a list or an object, each on lines of its own; the first line's indentation is there already."""
    for number, member in enumerate(value.items() if isinstance(value, dict) else value):
        before = indent if number else ""
        if isinstance(value, list):
            _member(f"{before}-", member, indent, parts)
            continue
        key, inner = _text(member[0]), member[1]
        if len(key) > _MAX_KEY:
            parts.append(f"{before}? {key}\n")
            key, before = "", indent
        _member(f"{before}{key}:", inner, indent, parts)


def _member(opening: str, value: Any, indent: str, parts: list[str]) -> None:
    if not isinstance(value, dict | list) or not value:
        parts.append(f"{opening} {_scalar(value)}\n")
        return
    if isinstance(value, list) and not any(isinstance(member, dict | list) for member in value):
        parts.append(f"{opening} [{', '.join(map(_scalar, value))}]\n")
        return
    deeper = f"{indent}  "
    if opening.endswith("-"):
        parts.append(f"{opening} ")  # a list in a list, or an object, begins on the line of its dash
    else:
        parts.append(f"{opening}\n{deeper}")
    _write(value, deeper, parts)


def _scalar(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    text = float.__repr__(value)
    # For YAML 1.1 a number has a point, and its exponent a sign.
    mantissa, e, exponent = text.partition("e")
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return mantissa + (f"e{int(exponent):+03d}" if e else "")


def _text(text: str) -> str:
    if _WORD.fullmatch(text) and text.lower() not in _TAKEN:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    return _escaped(encode_basestring(text))


def _escaped(quoted: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
