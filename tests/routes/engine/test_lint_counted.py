"""What lint says of generated routes, held against every request of a small world; the campaign `lint` holds a hundred
times as many."""

from typing import Any

import pytest

from routes.engine import linting
from routes.engine.linting import facts, overlap
from routes.engine.linting.cover import Cover
from tests.campaign.lint import count_out

SETS = 1_000


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_found_is_so_and_what_is_so_is_found(seed: int) -> None:
    said: list[str] = []
    assert count_out(seed, SETS, said.append) == []
    (counts,) = said
    assert counts.startswith(f"{SETS:,} sets")


#: The object, its attribute, and what stands there instead.
WRONG: dict[str, tuple[Any, str, Any]] = {
    "nothing is covered": (overlap, "cover", lambda regions, steps, is_left: Cover(False)),
    "whoever takes a part is named": (overlap, "fewest", lambda regions, by, steps: by),
    "what is unknown is covered": (overlap.Index, "knowing_no_more", lambda index, known: index.all()),
    "bounds are no bounds": (facts.Whole, "met", lambda fact, literal, steps: fact),
    "texts exclude nothing": (facts.Texts, "met", lambda fact, literal, steps: fact),
    "patterns have nothing in common": (facts, "common", lambda first, second: ()),
    "flags are both": (facts.Flag, "met", lambda fact, literal, steps: fact),
    "ties are named one by one": (overlap, "MAX_NAMED", 1),
    "shares are effects": (linting, "changes_nothing", lambda then, boxes, steps: False),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_lint_that_is_wrong_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*WRONG[name])
    facts._matching_one.cache_clear()
    assert count_out(1, SETS, lambda line: None)
    facts._matching_one.cache_clear()
