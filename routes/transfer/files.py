"""The files in which contents travel: their names, and how they are written and read."""

import json
from json.encoder import encode_basestring
from typing import Any, Final

from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.errors import RoutesError
from routes.orgs.models import Organization
from routes.transfer.notation import MAX_BYTES, read_yaml, write_dense, write_yaml
from routes.transfer.services import Exported
from routes.versions.difference import Content

JSON: Final = "json"
YAML: Final = "yaml"
MEDIA_TYPES: Final = {JSON: "application/json", YAML: "application/yaml"}
#: A file of more bytes nobody reads.
_LARGE: Final = 2 * 1024 * 1024


class UnreadableFile(RoutesError):
    """This is neither JSON nor YAML; the text says where."""

    code = "unreadable_file"


def file_name(org: Organization, exported: Exported, notation: str) -> str:
    return f"{org.slug}-routes-v{exported.version}.{notation}"


def written(exported: Exported, notation: str) -> bytes:
    """The content as people read it: in lines, with its keys in their usual order.

    Where that would be more than `_LARGE`, as JSON with one line for each route, in either notation: indented it may take
    twenty times what is in it, as YAML it is read in half a minute, and every door takes back what is written here.
    """
    content = exported.content
    if len(json.dumps(content, ensure_ascii=False, separators=(",", ":"))) <= _LARGE:
        text = write_yaml(content) if notation == YAML else f"{_indented(content, '')}\n"
        if len(data := text.encode()) <= _LARGE:
            return data
    return _in_lines(content).encode()


def _indented(value: Any, indent: str) -> str:
    """JSON with a line for each member, but that a list of texts and numbers is on one."""
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False)
    deeper = f"{indent}  "
    if isinstance(value, dict):
        members = [f"{encode_basestring(key)}: {_indented(member, deeper)}" for key, member in value.items()]
        opening, closing = "{}"
    elif any(isinstance(member, dict | list) for member in value):
        members = [_indented(member, deeper) for member in value]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=False)
    return f"{opening}\n{deeper}{f',\n{deeper}'.join(members)}\n{indent}{closing}"


def _in_lines(content: Content) -> str:
    """JSON, which is YAML too, with a line for each route."""
    members = []
    for key, value in content.items():
        lines = (
            f"[\n{',\n'.join(map(write_dense, value))}\n]" if isinstance(value, list) and value else write_dense(value)
        )
        members.append(f"{write_dense(key)}:{lines}")
    return f"{{{',\n'.join(members)}}}\n"


def read_file(text: str) -> Any:
    """The value of a file, or of text that somebody pasted: JSON where it begins with a brace, else YAML. Raises
    `UnreadableFile` and `UnreadableYaml`."""
    data = text.encode(errors="surrogatepass")
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return read_yaml(data)
    try:
        return parse_json(data.removeprefix("\ufeff".encode()), MAX_DEPTH, MAX_BYTES)
    except DocumentRejected as error:
        raise UnreadableFile(str(error).replace("The document", "This")) from error
