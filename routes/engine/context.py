"""`RequestContext`: the facts of one request, as far as the caller knows them."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import without_surrogates

if TYPE_CHECKING:
    from decimal import Decimal

_IMAGES = frozenset({"image_url", "input_image", "image"})
_AUDIO = frozenset({"input_audio", "audio"})
_DOCUMENTS = frozenset({"document", "file", "input_file"})
_TEXT = frozenset({"text", "input_text"})
_SEARCHED_ROLES = frozenset({"user", "system"})


class RequestContext:
    """The facts that conditions look at. None means unknown, and an unknown fact matches no condition; for `tag` None
    means that the request has none.

    `estimated_cost_usd` is int, float or Decimal, kept as integer nano-dollars, rounded half to even once, here.
    `prompt` is the user and system text. Values of a wrong type raise `TypeError`, numbers that are not
    finite `ValueError`; whatever could be built can be decided. Not to be changed after use.
    """

    # A plain class with a written constructor: one is made per request; a frozen dataclass costs four times as much.
    __slots__ = (
        "_lowered",
        "estimated_cost_nano_usd",
        "has_audio",
        "has_documents",
        "has_images",
        "input_tokens",
        "model",
        "prompt",
        "tag",
        "upstream_latency_ms_p95",
    )

    def __init__(
        self,
        model: str | None = None,
        *,
        input_tokens: int | None = None,
        tag: str | None = None,
        has_images: bool | None = None,
        has_audio: bool | None = None,
        has_documents: bool | None = None,
        prompt: str | None = None,
        estimated_cost_usd: int | float | Decimal | None = None,
        upstream_latency_ms_p95: int | float | None = None,
    ) -> None:
        if model is not None and not isinstance(model, str):
            raise _wrong("model", "str", model)
        if tag is not None and not isinstance(tag, str):
            raise _wrong("tag", "str", tag)
        if prompt is not None and not isinstance(prompt, str):
            raise _wrong("prompt", "str", prompt)
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
        if upstream_latency_ms_p95 is not None and (
            not isinstance(upstream_latency_ms_p95, int | float) or isinstance(upstream_latency_ms_p95, bool)
        ):
            raise _wrong("upstream_latency_ms_p95", "int or float", upstream_latency_ms_p95)
        if isinstance(upstream_latency_ms_p95, float) and not isfinite(upstream_latency_ms_p95):
            raise ValueError("upstream_latency_ms_p95 is finite.")
        self.model = model
        self.input_tokens = input_tokens
        self.tag = tag
        self.has_images = has_images
        self.has_audio = has_audio
        self.has_documents = has_documents
        self.prompt = prompt
        self.estimated_cost_nano_usd = None if estimated_cost_usd is None else nano_usd(estimated_cost_usd)
        self.upstream_latency_ms_p95 = upstream_latency_ms_p95
        self._lowered: str | None = None

    @classmethod
    def from_chat(cls, body: object, **facts: Any) -> RequestContext:
        """The context of an OpenAI chat-completions body; a fact given by name wins over what the body says.

        Reads the model, the modalities of every message's parts, and the text of user and system messages: parts of one
        message joined with nothing, messages with a newline. Where there is no list of messages, modalities and
        prompt are unknown. Never raises for any JSON value as `body`; parts that are malformed are ignored.
        """
        found: dict[str, Any] = {}
        if isinstance(body, dict):
            if isinstance(body.get("model"), str):
                found["model"] = body["model"]
            if isinstance(body.get("messages"), list):
                found |= _read_messages(body["messages"])
        return cls(**(found | facts))

    @property
    def estimated_cost_usd(self) -> int | float | None:
        """The estimate as the JSON number of its nano-dollars."""
        return None if self.estimated_cost_nano_usd is None else usd_number(self.estimated_cost_nano_usd)

    def lowered_prompt(self) -> str | None:
        """The prompt in lower case (`str.lower`), lone surrogates replaced by U+FFFD. Made at most once."""
        lowered = self._lowered
        if lowered is None and self.prompt is not None:
            lowered = self._lowered = without_surrogates(self.prompt).lower()
        return lowered

    def __repr__(self) -> str:
        facts = {
            name: getattr(self, name)
            for name in ("input_tokens", "tag", "has_images", "has_audio", "has_documents", "estimated_cost_usd")
        }
        facts["upstream_latency_ms_p95"] = self.upstream_latency_ms_p95
        given = [f"{name}={value!r}" for name, value in facts.items() if value is not None]
        if self.prompt is not None:
            given.append(f"prompt=<{len(self.prompt):,} characters>")  # never echoed: it may be anybody's secret
        return f"RequestContext({', '.join([repr(self.model), *given])})"


def _read_messages(messages: list[Any]) -> dict[str, Any]:
    kinds: set[str] = set()
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        role = message.get("role")
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
        "prompt": "\n".join(texts),
    }


def _wrong(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} is None or {wanted}, not {type(value).__name__}.")
