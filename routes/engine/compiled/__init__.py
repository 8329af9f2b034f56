"""The compiled forms of a version's routes: one meaning (`meaning`), two shapes, chosen when an engine is built.

rows        conditions as alternatives of two-valued literals
literals    one literal as a function
chain       a few routes: one generated if-chain
bitsets     many routes: a set of rows for each value of each fact, intersected
sets        these sets
dear        keywords, patterns, hours: asked as late as possible
keywords    many keywords in one pass
"""

from __future__ import annotations

from collections.abc import Iterable

from routes.engine.compiled.bitsets import compile_bitsets
from routes.engine.compiled.chain import Decide, Forced, compile_chain
from routes.engine.compiled.keywords import FEW
from routes.engine.compiled.rows import Row, rows_of
from routes.engine.outcomes import Outcome
from routes.engine.values import Route

#: So many rows more than routes, of so many literals more than the routes have; beyond, alternatives are not multiplied
#: out at all.
MAX_MORE, MAX_MORE_LITERALS = 8_192, 200_000
#: Up to so many rows, of so many literals in all, an if-chain is faster.
MAX_CHAIN, MAX_CHAIN_LITERALS = 24, 240


def compile_routes(asked: Iterable[tuple[Route, Outcome]], otherwise: Outcome, forced: Forced) -> Decide:
    """The function `decide(context, *, force=None)` over routes in the order in which they are asked.

    Raises what `literals.test_of` raises.
    """
    asked = list(asked)
    rows: list[tuple[Row, Outcome]] = []
    more = 0
    for route, outcome in asked:
        alternatives = rows_of(route)
        rows += [(row, outcome) for row in alternatives]
        more += sum(map(len, alternatives[1:]))
        if len(rows) > len(asked) + MAX_MORE or more > MAX_MORE_LITERALS:
            rows = [(row, outcome) for route, outcome in asked for row in rows_of(route, most=1)]
            break
    if len(rows) <= MAX_CHAIN and sum(len(row) for row, _ in rows) <= MAX_CHAIN_LITERALS:
        words = {word for row, _ in rows for literal in row if literal.kind == "keywords" for word in literal.value}
        if len(words) <= FEW:
            return compile_chain(rows, otherwise, forced)
    return compile_bitsets(rows, otherwise, forced)
