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
    tokens        about how many tokens a request has
    prices        `PriceTable`: what tokens cost, and what a request is estimated to
    (`linting/`)  `lint`: rules that are probably not as they were meant
Paths
    paths         `PathTable`: which upstream serves a path; `Service`
    path_patterns `PathRoute`, and what a pattern, a target and a safe path are
    egress        which addresses an upstream may have
Freshness
    store         the `Store` protocols, and what the reading stores share
    memory        `MemoryStore`
    sqlite        `SQLiteStore`
    postgres      `PostgresStore`
    httpstore     `HttpStore`
    filestore     `FileStore`
    cache         `EngineCache`: the engine of every organisation, warm
    entries       what is known of each organisation
    freshness     the thread behind the cache
    notices       the thread that listens for hints, where a store gives them
    disk          snapshots on disk, for a start without the store
    files         small files, read within a bound and written in one step
    waiting       waiting for a load, in threads and in event loops
Other routers
    spi           `RoutingSpi`, `SpiDecision`: the protocol behind which routers are exchanged
    placements    `Placement`: where a partition is, and the steps by which it moves to another cluster
    placing       `PlacementRouter`, `PinnedRouter`, and what they ask
    placed        targets of paths that lead to placements
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
    from routes.engine.filestore import FileStore
    from routes.engine.httpstore import HttpStore
    from routes.engine.linting import Finding, lint
    from routes.engine.memory import MemoryStore
    from routes.engine.path_patterns import PathRoute, Timeouts
    from routes.engine.paths import PathMatch, PathTable, Service
    from routes.engine.placements import Placement, PlacementTable
    from routes.engine.placing import PinnedRouter, PlacementRouter, PlacementStore
    from routes.engine.postgres import PostgresStore
    from routes.engine.prices import Price, PriceTable
    from routes.engine.spi import HeaderOp, Inject, RoutingSpi, SpiDecision, Target
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
    "FileStore",
    "Finding",
    "HeaderOp",
    "HttpStore",
    "Inject",
    "ManagedStore",
    "MemoryStore",
    "NewRoute",
    "NumberRange",
    "PathMatch",
    "PathRoute",
    "PathTable",
    "PinnedRouter",
    "Placement",
    "PlacementRouter",
    "PlacementStore",
    "PlacementTable",
    "PostgresStore",
    "Price",
    "PriceTable",
    "Refusal",
    "RequestContext",
    "Route",
    "RouteDecision",
    "RouteExplanation",
    "RoutingSpi",
    "SQLiteStore",
    "Service",
    "SkippedRoute",
    "SpiDecision",
    "SplitArm",
    "Store",
    "Target",
    "TimeWindow",
    "Timeouts",
    "errors",
    "lint",
]

#: Loaded when first asked for: a gateway uses one store and explains nothing, and the import has a budget of 50 ms.
_LOADED_LATER = {
    "ConditionExplanation": "explanation",
    "Explanation": "explanation",
    "FileStore": "filestore",
    "Finding": "linting",
    "HeaderOp": "spi",
    "HttpStore": "httpstore",
    "Inject": "spi",
    "MemoryStore": "memory",
    "PathMatch": "paths",
    "PathRoute": "path_patterns",
    "PathTable": "paths",
    "PinnedRouter": "placing",
    "Placement": "placements",
    "PlacementRouter": "placing",
    "PlacementStore": "placing",
    "PlacementTable": "placements",
    "PostgresStore": "postgres",
    "Price": "prices",
    "PriceTable": "prices",
    "RouteExplanation": "explanation",
    "RoutingSpi": "spi",
    "SQLiteStore": "sqlite",
    "Service": "paths",
    "SpiDecision": "spi",
    "Target": "spi",
    "Timeouts": "path_patterns",
    "lint": "linting",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_LOADED_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
