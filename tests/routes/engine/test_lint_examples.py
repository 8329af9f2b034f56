"""Texts in which a pattern may be found: RE2 finds it in all that are guessed from these, and some have none."""

import pytest
import re2

from routes.engine.linting.examples import MAX_TEXTS, examples


@pytest.mark.parametrize(
    "pattern",
    [
        "salary", "a|b", "|b",
        "(a|b)c", "a*b+c?", "a{3}", "a{2,5}", "a{0}b", "x{64}", "a.c", "^a$", r"\bword\b", r"\Aa\z",
        r"\d\w\s\D\W\S", r"\.\*\[", r"\n\t\r\f\v\a", r"\x41\x{1F600}", r"\Qa.b\E*", r"\Qa.b", "(?i)salary", "(?i:x)y",
        "(?:ab)+", "(?P<name>ab)c", "(?<name>ab)c", "(?im-s)^a", "(?i)a(?-i)b", "[abc]", "[a-z]x", "[^a-z]", "[^x1]",
        "[]a]", "[^]x]", "[-a]", "[a-]", r"[\d]", r"[^\d]", r"[\]\\]", "[[:alpha:]]", "[[:digit:]x]", "[^[:punct:]]",
        "[[:word:]-]", "(a|b)(c|d)(e|f)(g|h)", "((((a))))", "é+", "(card|account) *number: *[0-9]{4}",
    ],
)  # fmt: skip
def test_re2_finds_the_pattern_in_a_text_that_was_guessed(pattern: str) -> None:
    texts = examples(pattern)
    assert 1 <= len(texts) <= MAX_TEXTS
    assert texts == sorted(texts, key=len)
    assert any(re2.search(pattern, text) for text in texts)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\pL", r"\p{Greek}", r"\C", "[^x1 -A_.!é]", r"[^\x{0}-\x{10FFFF}]", "(" * 60 + "a" + ")" * 60, "a{x}", "a{99999}",
        r"\x{zz}", r"\x{110000}", r"\xz", "(?#x)", "(a", "a)", "[a", "a\\", "(?P<a", "[[:alpha",
    ],
)  # fmt: skip
def test_what_is_not_understood_has_none(pattern: str) -> None:
    assert examples(pattern) == []
