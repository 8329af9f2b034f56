"""What a name was meant to be."""

import pytest

from routes.texts import nearest

NAMES = ["europe chat", "Europe pictures", "short_ones", "日本", "x"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("eurpoe", ["europe chat", "Europe pictures"]),
        ("EUROPE CHAD", ["europe chat"]),
        ("shrot ones", ["short_ones"]),
        ("ones", ["short_ones"]),
        ("nothing", []),
        ("", []),
        ("europe" * 11, []),
    ],
)
def test_a_name_that_is_written_almost_so_is_found(text: str, found: list[str]) -> None:
    assert nearest(text, NAMES) == found


def test_names_are_few_and_each_is_told_once() -> None:
    assert nearest("rute", [f"route {n}" for n in range(9)] + ["route route"]) == ["route 0", "route 1", "route 2"]


def test_a_whole_name_comes_before_those_that_have_the_word() -> None:
    assert nearest("chta", ["chat 0", "chat 1", "chat 2", "chat 3", "chat"])[0] == "chat"
