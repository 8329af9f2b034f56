"""How many tokens a request has, where nobody counted them as its model does."""

from typing import Any

#: Of English text a token has about so many.
CHARACTERS_PER_TOKEN = 4
_TEXT_KINDS = ("text", "input_text")


def count_tokens(body: dict[str, Any]) -> int:
    """About how many tokens the messages of an OpenAI chat body have: their characters by four, rounded up. Never raises
    for a JSON object.

    The text of every message counts, whoever said it; images, tools and the frame around messages do not.
    """
    characters = 0
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            characters += len(content)
        elif isinstance(content, list):
            characters += sum(
                len(part["text"])
                for part in content
                if isinstance(part, dict) and part.get("type") in _TEXT_KINDS and isinstance(part.get("text"), str)
            )
    return -(-characters // CHARACTERS_PER_TOKEN)
