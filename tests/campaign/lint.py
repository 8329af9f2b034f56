"""What lint says of generated routes against what every request of a small world says.

A world has one to three facts of few values, which are all that conditions can tell apart in it, the unknown among
them. So every finding, and every finding that is missing, can be counted out.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import combinations, product
from typing import Any
from zoneinfo import ZoneInfo

from routes.engine import UNKNOWN, Action, Conditions, Engine, NumberRange, RequestContext, Route, TimeWindow
from routes.engine.linting import Finding, context_of, lint
from routes.engine.meaning import holds, is_active
from routes.engine.values import write_route
from tests.routes.engine.build import route_id

SETS = 400_000
MAX_CONTEXTS = 200
MISSING = object()

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 1, 5, tzinfo=BERLIN)
#: Windows and active times lie in the second of three weeks, on a grid of six hours; a week on each side is like any.
MOMENTS = [MONDAY + timedelta(hours=6 * step) for step in range(3 * 28)]
TEXTS = ["".join(letters) for length in range(5) for letters in product("abz", repeat=length)]
PATTERNS = ["a", "ab", "^b", "z$", "a.b"]


def _told_apart() -> list[str]:
    """For every set of the patterns that can be found together without the others, the shortest text. To these few
    patterns Python's `re` says the same as RE2; texts of six letters bring no further set."""
    shortest: dict[tuple[bool, ...], str] = {}
    for text in ("".join(letters) for length in range(6) for letters in product("abz", repeat=length)):
        shortest.setdefault(tuple(re.search(pattern, text) is not None for pattern in PATTERNS), text)
    return list(shortest.values())


def _some(chance: random.Random, members: Sequence[Any], most: int = 2) -> list[Any]:
    return chance.sample(members, chance.randint(1, min(most, len(members))))


def _bounds(chance: random.Random, below: str, above: str, values: Sequence[Any]) -> dict[str, Any]:
    chosen = chance.choice([(below,), (above,), (below, above)])
    return {key: chance.choice(values) for key in chosen}


