"""The list of a thousand routes is the one that Django's own widget writes, only sooner."""

import pytest
from django import forms
from selectolax.lexbor import LexborHTMLParser

from routes.rules.forms.fields import LongSelect
from tests.hostile import strings


def read(html: str) -> list[tuple[str | None, dict[str, str | None], str]]:
    root = LexborHTMLParser(html).root
    assert root is not None
    return [(node.tag, dict(node.attributes), node.text(deep=False)) for node in root.css("select, option")]


@pytest.mark.parametrize("chosen", [None, "", "nobody", *strings()[:3]])
def test_a_long_list_is_written_as_django_writes_it(chosen: str | None) -> None:
    choices = [("", "Whichever"), *((text, text) for text in strings())]
    attrs = {"id": 'x"y', "required": True, "disabled": False, "aria-describedby": "a<b"}
    ours = read(LongSelect(choices=choices).render('n"ame', chosen, attrs))
    theirs = read(forms.Select(choices=choices).render('n"ame', chosen, attrs))
    blank = [(tag, given, text.strip()) for tag, given, text in ours]
    assert blank == [(tag, given, text.strip()) for tag, given, text in theirs]
    assert len(ours) == len(choices) + 1
