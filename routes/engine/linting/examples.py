"""A few texts in which an RE2 pattern may be found, guessed from how it is written.

Only guesses: they are searched with RE2 before anything is said. So the whole syntax need not be known here, and what
is not understood has no example.
"""

from __future__ import annotations

#: So many texts are kept of every part of a pattern.
MAX_TEXTS = 4
#: So many repetitions are written out.
MAX_REPEATED = 64
MAX_DEPTH = 50

_CLASSES = {"d": "1", "w": "x", "s": " ", "D": "x", "W": " ", "S": "x"}
_ANCHORS = frozenset("AzbB")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_POSIX = {"digit": "1", "space": " ", "blank": " ", "punct": "!", "upper": "X", "xdigit": "1"}
#: For what is not in a class: one of these, usually.
_USUAL = "x1 -A_.!é"


class _NotUnderstood(Exception):
    """The pattern has something that is not known here."""


def examples(pattern: str) -> list[str]:
    """Texts in which the pattern may be found, short ones first; none where it is not understood."""
    try:
        reader = _Reader(pattern)
        texts = reader.alternatives(0)
        if reader.at < len(pattern):
            return []
    except _NotUnderstood:
        return []
    return sorted(dict.fromkeys(texts), key=len)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def next(self) -> str:
        if self.at >= len(self.pattern):
            raise _NotUnderstood
        self.at += 1
        return self.pattern[self.at - 1]

    def follows(self, text: str) -> bool:
        """Whether this comes next; then it is read."""
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def alternatives(self, depth: int) -> list[str]:
        if depth > MAX_DEPTH:
            raise _NotUnderstood
        texts = self.sequence(depth)
        while self.follows("|"):
            texts = texts[: MAX_TEXTS - 1] + self.sequence(depth)[:1]
        return texts

    def sequence(self, depth: int) -> list[str]:
        texts = [""]
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts = self.repeated(self.atom(depth))
            # The first of the one with all of the other, then the rest: four of sixteen, and each part's own first.
            pairs = [text + part for text in texts for part in parts]
            texts = list(dict.fromkeys(pairs))[:MAX_TEXTS]
        return texts

    def repeated(self, texts: list[str]) -> list[str]:
        while self.at < len(self.pattern):
            if self.follows("*") or self.follows("?"):
                texts = [*texts[: MAX_TEXTS - 1], ""]
            elif self.follows("+"):
                pass
            elif self.pattern[self.at] == "{" and (end := self.pattern.find("}", self.at)) > 0:
                least = self.pattern[self.at + 1 : end].partition(",")[0]
                if not least.isdecimal() or len(least) > 4:
                    raise _NotUnderstood
                self.at = end + 1
                texts = [text * min(int(least), MAX_REPEATED) for text in texts]
            else:
                break
        return texts

    def atom(self, depth: int) -> list[str]:
        letter = self.next()
        if letter == "(":
            return self.group(depth)
        if letter == "[":
            return [self.one_of_class()]
        if letter == "\\":
            return self.escaped()
        if letter == ".":
            return ["x"]
        return [""] if letter in "^$" else [letter]

    def group(self, depth: int) -> list[str]:
        if self.follows("?P<") or self.follows("?<"):
            while self.next() != ">":
                pass
        elif self.follows("?"):
            while (letter := self.next()) not in ":)":
                if letter not in "imsU-":
                    raise _NotUnderstood
            if letter == ")":  # flags for what follows
                return [""]
        texts = self.alternatives(depth + 1)
        self.next()  # what ended them: the closing one
        return texts

    def escaped(self) -> list[str]:
        letter = self.next()
        if letter in _ANCHORS:
            return [""]
        if letter == "Q":
            end = self.pattern.find("\\E", self.at)
            text = self.pattern[self.at :] if end < 0 else self.pattern[self.at : end]
            self.at += len(text) + (0 if end < 0 else 2)
            return [text]
        return [self.escaped_letter(letter)]

    def escaped_letter(self, letter: str) -> str:
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "x":
            return self.coded()
        if letter.isalnum():  # \p and whatever else there is
            raise _NotUnderstood
        return letter

    def coded(self) -> str:
        if self.follows("{"):
            digits = ""
            while (letter := self.next()) != "}":
                digits += letter
        else:
            digits = self.next() + self.next()
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise _NotUnderstood from None

    def one_of_class(self) -> str:
        """A letter of a class in brackets, whose opening one was read."""
        is_without = self.follows("^")
        ranges: list[tuple[str, str]] = []
        while True:
            if ranges and self.follows("]"):
                break
            if self.follows("[:"):
                name = ""
                while not self.follows(":]"):
                    name += self.next()
                ranges.append((_POSIX.get(name, "x"),) * 2)
                continue
            low = high = self.class_letter()
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                high = self.class_letter()
            ranges.append((low, high))
        if not is_without:
            return ranges[0][0]
        free = [letter for letter in _USUAL if not any(low <= letter <= high for low, high in ranges)]
        if not free:
            raise _NotUnderstood
        return free[0]

    def class_letter(self) -> str:
        letter = self.next()
        return self.escaped_letter(self.next()) if letter == "\\" else letter
