"""What a new version costs a gateway: compiling its routes, reading its document, and the memory that stays."""

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable

from routes.engine import Document, Engine, Route
from tests.bench.report import Row, held, not_run, say, tell
from tests.bench.timing import race
from tests.bench.workload import NotHereError, Workload, shared_module

#: For compiling, in ms.
GOALS_MS = {1_000: 10.0, 10_000: 150.0}
#: Of an engine, for every 1,000 routes.
GOAL_MIB = 0.5
#: The most routes that a document may have when it is written, and when it is loaded.
DOCUMENT_SIZES = (1_000, 2_000)
ORG = "00000000-0000-7000-8000-000000000001"
#: The share of routes that ask for keywords, as in the race of decisions.
CASES = {"": 0.0, ", 15% with keywords": 0.15}


def main() -> None:
    quick = "--quick" in sys.argv
    try:
        shared_module("rules_workload")
    except NotHereError as error:
        for size, goal in GOALS_MS.items():
            not_run(f"compile {size:,} routes", f"<= {goal:.0f} ms", str(error))
        return
    for case, keywords in CASES.items():
        for size, goal in GOALS_MS.items():
            routes = Workload.of(size, "none", keywords=keywords).routes()
            seconds = _compile_seconds(routes, quick=quick)
            what, wanted = f"compile {size:,} routes{case}", f"<= {goal:.0f} ms"
            say(f"{what}: {_ms(seconds)}")
            tell(Row(what, wanted, _ms(seconds), held=held(seconds <= goal * 1e-3)))
            _tell_memory(routes, case)
    for size in DOCUMENT_SIZES:
        _tell_document(size, quick=quick)


def _compile_seconds(routes: list[Route], *, quick: bool) -> float:
    took = race({"compile": lambda: Engine(routes)}, quick=quick)
    return took["compile"]


def _tell_memory(routes: list[Route], case: str) -> None:
    size = len(routes)
    mib = _mib(lambda: Engine(routes))
    what, most = f"memory of an engine of {size:,} routes{case}", GOAL_MIB * size / 1_000
    say(f"{what}: {mib:.2f} MiB beside the routes themselves")
    each = f"{mib / size * 1_000:.2f} MiB for 1,000"
    tell(Row(what, f"<= {GOAL_MIB} MiB for 1,000", f"{mib:.2f} MiB", each, held(mib <= most)))


def _tell_document(size: int, *, quick: bool) -> None:
    """From the bytes of a document to an engine that decides, and everything that stays of it."""
    routes = Workload.of(size, "none", keywords=0.15).routes()
    content = {"default": None, "routes": [route.to_dict() for route in routes], "services": []}
    data = json.dumps(Document.build(content, ORG, "acme", 1).to_dict()).encode()

    def load() -> Engine:
        return Engine.from_document(Document.from_bytes(data))

    if len(load().routes) != size:
        raise AssertionError("the document loses routes")
    document = Document.from_bytes(data)
    took = race(
        {
            "parse": lambda: Document.from_bytes(data),
            "read and compile": lambda: Engine.from_document(document),
            "all": load,
            "json.loads alone": lambda: json.loads(data),
        },
        quick=quick,
    )
    mib = _mib(load)
    what = f"from the {len(data) / 2**20:.1f} MiB of a document of {size:,} routes to a decision"
    told = ", ".join(f"{name} {_ms(seconds)}" for name, seconds in took.items())
    say(f"{what}: {told}; {mib:.2f} MiB with its routes")
    ratio = f"{took['all'] / took['json.loads alone']:.0f}x json.loads alone"
    tell(Row(what, "-", f"{_ms(took['all'])}, {mib:.2f} MiB with its routes", ratio))


def _mib(build: Callable[[], object]) -> float:
    """What stays in memory of what this builds, once everything that is made only once has been made."""
    kept = [build()]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept.append(build())
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / 2**20


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


if __name__ == "__main__":
    main()
