"""`RequestContext`: the facts of one request, as far as the caller knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import without_surrogates

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

_IMAGES = frozenset({"image_url", "input_image", "image"})
_AUDIO = frozenset({"input_audio", "audio"})
_DOCUMENTS = frozenset({"document", "file", "input_file"})
_TEXT = frozenset({"text", "input_text"})
_SEARCHED_ROLES = frozenset({"user", "system"})
_TOOL_ROLES = ("tool", "function")


class _Unknown:
    """The type of `UNKNOWN`."""

    __slots__ = ()

    def get(self, name: str) -> _Unknown:
        """Whatever is looked up in unknown metadata or headers is unknown."""
        return self

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __reduce__(self) -> str:
        return "UNKNOWN"


#: For `tag`, `metadata` and `headers`, of which None says that the request has none: the caller cannot know.
UNKNOWN: Final = _Unknown()
_NONE: dict[str, Any] = {}


class RequestContext:
    """The facts that conditions look at.

    None means unknown, and an unknown fact matches no condition, nor its negation; for `tag`, `metadata` and `headers`
    None means that the request has none, and `UNKNOWN` that the caller cannot know. A name missing in `numbers` is
    unknown; a key missing in `metadata` and a header not sent are known to be absent.

    `estimated_cost_usd` is int, float or Decimal, kept as integer nano-dollars, rounded half to even once, here.
    `prompt` is the user and system text. `headers` maps names, in any case, to a value or a list of them. `at` is
    aware. `sticky_key`, else `request_id`, decides shares and splits. Values of a wrong type raise `TypeError`, numbers
    that are not finite and times without a zone `ValueError`; whatever could be built can be decided. Not to be changed
    after use.
    """

    # A plain class with a written constructor: one is made per request; a frozen dataclass costs four times as much.
    __slots__ = (
        "_lowered",
        "at",
        "estimated_cost_nano_usd",
        "has_audio",
        "has_documents",
        "has_images",
        "has_tools",
        "headers",
        "input_tokens",
        "is_stream",
        "metadata",
        "model",
        "numbers",
        "prompt",
        "request_id",
        "sticky_key",
        "tag",
        "upstream_latency_ms_p95",
    )

    def __init__(
        self,
        model: str | None = None,
        *,
        input_tokens: int | None = None,
        tag: str | _Unknown | None = None,
        has_images: bool | None = None,
        has_audio: bool | None = None,
        has_documents: bool | None = None,
        has_tools: bool | None = None,
        is_stream: bool | None = None,
        prompt: str | None = None,
        estimated_cost_usd: int | float | Decimal | None = None,
        metadata: Mapping[str, str] | _Unknown | None = None,
        headers: Mapping[str, str | Sequence[str]] | _Unknown | None = None,
        numbers: Mapping[str, int | float] | None = None,
        at: datetime | None = None,
        request_id: str | None = None,
        sticky_key: str | None = None,
        upstream_latency_ms_p95: int | float | None = None,
    ) -> None:
        if model is not None and not isinstance(model, str):
            raise _wrong("model", "str", model)
        if tag is not None and not isinstance(tag, str) and tag is not UNKNOWN:
            raise _wrong("tag", "str", tag)
        if prompt is not None and not isinstance(prompt, str):
            raise _wrong("prompt", "str", prompt)
        if request_id is not None and not isinstance(request_id, str):
            raise _wrong("request_id", "str", request_id)
        if sticky_key is not None and not isinstance(sticky_key, str):
            raise _wrong("sticky_key", "str", sticky_key)
        if input_tokens is not None and (
            not isinstance(input_tokens, int) or input_tokens is True or input_tokens is False
        ):
            raise _wrong("input_tokens", "int", input_tokens)
        if has_images is not None and has_images is not True and has_images is not False:
            raise _wrong("has_images", "bool", has_images)
        if has_audio is not None and has_audio is not True and has_audio is not False:
            raise _wrong("has_audio", "bool", has_audio)
        if has_documents is not None and has_documents is not True and has_documents is not False:
            raise _wrong("has_documents", "bool", has_documents)
        if has_tools is not None and has_tools is not True and has_tools is not False:
            raise _wrong("has_tools", "bool", has_tools)
        if is_stream is not None and is_stream is not True and is_stream is not False:
            raise _wrong("is_stream", "bool", is_stream)
        if upstream_latency_ms_p95 is not None:
            _check_number("upstream_latency_ms_p95", upstream_latency_ms_p95)
        self.model = model
        self.input_tokens = input_tokens
        self.tag = tag
        self.has_images = has_images
        self.has_audio = has_audio
        self.has_documents = has_documents
        self.has_tools = has_tools
        self.is_stream = is_stream
        self.prompt = prompt
        self.estimated_cost_nano_usd = None if estimated_cost_usd is None else nano_usd(estimated_cost_usd)
        self.metadata = _NONE if metadata is None else _metadata(metadata)
        self.headers = _NONE if headers is None else _headers(headers)
        self.numbers = _NONE if numbers is None else _numbers(numbers)
        self.at = None if at is None else _at(at)
        self.request_id = request_id
        self.sticky_key = sticky_key
        self.upstream_latency_ms_p95 = upstream_latency_ms_p95
        self._lowered: str | None = None

    @classmethod
    def from_chat(cls, body: object, **facts: Any) -> RequestContext:
        """The context of an OpenAI chat-completions body; a fact given by name wins over what the body says.

        Reads the model, whether a stream is asked for, the modalities of every message's parts, tools (offered, or
        called earlier in the conversation), and the text of user and system messages: parts of one message joined with
        nothing, messages with a newline. Where there is no list of messages, modalities, tools and prompt are unknown.
        Never raises for any JSON value as `body`; parts that are malformed are ignored.
        """
        found: dict[str, Any] = {}
        if isinstance(body, dict):
            if isinstance(body.get("model"), str):
                found["model"] = body["model"]
            found["is_stream"] = body.get("stream") is True
            if isinstance(body.get("messages"), list):
                found |= _read_messages(body["messages"])
                found["has_tools"] |= bool(body.get("tools") or body.get("functions"))
        return cls(**(found | facts))

    @property
    def estimated_cost_usd(self) -> int | float | None:
        """The estimate as the JSON number of its nano-dollars."""
        return None if self.estimated_cost_nano_usd is None else usd_number(self.estimated_cost_nano_usd)

    def searched_prompt(self) -> str | None:
        """The prompt as sent, save that lone surrogates are replaced by U+FFFD."""
        return None if self.prompt is None else without_surrogates(self.prompt)

    def lowered_prompt(self) -> str | None:
        """The prompt in lower case (`str.lower`), lone surrogates replaced by U+FFFD. Made at most once."""
        lowered = self._lowered
        if lowered is None and self.prompt is not None:
            lowered = self._lowered = without_surrogates(self.prompt).lower()
        return lowered

    def split_key(self) -> bytes | None:
        """What shares and splits are drawn from: the sticky key, else the request's id, in UTF-8."""
        key = self.request_id if self.sticky_key is None else self.sticky_key
        return None if key is None else without_surrogates(key).encode()

    def __repr__(self) -> str:
        given = [
            f"{name}={value!r}" for name in _SHOWN if (value := getattr(self, name)) is not None and value is not _NONE
        ]
        # Never echoed, because they may be anybody's secret:
        if self.headers is not _NONE:
            given.append("headers=<hidden>")
        if self.prompt is not None:
            given.append(f"prompt=<{len(self.prompt):,} characters>")
        return f"RequestContext({', '.join([repr(self.model), *given])})"


