"""One meaning: the engine, in every form it is compiled into, decides and explains as the contract says, which `naive`
writes down a second time. The campaign `meaning` compares forty times as many pairs."""

import re
import sys
from functools import cache
from typing import Any

import pytest

from routes.engine import Action, Engine, RequestContext, Route
from routes.engine.compiled import keywords, literals, sets
from routes.engine.outcomes import Outcomes
from routes.engine.times import TimeWindow
from tests.campaign.meaning import WAYS, Compared, compare, compiled
from tests.routes.engine import naive
from tests.routes.engine.build import route, route_id
from tests.routes.engine.shared import routing_cases
from tests.routes.engine.worlds import KINDS, SHAPES

PARTS, PAIRS = 5, 10_000


@cache
def compared(part: int) -> Compared:
    return compare(f"suite {part}", PAIRS)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_engine_decides_and_explains_as_the_contract_says(part: int) -> None:
    told = compared(part)
    assert not told.faults, "\n\n".join(told.faults)
    assert told.pairs >= PAIRS


def test_the_pairs_reach_every_shape_form_reason_outcome_and_result_of_every_condition() -> None:
    told = compared(0)
    assert set(told.shapes) == set(SHAPES)
    assert set(told.ways) == set(WAYS)
    assert set(told.reasons) == {
        "matched", "default", "no_match", "paused", "control", "refused", "forced", "forced_not_found",
    }  # fmt: skip
    assert set(told.outcomes) == {"selected", "conditions", "disabled", "inactive", "shadowed"}
    assert set(told.results) == {f"{kind} {result}" for kind in KINDS for result in ("true", "false", "unknown")}
    assert min(told.results.values()) > 100


def matches_by_length(pattern: str, model: str) -> bool:
    return len(pattern.replace("*", "")) <= len(model)


def open_at_both_ends(window: TimeWindow, local: Any) -> bool:
    start, end = window.minutes()
    now = local.hour * 60 + local.minute
    return start <= now <= end if start <= end else now >= start or now <= end


class Leftmost:
    """An automaton to which words inside others do not count."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._find = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))).findall

    def find_matches_as_indexes(self, text: str, *, overlapping: bool) -> list[tuple[int, int, int]]:
        return [(self._words.index(word), 0, 0) for word in self._find(text)]


WRONG: dict[str, tuple[Any, str, Any]] = {
    "patterns": (literals, "pattern_matches", matches_by_length),
    "hours": (TimeWindow, "contains", open_at_both_ends),
    "unknown tags": (literals, "UNKNOWN", object()),
    "surrogates": (RequestContext, "lowered_prompt", lambda context: context.prompt and context.prompt.lower()),
    "shares": (RequestContext, "split_key", lambda context: (context.sticky_key or "").encode(errors="replace")),
    "paused routes": (Outcomes, "of", lambda outcomes, route, reason="matched": outcomes.no_match(route.then)),
    "many keywords": (keywords, "_automaton", lambda: Leftmost),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_engine_that_is_wrong_is_found_and_told_by_a_case_of_few_parts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*WRONG[name])
    told = compare("wrong", 3_000, most_faults=1)
    [fault] = told.faults
    # What is printed can be read: after shrinking a case has hardly more routes than it needs.
    assert fault.count("'then'") <= 3
    assert len(fault) < 4_000


@pytest.mark.parametrize("way", WAYS)
def test_every_form_serves_an_engine_without_routes(way: str) -> None:
    with compiled(way):
        assert Engine([]).decide(RequestContext()).reason == "no_match"
        assert Engine([], default=Action("d")).decide(RequestContext(), force=None).reason == "default"
        assert Engine([Route(id=route_id(1), name="r", then=Action("t"))]).decide(RequestContext()).reason == "matched"


@pytest.mark.parametrize("way", ["as it is", "one pass", "one pass by pieces"])
def test_many_keywords_are_found_without_the_extra_too(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    words = [f"word{number}" for number in range(300)]
    with compiled(way):
        engine = Engine([route(word, prompt_contains_any_of=[word.upper()]) for word in reversed(words)])
    # `word30` and `word299` hold `word3` and `word29`, which are asked later.
    for prompt, name in [("a word30!", "word30"), ("word3", "word3"), ("Word299", "word299"), ("x word2 9", "word2")]:
        assert engine.decide(RequestContext(prompt=prompt)).route_name == name
    assert engine.decide(RequestContext(prompt="wor d1")).reason == "no_match"


def test_models_decide_the_same_when_no_more_of_them_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "MAX_REMEMBERED", 4)
    routes = [route(f"r{number}", model_matches=[f"*-{number}"], has_tools=True) for number in range(40)]
    engine = Engine([*routes, route("long", model_matches=["*z"])])
    for number in (*range(40), *range(40)):
        assert engine.decide(RequestContext(f"m-{number}", has_tools=True)).route_name == f"r{number}"
    for model in ("x" * 100_000 + "z", "z"):
        assert engine.decide(RequestContext(model)).route_name == "long"
    assert engine.decide(RequestContext("unheard of")).reason == "no_match"
    assert engine.decide(RequestContext()).reason == "no_match"


@pytest.mark.parametrize("case", routing_cases("conditions"))
def test_the_second_writing_agrees_with_the_shared_cases(case: dict[str, Any]) -> None:
    assert (naive.holds(case["when"], case["facts"]) is True) is case["matches"]


def test_the_second_writing_draws_the_buckets_of_the_contract() -> None:
    assert naive.buckets("00000000-0000-0000-0000-000000000001", {"sticky_key": "user-42"}) == (6721, 957)
