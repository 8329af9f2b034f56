"""The shared workload of rules and requests, in the words of the engine.

Rules and requests are those of `rules_workload` in the folder of benchmarks shared beside the project, which is imported
in place, as are the peers. This module needs nothing but the standard library and the engine: it also runs in the
peers' own environment.
"""

import importlib
import random
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

from routes.engine import Action, Conditions, Engine, RequestContext, Route

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "bench"
#: What benchmarks build for themselves; `make clean` removes it.
TOOLS = ROOT / ".tools"


class NotHereError(Exception):
    """What a race needs is not on this machine; the text says what."""


@cache
def shared_module(name: str) -> ModuleType:
    """A module of the shared folder. Raises `NotHereError` where the folder, or what the module imports, is absent."""
    if not (SHARED / f"{name}.py").exists():
        raise NotHereError(f"../shared/bench/{name}.py is not here")
    sys.path.append(str(SHARED))  # last: it has a `timing` of its own
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder is for reading
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotHereError(f"../shared/bench/{name}.py does not run: {error}") from None
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(SHARED))


class Workload(NamedTuple):
    """Rules and requests as the shared module makes them, the same ones for the same arguments."""

    rules: list[Any]
    requests: list[Any]

    @classmethod
    def of(cls, size: int, case: str, *, keywords: float = 0.0, requests: int = 16) -> "Workload":
        """`case` says which rule matches: `none`; `mid`, the middle one; `deep`, none, and each fails on its last
        condition. `keywords` is the share of rules that ask for some, which no prompt holds."""
        shared = shared_module("rules_workload")
        asked = shared.requests(requests)
        return cls(shared.rules(size, asked, case, contains_p=keywords), asked)

    @classmethod
    def with_words(cls, size: int, *, keywords: float, said: int = 0, requests: int = 16) -> "Workload":
        """The case `none` with words as keywords instead of the workload's own, which all begin and end alike: a search
        could tell by that. Each prompt holds `said` of them, and still no rule matches."""
        shared = shared_module("rules_workload")
        asked = shared.requests(requests)
        words = _words(shared.WORDS, [request.prompt for request in asked])
        for place, request in enumerate(asked):
            parts = request.prompt.split(" ")
            for number in range(said):
                parts.insert(
                    len(parts) * (number + 1) // (said + 1), shared.WORDS[(19 * place + 53 * number) % len(words)]
                )
            request.prompt = " ".join(parts)
        # Made for the keywords as they are, then changed in both: what matches stays what it was.
        rules = shared.rules(size, asked, "none", contains_p=keywords)
        for rule in rules:
            rule.contains = rule.contains and [words[keyword] for keyword in rule.contains]
        for request in asked:
            request.prompt = " ".join(words.get(part, part) for part in request.prompt.split(" "))
        return cls(rules, asked)

    def answers_of_loop(self) -> list[int]:
        """The index of the first rule that matches each request, -1 for none: by the plain loop."""
        loop = shared_module("rules_engines").Naive(self.rules)
        return [loop(request) for request in self.requests]

    def routes(self) -> list[Route]:
        return [route_of(rule, index) for index, rule in enumerate(self.rules)]

    def contexts(self) -> list[RequestContext]:
        return [context_of(request) for request in self.requests]


def _words(keywords: list[str], prompts: list[str]) -> dict[str, str]:
    """By keyword a word of two to five syllables, that no prompt and no other word holds."""
    chance = random.Random(3)
    words: dict[str, str] = {}
    for keyword in keywords:
        while keyword not in words:
            syllables = chance.randint(2, 5)
            word = "".join(chance.choice("bcdfghklmnprst") + chance.choice("aeiou") for _ in range(syllables))
            others = [other for other in words.values() if word in other or other in word]
            if not others and not any(word in prompt for prompt in prompts):
                words[keyword] = word
    return words


def route_of(rule: Any, index: int) -> Route:
    """The rule as a route; its index is its id."""
    return Route(
        id=str(UUID(int=index)),
        name=f"route {index}",
        when=Conditions(
            model_in=rule.models or (),
            input_tokens_lt=rule.tok_lt,
            input_tokens_gt=rule.tok_gt,
            metadata={} if rule.tag is None else {rule.tag[0]: [rule.tag[1]]},
            has_images=rule.images,
            has_audio=rule.audio,
            estimated_cost_lt=rule.cost_lt,
            estimated_cost_gt=rule.cost_gt,
            prompt_contains_any_of=rule.contains or (),
        ),
        then=Action(rule.target, fallbacks=rule.fallbacks, max_cost_usd=rule.max_cost),
    )


def context_of(request: Any) -> RequestContext:
    return RequestContext(
        request.model,
        input_tokens=request.tokens,
        metadata=request.tags,
        has_images=request.images,
        has_audio=request.audio,
        estimated_cost_usd=request.cost,
        prompt=request.prompt,
    )


def answers_of(engine: Engine, contexts: list[RequestContext]) -> list[int]:
    """The index of the route that takes each request, -1 for none."""
    taken = [engine.decide(context).route_id for context in contexts]
    return [-1 if route_id is None else UUID(route_id).int for route_id in taken]


def must_agree(who: str, answers: list[int], right: list[int]) -> None:
    """Raises `AssertionError` for a candidate that answers something else: its time would mean nothing."""
    if answers != right:
        raise AssertionError(f"{who} answers {answers}, the plain loop {right}")
