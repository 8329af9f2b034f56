"""What must not be read in a log."""

import re
from typing import Final

#: A key of ours, or what was left of one: kind and id name it, the rest is secret.
_KEY: Final = re.compile(r"(rk_[a-z]+_[a-z0-9]+_)[a-z0-9]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without the secrets of keys: `rk_management_k3yid_…` still says which key it was."""
    return _KEY.sub(r"\1[redacted]", text) if "rk_" in text.lower() else text