_SHOWN = (
    "input_tokens", "tag", "has_images", "has_audio", "has_documents", "has_tools", "is_stream", "estimated_cost_usd",
    "metadata", "numbers", "at", "request_id", "sticky_key", "upstream_latency_ms_p95",
)  # fmt: skip


def _read_messages(messages: list[Any]) -> dict[str, Any]:
    kinds: set[str] = set()
    has_tools = False
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        role = message.get("role")
        has_tools = has_tools or bool(message.get("tool_calls") or message.get("function_call")) or role in _TOOL_ROLES
        searched = isinstance(role, str) and role in _SEARCHED_ROLES
        if isinstance(content, str):
            if searched:
                texts.append(content)
        elif isinstance(content, list):
            parts = [part for part in content if isinstance(part, dict) and isinstance(part.get("type"), str)]
            kinds.update(part["type"] for part in parts)
            if searched:
                texts.append(
                    "".join(
                        part["text"] for part in parts if part["type"] in _TEXT and isinstance(part.get("text"), str)
                    )
                )
    return {
        "has_images": not kinds.isdisjoint(_IMAGES),
        "has_audio": not kinds.isdisjoint(_AUDIO),
        "has_documents": not kinds.isdisjoint(_DOCUMENTS),
        "has_tools": has_tools,
        "prompt": "\n".join(texts),
    }


def _wrong(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} is None or {wanted}, not {type(value).__name__}.")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(name, "int or float", value)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name} is finite.")


def _metadata(metadata: Mapping[str, str] | _Unknown) -> dict[str, str] | _Unknown:
    if isinstance(metadata, _Unknown):
        return metadata
    if type(metadata) is not dict and not isinstance(metadata, Mapping):  # the first is much faster to ask
        raise _wrong("metadata", "a mapping from str to str", metadata)
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("metadata maps str to str.")
    return dict(metadata)


def _headers(headers: Mapping[str, str | Sequence[str]] | _Unknown) -> dict[str, str | tuple[str, ...]] | _Unknown:
    """By name in lower case: the value, or a tuple of several."""
    if isinstance(headers, _Unknown):
        return headers
    if type(headers) is not dict and not isinstance(headers, Mapping):
        raise _wrong("headers", "a mapping from str to str", headers)
    found: dict[str, str | tuple[str, ...]] = {}
    for name, given in headers.items():
        values = (given,) if isinstance(given, str) else tuple(given)
        if not isinstance(name, str) or not all(isinstance(value, str) for value in values):
            raise TypeError("headers maps str to str or a list of them.")
        lowered = name.lower()
        if (before := found.get(lowered)) is not None:
            values = ((before,) if isinstance(before, str) else before) + values
        if values:  # sent without a value at all is not sent
            found[lowered] = values[0] if len(values) == 1 else values
    return found


def _numbers(numbers: Mapping[str, int | float]) -> dict[str, int | float]:
    if type(numbers) is not dict and not isinstance(numbers, Mapping):
        raise _wrong("numbers", "a mapping from str to numbers", numbers)
    for name, value in numbers.items():
        if not isinstance(name, str):
            raise TypeError("numbers maps str to numbers.")
        _check_number(f"numbers[{name!r}]", value)
    return dict(numbers)


def _at(at: object) -> datetime:
    from datetime import datetime

    from routes.engine.times import utc

    if not isinstance(at, datetime):
        raise _wrong("at", "datetime", at)
    return utc(at)
