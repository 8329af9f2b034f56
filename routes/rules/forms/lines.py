"""What people write a line at a time: `team = search, ads`, `0.2 < budget_share < 0.8`, `gpt-4o = 90`.

Spaces around a word do not count. A word that needs its spaces, or holds what the line uses as a sign, stands in quotes,
as a JSON string. What is written here is read back as the same value.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from routes.engine.reading import without_surrogates

Number = int | float


class Unreadable(ValueError):
    """Some lines cannot be read; `problems` says which, and why, in full sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def read_names(text: str, like: str = "team = search, ads") -> dict[str, list[str]]:
    """`name = value, value` by name. Raises `Unreadable`, which shows a line that would be right: `like`."""
    return _by_name(text, like, lambda words: [words.word(",") for _ in words.each(",")])


def write_names(names: Mapping[str, Iterable[str]]) -> str:
    return "\n".join(f"{_word(name, '=')} = {', '.join(_word(value, ',') for value in values)}"
                     for name, values in names.items())  # fmt: skip


def read_labels(text: str) -> dict[str, str]:
    """`name = value` by name; the value is the rest of the line. Raises `Unreadable`."""
    return _by_name(text, "stage = trial", lambda words: words.word(""))


def write_labels(labels: Mapping[str, str]) -> str:
    return "\n".join(f"{_word(name, '=')} = {_word(value, '')}" for name, value in labels.items())


def read_figures(text: str) -> dict[str, Number]:
    """`name = number` by name. Raises `Unreadable`."""
    return _by_name(text, "budget_share = 0.5", lambda words: words.number(""))


def write_figures(figures: Mapping[str, Number]) -> str:
    return "\n".join(f"{_word(name, '=')} = {figure!r}" for name, figure in figures.items())


def read_arms(text: str) -> list[dict[str, Any]]:
    """`model = weight` as the arms of a split, in their order. Raises `Unreadable`."""
    return _lines(text, lambda words: {"target_model": words.name("gpt-4o = 90"), "weight": words.number("")})


def write_arms(arms: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(f"{_word(arm['target_model'], '=')} = {arm['weight']}" for arm in arms)


def read_ranges(text: str) -> dict[str, dict[str, Number]]:
    """`name > 0.2`, `name < 0.8` or `0.2 < name < 0.8` as `{"gt", "lt"}` by name. Raises `Unreadable`."""
    found: dict[str, dict[str, Number]] = {}

    def add(words: "_Words") -> None:
        name, bounds = words.range()
        if twice := found.get(name, {}).keys() & bounds.keys():
            raise ValueError(f"“{name}” has two bounds of one kind ({'>' if 'gt' in twice else '<'}).")
        found.setdefault(name, {}).update(bounds)

    _lines(text, add)
    return found


def write_ranges(ranges: Mapping[str, Mapping[str, Number]]) -> str:
    lines = []
    for name, bounds in ranges.items():
        word = _word(name, "<>=")
        if _NUMBER.fullmatch(word):
            word = json.dumps(name)
        low, high = (repr(bounds[key]) if key in bounds else None for key in ("gt", "lt"))
        if low is not None and high is not None:
            lines.append(f"{low} < {word} < {high}")
        else:
            lines.append(f"{word} > {low}" if low is not None else f"{word} < {high}")
    return "\n".join(lines)


# --- One line -------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_QUOTED = json.JSONDecoder()


class _Words:
    """Reads one line from left to right. Every method raises `ValueError` with what is wrong."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0

    def word(self, signs: str) -> str:
        """The word before the next of these signs, or the rest of the line."""
        return self._word(signs)[0]

    def name(self, like: str) -> str:
        """The word before the =, which is passed over; `like`, a line as it should be, is for who wrote none."""
        word = self.word("=")
        if not self._pass("="):
            raise ValueError(f"A = is missing. Write it like this: {like}")
        return word

    def number(self, signs: str) -> Number:
        word, is_quoted = self._word(signs)
        if is_quoted or not _NUMBER.fullmatch(word):
            raise ValueError(f"“{word}” is not a number." if word else "A number is missing.")
        return _number(word)

    def each(self, sign: str) -> Iterable[None]:
        """Once, and again after each of these signs."""
        yield
        while self._pass(sign):
            yield

    def range(self) -> tuple[str, dict[str, Number]]:
        words, signs = [self._word("<>=")], []
        while self._at < len(self._line):
            signs.append(self._line[self._at])
            self._at += 1
            words.append(self._word("<>="))
        if not signs or "=" in signs or len(signs) > 2 or len(set(signs)) > 1:
            raise ValueError("Write name > 0.2, name < 0.8 or 0.2 < name < 0.8; bounds are strict.")
        is_name = [is_quoted or not _NUMBER.fullmatch(word) for word, is_quoted in words]
        if sum(is_name) != 1 or (len(words) == 3 and not is_name[1]):
            raise ValueError(
                "Write one name, and one number or two: budget_share > 0.8. A name that is a number stands in quotes."
            )
        place = is_name.index(True)
        bounds: dict[str, Number] = {}
        for index, (word, _) in enumerate(words):
            if index != place:
                # `a < b` bounds b from below; `a > b` from above.
                is_below = (index < place) == (signs[0] == "<")
                bounds["gt" if is_below else "lt"] = _number(word)
        name = words[place][0]
        if not name:
            raise ValueError("A name is missing.")
        return name, bounds

    def _word(self, signs: str) -> tuple[str, bool]:
        """(the word, whether it was quoted)."""
        line = self._line
        while self._at < len(line) and line[self._at].isspace():
            self._at += 1
        if line.startswith('"', self._at):
            try:
                word, self._at = _QUOTED.raw_decode(line, self._at)
            except ValueError:
                raise ValueError('A quote is not closed; write \\" for a quote inside.') from None
            if word != without_surrogates(word):
                raise ValueError("A lone surrogate is no character.")  # no page could show it
            while self._at < len(line) and line[self._at].isspace():
                self._at += 1
            if self._at < len(line) and line[self._at] not in signs:
                raise ValueError(f"Something stands behind the quotes of {word}.")
            return word, True
        start = self._at
        while self._at < len(line) and line[self._at] not in signs:
            self._at += 1
        return line[start : self._at].strip(), False

    def _pass(self, sign: str) -> bool:
        if self._at < len(self._line) and self._line[self._at] == sign:
            self._at += 1
            return True
        return False


def _number(word: str) -> Number:
    is_whole = word.lstrip("+-").isdigit() and len(word) <= 400
    return int(word) if is_whole else float(word)


def _word(text: str, signs: str) -> str:
    """The text as it is written on a line: in quotes where it would not be read back without them."""
    is_plain = text and text == text.strip() and not text.startswith('"') and not any(sign in text for sign in signs)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _lines[T](text: str, read: Callable[[_Words], T]) -> list[T]:
    """What is read from each line that is not blank."""
    found: list[T] = []
    problems = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.strip():
            try:
                found.append(read(_Words(line)))
            except ValueError as error:
                problems.append(f"“{line.strip()}”: {error}")
    if problems:
        raise Unreadable(problems)
    return found


def _by_name[T](text: str, like: str, read: Callable[[_Words], T]) -> dict[str, T]:
    found: dict[str, T] = {}

    def add(words: _Words) -> None:
        name = words.name(like)
        if name in found:
            raise ValueError(f"“{name}” is there twice: once is enough, with all that it has on one line.")
        found[name] = read(words)

    _lines(text, add)
    return found
