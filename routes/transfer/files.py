"""The files in which contents travel: their names, and how they are written and read."""

import json
from typing import Any, Final

from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.errors import RoutesError
from routes.orgs.models import Organization
from routes.transfer.notation import MAX_BYTES, read_yaml, write_yaml
from routes.transfer.services import Exported

JSON: Final = "json"
YAML: Final = "yaml"
MEDIA_TYPES: Final = {JSON: "application/json", YAML: "application/yaml"}


class UnreadableFile(RoutesError):
    """This is neither JSON nor YAML; the text says where."""

    code = "unreadable_file"


def file_name(org: Organization, exported: Exported, notation: str) -> str:
    return f"{org.slug}-routes-v{exported.version}.{notation}"


def written(exported: Exported, notation: str) -> bytes:
    """The content as people read it: in lines, with its keys in their usual order."""
    if notation == YAML:
        return write_yaml(exported.content).encode()
    return f"{json.dumps(exported.content, indent=2, ensure_ascii=False)}\n".encode()


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
