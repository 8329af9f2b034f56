"""The decision: which model serves a request. Standard library only; a gateway imports this and asks on every request.

Values
    values        `Route`, `NewRoute`, `Action`: what people write and documents hold
    conditions    `Conditions`: what a request must be like
    context       `RequestContext`: the facts of one request
    reading       strict checks that collect every issue at once
    money         US dollars as integer nano-dollars
    ids           canonical UUID strings, UUIDv7
    canonical     canonical JSON (RFC 8785)
    errors        the tree of refusals, each with its HTTP status
Deciding
    document      `Document`: what one version publishes, parsed strictly
    engine        `Engine`: one version's routes, compiled once
    atoms         one condition each, compiled to a test
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
from routes.engine.cache import EngineCache
from routes.engine.conditions import Conditions
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.document import Document
from routes.engine.engine import Engine, SkippedRoute
from routes.engine.store import ManagedStore, Store
from routes.engine.values import Action, NewRoute, Route

if TYPE_CHECKING:
    from routes.engine.explanation import ConditionExplanation, Explanation, RouteExplanation
    from routes.engine.memory import MemoryStore
    from routes.engine.postgres import PostgresStore
    from routes.engine.sqlite import SQLiteStore

__all__ = [
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
    "PostgresStore",
    "RequestContext",
    "Route",
    "RouteDecision",
    "RouteExplanation",
    "SQLiteStore",
    "SkippedRoute",
    "Store",
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
