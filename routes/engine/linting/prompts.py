"""What a request's text may still be, after keywords and RE2 patterns were required of it, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

from routes.engine.compiled.rows import Literal
from routes.engine.linting.examples import examples
from routes.engine.linting.globs import unused_character
from routes.engine.linting.steps import Doubt, Steps
from routes.engine.reading import without_surrogates

#: So many texts are tried before it stays open whether there is one.
MAX_TRIED = 64
#: Of one list of keywords or patterns, so many are tried.
MAX_OF_LIST = 4


@dataclass(frozen=True, slots=True)
class Prompts:
    """The lowered text holds one word of each of `words` and none of `no_words`; of each of `patterns` one is found in
    the text as sent, and none of `no_patterns`.

    Of words alone it is always known whether there is such a text: words with a character between them that stands in
    none hold no other words. Patterns are compared only by how they are written. Two sets of patterns are open until a
    text is found.
    """

    words: tuple[tuple[str, ...], ...] = ()
    no_words: frozenset[str] = frozenset()
    patterns: tuple[tuple[str, ...], ...] = ()
    no_patterns: frozenset[str] = frozenset()

    def met(self, literal: Literal, steps: Steps) -> Prompts | None:
        # Every word is looked for in every other one.
        known = sum(map(len, self.words)) + len(self.no_words) + sum(map(len, self.patterns)) + len(self.no_patterns)
        steps.spend((len(literal.value) * (1 + known)) // 64)
        if literal.kind == "keywords":
            return self._with_words(literal.value) if literal.want else self._without_words(literal.value)
        if literal.want:
            return self._with_patterns(literal.value)
        no_patterns = self.no_patterns.union(literal.value)
        if no_patterns == self.no_patterns:
            return self
        patterns = tuple(tuple(each for each in some if each not in no_patterns) for some in self.patterns)
        return Prompts(self.words, self.no_words, patterns, no_patterns) if all(patterns) else None

    def _with_words(self, wanted: tuple[str, ...]) -> Prompts | None:
        if any(all(_holds_any(word, wanted) for word in some) for some in self.words):
            return self  # whichever word is there, it brings one of these
        left = tuple(word for word in wanted if not _holds_any(word, self.no_words))
        return Prompts((*self.words, left), self.no_words, self.patterns, self.no_patterns) if left else None

    def _without_words(self, refused: tuple[str, ...]) -> Prompts | None:
        new = [word for word in refused if not _holds_any(word, self.no_words)]
        if not new:
            return self
        if "" in new:
            return None
        words = tuple(tuple(word for word in some if not _holds_any(word, new)) for some in self.words)
        return Prompts(words, self.no_words.union(new), self.patterns, self.no_patterns) if all(words) else None

    def _with_patterns(self, wanted: tuple[str, ...]) -> Prompts | None:
        if any(set(some) <= set(wanted) for some in self.patterns):
            return self
        left = tuple(pattern for pattern in wanted if pattern not in self.no_patterns)
        return Prompts(self.words, self.no_words, (*self.patterns, left), self.no_patterns) if left else None

    def example(self, steps: Steps) -> str:
        if not self.patterns and not self.no_patterns:
            return self._of_words()
        steps.spend(5 * (len(self.no_patterns) + sum(map(len, self.patterns))))
        fits = self._test()
        for text in islice(self._guesses(), MAX_TRIED):
            steps.spend()
            if fits(text):
                return text
        raise Doubt("regex")

    def _of_words(self) -> str:
        chosen: list[str] = []
        for some in self.words:
            if not any(_holds_any(word, some) for word in chosen):
                chosen.append(min(some, key=lambda word: (len(word), word)))
        if not chosen:
            return ""
        for between in (" ", ", ", "\n"):
            text = between.join(chosen)
            if not _holds_any(text, self.no_words):
                return text
        return unused_character((*chosen, *self.no_words)).join(chosen)

    def _guesses(self) -> Iterator[str]:
        """Texts that may fit: every choice of a word, and of an example of a pattern, joined in a few ways."""
        parts = [list(some[:MAX_OF_LIST]) for some in self.words]
        for some in self.patterns:
            guessed = [text for pattern in some[:MAX_OF_LIST] for text in examples(pattern)[:MAX_OF_LIST]]
            parts.append(guessed[: 2 * MAX_OF_LIST])
        if not parts:
            yield from ("", "hello", "x", "1", " ")
            return
        betweens = (" ", "\n", "") if len(parts) > 1 else ("",)
        for chosen in product(*parts):
            for between in betweens:
                yield between.join(dict.fromkeys(chosen))
            yield f"x {' '.join(chosen)} x"

    def _test(self) -> Callable[[str], bool]:
        try:
            found = [[_search(pattern) for pattern in some] for some in self.patterns]
            refused = [_search(pattern) for pattern in sorted(self.no_patterns)]
        except (ImportError, ValueError):
            raise Doubt("regex") from None

        def fits(text: str) -> bool:
            sent = without_surrogates(text)
            lowered = sent.lower()
            return (
                all(_holds_any(lowered, some) for some in self.words)
                and not _holds_any(lowered, self.no_words)
                and all(any(search(sent) is not None for search in some) for some in found)
                and all(search(sent) is None for search in refused)
            )

        return fits


@lru_cache(maxsize=2048)
def _search(pattern: str) -> Callable[[str], str | None]:
    from routes.engine.regex import searcher

    return searcher((pattern,))


def forget_patterns() -> None:
    """A compiled pattern may be large, and the next organisation has others."""
    _search.cache_clear()


def _holds_any(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)
