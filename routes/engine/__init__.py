"""The decision: which model serves a request. Standard library only; a gateway imports this and asks on every request.

Values
    values        `Route`, `NewRoute`: what people write and documents hold
    conditions    `Conditions`: what a request must be like
    action        `Action`: what happens to it
    meta          what people want to know of a route
    times         RFC 3339, `TimeWindow`
    context       `RequestContext`: the facts of one request
    reading       strict checks that collect every issue at once
    frozen        `FrozenDict`, for values that hold names
    money         US dollars as integer nano-dollars
    ids           canonical UUID strings, UUIDv7
    canonical     canonical JSON (RFC 8785)
    errors        the tree of refusals, each with its HTTP status
Deciding
    document      `Document`: what one version publishes, parsed strictly
    engine        `Engine`: one version's routes, compiled once (the shapes are in `compiled/`)
    meaning       what conditions mean, as an obvious evaluation
    regex         RE2 patterns
    outcomes      what comes of a route that won: one decision, or a draw
    decision      `RouteDecision`: the answer
    explanation   `Explanation`: the answer with what every route saw and expected
Freshness
    store         the `Store` protocols, and what the reading stores share
    memory        `MemoryStore`
    sqlite        `SQLiteStore`
    postgres      `PostgresStore`
    cache         `EngineCache`: the engine of every organisation, warm
    freshness     the thread behind the cache
"""

from typing import TYPE_CHECKING, Any

import routes as _package

if hasattr(_package, "Mapper"):
    # Both distributions install files into the same folder; which of them win is chance.
    raise ImportError(
        "The distribution `Routes` is installed beside `routing-engine`; both own the package `routes`."
        " Remove it: pip uninstall Routes, then pip install --force-reinstall routing-engine."
    )

from routes.engine import errors
from routes.engine.action import Action, Refusal, SplitArm
from routes.engine.cache import EngineCache
from routes.engine.conditions import Conditions, NumberRange
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.document import Document
from routes.engine.engine import Engine, SkippedRoute
from routes.engine.store import ManagedStore, Store
from routes.engine.times import TimeWindow
from routes.engine.values import NewRoute, Route

if TYPE_CHECKING:
    from routes.engine.explanation import ConditionExplanation, Explanation, RouteExplanation
    from routes.engine.memory import MemoryStore
    from routes.engine.postgres import PostgresStore
    from routes.engine.sqlite import SQLiteStore

__all__ = [
    "UNKNOWN",
    "Action",
    "ConditionExplanation",
    "Conditions",
    "Document",
    "Engine",
    "EngineCache",
    "Explanation",
    "ManagedStore",
    "MemoryStore",
    "NewRoute",
    "NumberRange",
    "PostgresStore",
    "Refusal",
    "RequestContext",
    "Route",
    "RouteDecision",
    "RouteExplanation",
    "SQLiteStore",
    "SkippedRoute",
    "SplitArm",
    "Store",
    "TimeWindow",
    "errors",
]

#: Loaded when first asked for: a gateway uses one store and explains nothing, and the import has a budget of 50 ms.
_LOADED_LATER = {
    "ConditionExplanation": "explanation",
    "Explanation": "explanation",
    "MemoryStore": "memory",
    "PostgresStore": "postgres",
    "RouteExplanation": "explanation",
    "SQLiteStore": "sqlite",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_LOADED_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
