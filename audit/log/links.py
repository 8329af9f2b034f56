"""The logs of one organisation in a bundle: how they are called, and what each says of the one before it."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from audit.log.check import EPOCH_OPENED, Checker
from audit.log.notes import Checkpoint, is_key_name

_OWNER: Final = "(?:installation|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_FIRST: Final = re.compile(rf"([!-~]{{1,200}})/audit/{_OWNER}")
_LATER: Final = re.compile(rf"({_FIRST.pattern})/e([2-9]|[1-9]\d{{1,8}})", re.ASCII)


def is_host(text: str) -> bool:
    """Whether logs may be called so: `text/audit/<id>`, and the key that signs them `text/audit`."""
    return _FIRST.fullmatch(f"{text}/audit/installation") is not None and is_key_name(text)


def host_of(log: str) -> str:
    """With what the name of a log begins; "" for what is none."""
    found = _FIRST.fullmatch(log) or _LATER.fullmatch(log)
    return "" if found is None else log.rpartition("/audit/")[0]


def is_first(log: str) -> bool:
    """Whether an organisation's first log may be called so."""
    return _FIRST.fullmatch(log) is not None


def is_later(log: str) -> bool:
    """Whether it goes on for another log."""
    return _LATER.fullmatch(log) is not None


def number_of(log: str) -> int:
    """The number in a log's name; the first log has none, and is 1."""
    later = _LATER.fullmatch(log)
    return 1 if later is None else int(later[3])


def numbers(logs: list[str]) -> list[int] | None:
    """The numbers of logs that go on for the first of these; None where they are of several, or not the oldest first."""
    later = [_LATER.fullmatch(log) for log in logs[1:]]
    found = [int(one[3]) for one in later if one is not None and one[1] == logs[0]]
    return found if len(found) == len(later) and found == sorted(set(found)) else None


@dataclass(frozen=True, slots=True)
class Link:
    """What a log says of the one before it, `log`: what that is, what of it was signed, how many of its first entries are
    those that were signed, and which logs that came between, with how many signed entries, are lost whole."""

    log: str
    size: int
    root: str
    signed_size: int
    signed_root: str
    kept: int
    lost: dict[str, int]
    reason: str

    @classmethod
    def of_first(cls, log: str, data: bytes, payload: bytes | None, salt: bytes | None) -> "Link":
        """What the first entry of this log says. Raises `ValueError`, `KeyError` and `TypeError` among others."""
        first = Checker(log).take(data, payload, salt)
        if first.action != EPOCH_OPENED:
            raise ValueError(f"it is {first.action}")
        return cls._read(log, json.loads(payload or b""))

    @classmethod
    def _read(cls, log: str, told: Any) -> "Link":
        previous = told["previous"]
        sizes = [previous[name] for name in ("size", "signed_size", "kept")]
        lost = {str(one["log"]): one["size"] for one in previous["lost"]}
        if any(type(size) is not int or size < 0 for size in (*sizes, *lost.values())) or sizes[2] > min(sizes[:2]):
            raise ValueError("its sizes fit nothing")
        before = str(previous["log"])
        base = before.removesuffix(f"/e{number_of(before)}")
        between = [f"{base}/e{number}" for number in range(number_of(before) + 1, number_of(log))]
        if sorted(lost) != sorted(between):
            raise ValueError("of the logs that are missing between the two it tells another story")
        size, signed_size, kept = sizes
        return cls(
            before,
            size,
            str(previous["root"]),
            signed_size,
            str(previous["signed_root"]),
            kept,
            lost,
            str(told["reason"]),
        )

    def tells_of(self, mark: Checkpoint) -> bool:
        """Whether this was signed of what is lost, so far as it can be known."""
        if mark.size == self.signed_size:
            return mark.size > self.kept and mark.root.hex() == self.signed_root
        return self.kept < mark.size < self.signed_size