def _model(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.4:
        return {"model_in": _some(chance, ["a", "ab", "b", "zb"], 3)}
    return {"model_matches": _some(chance, ["a*", "*b", "*a*", "a*b", "b*", "ab", "**"])}


def _named(chance: random.Random, field: str, names: str) -> dict[str, Any]:
    return {field: {name: _some(chance, ["u", "v"]) for name in _some(chance, names)}}


def _numbers(chance: random.Random) -> dict[str, Any]:
    return {
        "numbers": {
            name: NumberRange(**_bounds(chance, "lt", "gt", [0, 0.5] if name == "n" else [0.5, 1, 1.0]))
            for name in _some(chance, ["n", "m"])
        }
    }


def _window(chance: random.Random) -> dict[str, Any]:
    hours = ["00:00", "06:00", "12:00", "18:00"]
    days = _some(chance, ["mon", "tue", "wed", "sat", "sun"], 5)
    window = TimeWindow(chance.choice(hours), chance.choice(hours), "Europe/Berlin", tuple(days))
    return {"time_window": window}


def _named_values(field: str, values: dict[str, list[Any]]) -> list[dict[str, Any]]:
    every = [
        {field: {name: value for name, value in zip(values, chosen, strict=True) if value is not MISSING}}
        for chosen in product(*values.values())
    ]
    return every if field == "numbers" else [{field: UNKNOWN}, *every]


#: By name: a condition on this fact, and every value that conditions can tell apart.
FACTS: dict[str, tuple[Callable[[random.Random], dict[str, Any]], list[dict[str, Any]]]] = {
    "model": (_model, [{"model": value} for value in (None, *TEXTS)]),
    "input_tokens": (
        lambda chance: _bounds(chance, "input_tokens_lt", "input_tokens_gt", range(4)),
        [{"input_tokens": value} for value in (None, *range(-1, 5))],
    ),
    "tag": (
        lambda chance: {"tag_equals": chance.choice("pq")},
        [{"tag": value} for value in (None, UNKNOWN, "p", "q", "z")],
    ),
    "has_tools": (
        lambda chance: {"has_tools": chance.random() < 0.5},
        [{"has_tools": value} for value in (None, True, False)],
    ),
    "is_stream": (
        lambda chance: {"is_stream": chance.random() < 0.5},
        [{"is_stream": value} for value in (None, True, False)],
    ),
    "cost": (
        lambda chance: _bounds(chance, "estimated_cost_lt", "estimated_cost_gt", [0, 1e-9, 2e-9]),
        [{"estimated_cost_usd": value} for value in (None, -1e-9, 0, 1e-9, 2e-9, 3e-9)],
    ),
    "metadata": (
        lambda chance: _named(chance, "metadata", "kl"),
        _named_values("metadata", {"k": [MISSING, "u", "v", "z"], "l": [MISSING, "u", "v", "z"]}),
    ),
    "headers": (
        lambda chance: _named(chance, "headers", "hi"),
        _named_values("headers", {"h": [MISSING, "u", "v", ["u", "v"], "z"], "i": [MISSING, "u", "v", ["v", "u"]]}),
    ),
    "numbers": (
        _numbers,
        _named_values("numbers", {"n": [MISSING, -1, 0, 0.25, 0.5, 2], "m": [MISSING, 0, 0.5, 0.7, 1, 3]}),
    ),
    "latency": (
        lambda chance: {"upstream_latency_ms_p95_gt": chance.randint(0, 2)},
        [{"upstream_latency_ms_p95": value} for value in (None, -1, 0, 0.5, 1, 1.5, 2, 2.5)],
    ),
    "at": (_window, [{"at": value} for value in (None, *MOMENTS)]),
    "prompt": (
        lambda chance: {"prompt_contains_any_of": _some(chance, ["a", "B", "ab"])},
        [{"prompt": value} for value in (None, *TEXTS)],
    ),
    "patterns": (
        lambda chance: {"prompt_matches_any_of": _some(chance, PATTERNS)},
        [{"prompt": value} for value in (None, *_told_apart())],
    ),
}


@dataclass(frozen=True)
class World:
    facts: tuple[str, ...]
    contexts: list[RequestContext]


@cache
def world_of(facts: tuple[str, ...]) -> World | None:
    """The world of these facts, or None where it is too large."""
    size = 1
    for fact in facts:
        size *= len(FACTS[fact][1])
    if size > MAX_CONTEXTS or {"prompt", "patterns"} <= set(facts):
        return None
    values = product(*(FACTS[fact][1] for fact in facts))
    return World(facts, [RequestContext(**{key: part[key] for part in parts for key in part}) for parts in values])


def worlds(chance: random.Random, facts: Sequence[str]) -> Iterator[World]:
    while True:
        world = world_of(tuple(sorted(chance.sample(facts, chance.choice([1, 2, 2, 2, 3])))))
        if world is not None:
            yield world


def conditions(chance: random.Random, facts: Sequence[str], depth: int = 2) -> Conditions:
    given: dict[str, Any] = {}
    for fact in chance.sample(facts, chance.choice([0, 1, 1, len(facts)])):
        given |= FACTS[fact][0](chance)
    if depth and chance.random() < 0.25:
        given["any_of"] = tuple(conditions(chance, facts, depth - 1) for _ in range(chance.randint(1, 3)))
    if depth and chance.random() < 0.25:
        given["not_"] = conditions(chance, facts, depth - 1)
    return Conditions(**given)


def routes_of(chance: random.Random, world: World) -> list[Route]:
    routes = []
    for number in range(1, chance.randint(2, 6)):
        active: dict[str, datetime] = {}
        if "at" in world.facts and chance.random() < 0.4:
            start, end = sorted(chance.sample(MOMENTS[28:56], 2))
            active = chance.choice(
                [{"active_from": start}, {"active_until": end}, {"active_from": start, "active_until": end}]
            )
        then = chance.choice([
            Action("a"), Action("b"), Action("b", disable_cache=True), Action("b", traffic_pct=0), Action(max_cost_usd=1),
            Action("b", traffic_pct=50),
        ])  # fmt: skip
        routes.append(
            Route(
                id=route_id(number),
                name=f"r{number}",
                priority=chance.choice([1, 2]),
                enabled=chance.random() < 0.9,
                paused=chance.random() < 0.1,
                when=conditions(chance, world.facts),
                then=then,
                **active,
            )
        )
    return routes


# --- Counted out ----------------------------------------------------------------------------------------------------


def faults(
    found: Sequence[Finding], routes: Sequence[Route], world: World, *, may_be_undecided: bool = False
) -> list[str]:
    """What of the findings is not so, and what is so that they do not say."""
    asked = sorted((route for route in routes if route.enabled), key=lambda route: -route.priority)
    takes = {
        route.id: frozenset(
            index
            for index, context in enumerate(world.contexts)
            if is_active(route, context) and holds(route.when, context) is True
        )
        for route in asked
    }
    wrong = [f"undecided: {each}" for each in found if each.undecided is not None and not may_be_undecided]
    wrong += [f"names no enabled route: {each}" for each in found if not {*each.route_ids, *each.by} <= takes.keys()]
    for position, route in enumerate(asked):
        said = {each.code: each for each in found if each.route_ids[-1] == route.id and each.undecided is None}
        open_ = {each.code for each in found if each.route_ids[-1] == route.id and each.undecided is not None}
        own, before = takes[route.id], asked[:position]
        if not own and may_be_undecided and "never_matches" not in said:
            continue  # patterns exclude each other, which nobody can know: what is said of no request is no mistake
        covered = bool(own) and own <= frozenset().union(*(takes[each.id] for each in before))
        tied = [each.id for each in before if each.priority == route.priority and takes[each.id] & own]
        checks = [
            ("never_matches", not own, "never_matches" in said),
            ("shadowed", covered, "shadowed" in said),
            ("tie", bool(tied), "tie" in said),
            ("no_effect", _has_no_effect(route, own, world), "no_effect" in said),
        ]
        wrong += [
            f"{route.name}: {code} is {is_so}, lint says {says}"
            for code, is_so, says in checks
            if is_so != says and not (code in open_ or (not says and "never_matches" in open_))
        ]
        if covered and "shadowed" in said:
            wrong += _faults_of_shadow(said["shadowed"], own, before, takes, may_be_more=may_be_undecided)
        if "tie" in said and "tie" not in open_ and list(said["tie"].route_ids[:-1]) != tied:
            wrong.append(f"{route.name}: tied with {tied}, lint says {said['tie'].route_ids}")
    return wrong + _faults_of_witnesses(found, asked, may_be_none=may_be_undecided)


def _has_no_effect(route: Route, own: frozenset[int], world: World) -> bool:
    then = route.then
    if not own or route.paused or then.disable_cache or then.max_cost_usd is not None:
        return False
    return then.traffic_pct == 0 or all(world.contexts[index].model == then.target_model for index in own)


def _faults_of_shadow(
    finding: Finding,
    own: frozenset[int],
    before: Sequence[Route],
    takes: dict[str, frozenset[int]],
    *,
    may_be_more: bool,
) -> list[str]:
    """`may_be_more`: that one of them can be spared may be true and yet not be known."""
    if not own <= frozenset().union(*(takes[each] for each in finding.by)):
        return [f"not covered by them: {finding}"]
    if may_be_more:
        return []
    alone = next((each.id for each in before if own <= takes[each.id]), None)
    if alone is not None:
        return [] if finding.by == (alone,) else [f"{alone} does it alone: {finding}"]
    fewer = combinations(finding.by, len(finding.by) - 1)
    return [f"{some} do it: {finding}" for some in fewer if own <= frozenset().union(*map(takes.get, some))]


def _faults_of_witnesses(found: Sequence[Finding], asked: Sequence[Route], *, may_be_none: bool) -> list[str]:
    wrong = []
    by_id = {route.id: route for route in asked}
    engine = Engine(asked) if any(finding.witness is not None for finding in found) else None
    for finding in found:
        if finding.witness is None:
            if finding.code in ("shadowed", "tie") and finding.undecided is None and not may_be_none:
                wrong.append(f"no witness: {finding}")
            continue
        context = context_of(finding.to_dict()["witness"])

        def takes(route_id: str, context: RequestContext = context) -> bool:
            route = by_id[route_id]
            return is_active(route, context) and holds(route.when, context) is True

        *others, last = finding.route_ids
        is_shown = any(map(takes, finding.by)) if finding.code == "shadowed" else takes(others[0])
        assert engine is not None
        if not (is_shown and takes(last) and engine.decide(context).route_id != last):
            wrong.append(f"not shown by {finding.witness}: {finding}")
    return wrong


#: Every fact but RE2 patterns is decided always.
DECIDED = sorted(FACTS.keys() - {"patterns"})


def count_out(seed: int, sets: int, say: Callable[[str], None]) -> list[str]:
    """The first faults in that many sets of routes, in worlds without and with RE2 patterns."""
    chance = random.Random(seed)
    said = {"sets": 0, "requests": 0, "findings": 0, "undecided": 0}
    for facts, share, may_be_undecided in ((DECIDED, 0.9, False), (sorted(FACTS), 0.1, True)):
        every = worlds(chance, facts)
        for _ in range(round(share * sets)):
            world = next(every)
            routes = routes_of(chance, world)
            found = lint(routes)
            said["sets"] += 1
            said["requests"] += len(world.contexts)
            said["findings"] += len(found)
            said["undecided"] += sum(each.undecided is not None for each in found)
            if wrong := faults(found, routes, world, may_be_undecided=may_be_undecided):
                return [f"facts {world.facts}", *wrong, *(str(write_route(route)) for route in routes)]
    say(", ".join(f"{count:,} {name}" for name, count in said.items()))
    return []


def run(seed: int, say: Callable[[str], None]) -> bool:
    wrong = count_out(seed, SETS, say)
    for line in wrong:
        say(line)
    return not wrong
