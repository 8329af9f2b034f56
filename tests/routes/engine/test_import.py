"""The import of the engine: standard library only, nothing heavy, within its budget."""

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.importing import STANDARD

ROOT = Path(__file__).resolve().parents[3]


def run(program: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_engine_decides_where_nothing_but_the_standard_library_can_be_imported() -> None:
    program = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top != "routes":
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
for refused in ("django", "numpy", "psycopg", "httpx"):
    try:
        __import__(refused)
    except ImportError:
        pass
    else:
        raise SystemExit(refused)

from routes.engine import *
org = "00000000-0000-7000-8000-00000000000a"
store = MemoryStore()
store.create_route(org, NewRoute("r", Action("small"), when=Conditions(model_in=["big"])))
SQLiteStore("nowhere"), PostgresStore("nowhere")
with EngineCache(store) as cache:
    engine = cache.engine_for(org)
print(engine.decide(RequestContext("big")).model_for("big"), engine.explain(RequestContext("x")).decision.reason)
"""
    assert run(program) == "small no_match"


def test_another_package_of_the_same_name_is_told_apart() -> None:
    program = """
import routes
routes.Mapper = object
try:
    import routes.engine
except ImportError as error:
    print(error)
"""
    assert "pip uninstall Routes" in run(program)


def test_the_import_takes_no_module_that_is_not_needed_to_decide() -> None:
    # `make bench` says what it costs. A new module makes it cost more, which an idle machine would hide from a clock.
    modules = "import sys; print(*sys.modules)"
    taken = set(run(f"import routes.engine; {modules}").split()) - set(run(f"import {STANDARD}; {modules}").split())
    own = {"routes"} | {f"routes.engine.{path.stem}" for path in (ROOT / "routes/engine").glob("[a-z]*.py")}
    assert taken - own == {"routes.engine"}
    for_some = {"disk", "explanation", "filestore", "httpstore", "paths", "postgres", "prices", "regex", "sqlite"}
    assert {f"routes.engine.{name}" for name in for_some} <= own - taken


def test_everything_that_is_exported_is_there() -> None:
    import routes.engine

    for name in routes.engine.__all__:
        assert getattr(routes.engine, name) is not None
    assert set(routes.engine.__all__) <= set(dir(routes.engine))
    assert sorted(routes.engine.__all__) == sorted(set(routes.engine.__all__))
    for path in Path(routes.engine.__file__).parent.glob("[a-z]*.py"):
        assert f"    {path.stem} " in (routes.engine.__doc__ or ""), f"{path.name} has no line in the docstring"
