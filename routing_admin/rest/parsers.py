"""JSON bodies, read strictly: what another parser could read otherwise is refused."""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StrictJSONParser(JSONParser):
    """UTF-8, no duplicate keys, no NaN, bounded depth, no NUL, no lone surrogates: anything else is a 400. DRF reads the
    body by Django's `request.body`, which refuses one of more than `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes unread."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        body = stream.read()
        if not body.strip():
            raise ParseError("The body is empty; send a JSON object.")
        try:
            value = parse_json(body, MAX_DEPTH, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        except DocumentRejected as error:
            raise ParseError(str(error).replace("The document", "The body")) from error
        if _holds_unstorable(value):
            # PostgreSQL refuses U+0000, and a lone surrogate once stored breaks every later answer.
            raise ParseError("The body has text with U+0000 or a lone surrogate.")
        return value


def _holds_unstorable(value: Any) -> bool:
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is not None
    if isinstance(value, dict):
        return any(_holds_unstorable(key) or _holds_unstorable(member) for key, member in value.items())
    return isinstance(value, list) and any(map(_holds_unstorable, value))
