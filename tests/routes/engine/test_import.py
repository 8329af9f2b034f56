"""The import of the engine: standard library only, nothing heavy, within its budget."""

import os
import subprocess
import sys
from pathlib import Path

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
    heavy = [
        "asyncio",
        "urllib.request",
        "concurrent.futures",
        "sqlite3",
        "logging",
        "decimal",
        "ssl",
        "http",
        "django",
    ]
    before = "import sys; before = set(sys.modules); import routes.engine; "  # a measurement may have brought some
    assert run(f"{before}print([name for name in {heavy!r} if name in sys.modules.keys() - before])") == "[]"


def test_the_import_costs_less_than_50_milliseconds(tmp_path: Path) -> None:
    # Processor time with compiled modules at hand, as where it is installed; the best of many, because the machine is not
    # ours alone.
    program = "import time; began = time.process_time(); import routes.engine; print(time.process_time() - began)"
    environment = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    assert any(float(run(program, **environment)) < 0.050 for _ in range(50))


def test_everything_that_is_exported_is_there() -> None:
    import routes.engine

    for name in routes.engine.__all__:
        assert getattr(routes.engine, name) is not None
    assert set(routes.engine.__all__) <= set(dir(routes.engine))
    assert sorted(routes.engine.__all__) == sorted(set(routes.engine.__all__))
    for path in Path(routes.engine.__file__).parent.glob("[a-z]*.py"):
        assert f"    {path.stem} " in (routes.engine.__doc__ or ""), f"{path.name} has no line in the docstring"
