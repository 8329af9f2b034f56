"""The body of a chat completion: read strictly, and its model rewritten without touching another byte."""

from __future__ import annotations

import re
from json import JSONDecoder, dumps
from typing import Any

from routes.engine.document import parse_json
from routes.engine.errors import DocumentRejected, MalformedRequest, PayloadTooLarge

MAX_BODY_BYTES = 32 * 2**20
MAX_DEPTH = 64

_decode = JSONDecoder().raw_decode
_skip = re.compile(r"[ \t\n\r]*").match


def read_chat(data: bytes) -> dict[str, Any]:
    """The JSON object of a request's body. Raises `PayloadTooLarge` above 32 MiB, and `MalformedRequest` for what is not
    JSON in UTF-8, has a key twice (readers disagree on which one counts), is nested deeper than 64 levels, or names no
    model."""
    if len(data) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body of a request has at most {MAX_BODY_BYTES:,} bytes.")
    try:
        body = parse_json(data, MAX_DEPTH, MAX_BODY_BYTES)
    except DocumentRejected as error:
        # The engine speaks of documents; this one is a request.
        raise MalformedRequest(str(error).replace("The document", "The body", 1)) from None
    if not isinstance(body, dict):
        raise MalformedRequest("The body of a chat completion is a JSON object.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise MalformedRequest("The body names no model.")
    return body


def with_model(data: bytes, model: str) -> bytes:
    """The same body asking for another model: the value of the top level's `model` is replaced, and no other byte.

    `data` is a body that `read_chat` took.
    """
    text = data.decode()
    at = _after_space(text, 0) + 1
    while True:
        key, end = _decode(text, _after_space(text, at))
        start = _after_space(text, _after_space(text, end) + 1)
        _, end = _decode(text, start)
        if key == "model":
            return f"{text[:start]}{dumps(model)}{text[end:]}".encode()
        at = _after_space(text, end) + 1


def asking_for_usage(data: bytes) -> bytes:
    """The same body, asking that the last event of its stream tells the tokens. `data` is a body that `read_chat` took, and
    says nothing of `stream_options`."""
    at = data.index(b"{") + 1
    return b'%s"stream_options":{"include_usage":true},%s' % (data[:at], data[at:])


def _after_space(text: str, at: int) -> int:
    found = _skip(text, at)
    assert found is not None  # it fits nothing at all, too
    return found.end()
