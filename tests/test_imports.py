"""The import table of the architecture, as data: who may know whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

DJANGO = {"django", "rest_framework", "django_filters"}
#: Room → what it may import besides the standard library. A room's own modules are always allowed.
MAY_IMPORT: dict[str, set[str]] = {
    "routes/engine": set(),
    "routes/gateway": {"aiohttp", "multidict", "prometheus_client", "yarl", "routes.engine"},
    "plans/replay": {"numpy", "routes.engine"},
    "plans/charts": set(),
    "audit/log": {"cryptography"},
    "audit": DJANGO,
    "routes": DJANGO | {"audit"},
    "plans": DJANGO | {"numpy", "routes", "audit"},
    # Logs, metrics, the schema and what signs people in are composed here; the rooms log by the standard library and count
    # nothing.
    "routing_admin": DJANGO
    | {"environ", "axes", "django_otp", "drf_spectacular", "prometheus_client", "segno", "structlog"}
    | {"audit", "routes", "plans"},
}
#: Modules that may import more, and only inside functions.
LAZY: dict[str, set[str]] = {
    "routes/engine/postgres.py": {"psycopg"},
    "routes/engine/httpstore.py": {"httpx"},
    "routes/engine/regex.py": {"re2"},
    "routes/engine/compiled/keywords.py": {"ahocorasick_rs"},
    "routes/gateway/__main__.py": {"granian"},
    "routes/gateway/logs/parquet.py": {"pyarrow"},
    "routes/gateway/logs/database.py": {"psycopg"},
    "routes/gateway/sources.py": {"httpx", "psycopg"},
    "routes/transfer/notation.py": {"yaml"},
    "plans/logs/formats/parquet.py": {"pyarrow"},
    "plans/replay/columns/arrow.py": {"pyarrow"},
    "plans/replay/columns/parquet.py": {"pyarrow"},
    "plans/replay/columns/dataset.py": {"pyarrow"},
    # Half a second of imports, which only an installation with an OpenID provider needs.
    "routing_admin/signin/provider.py": {"authlib", "joserfc", "requests"},
}
#: From other applications only their public modules.
PUBLIC = {
    "audit": {
        "audit.actors",
        "audit.errors",
        "audit.parameters",
        "audit.reading",
        "audit.redaction",
        "audit.services",
        "audit.signing.signer",
        "audit.times",
    },
    "audit, composed": {
        "audit.actors",
        "audit.services",
        "audit.request_id",
        "audit.models",
        "audit.admin",
        "audit.api",
    },
}
#: Inside `routes`, each subject may import the ones before it.
ORDER = [
    "orgs",
    "idempotency",
    "catalog",
    "versions",
    "redaction",
    "examples",
    "placements",
    "paths",
    "rules",
    "history",
    "transfer",
    "fleet",
]


def room_of(path: Path) -> str | None:
    relative = path.relative_to(ROOT).as_posix()
    fitting = [room for room in MAY_IMPORT if relative.startswith(room + "/")]
    return max(fitting, key=len) if fitting else None


@cache
def imports(path: Path) -> list[tuple[str, bool, int]]:
    """(module, at the top of the file, line) of every import of a file."""
    return list(_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(tree: ast.Module) -> Iterator[tuple[str, bool, int]]:
    inside = {id(child) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) not in inside, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or ""), id(node) not in inside, node.lineno
            else:
                yield node.module or "", id(node) not in inside, node.lineno


def files() -> list[Path]:
    rooms = {room.split("/")[0] for room in MAY_IMPORT}
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


def test_every_room_imports_only_what_the_architecture_allows() -> None:
    wrong = []
    for path in files():
        room = room_of(path)
        assert room is not None
        relative = path.relative_to(ROOT).as_posix()
        own = room.replace("/", ".")
        for module, at_top, line in imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top == "__future__" or within(module, {own}):
                # An outer room's own modules contain the pure ones; `routes` may use its engine.
                continue
            if within(module, MAY_IMPORT[room]) or (not at_top and within(module, LAZY.get(relative, set()))):
                continue
            if module == "routes" and room in ("plans/replay", "routes/engine"):
                continue  # `from routes import engine`, and the engine's look at its own (empty) parent
            wrong.append(f"{relative}:{line} imports {module}")
    assert wrong == []


def test_pure_rooms_do_not_reach_into_their_application() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for room in ("routes/engine", "plans/replay", "plans/charts", "audit/log")
        for path in (ROOT / room).rglob("*.py")
        for module, _, line in imports(path)
        if module.split(".")[0] in ("routes", "plans", "audit", "routing_admin")
        and not within(module, {room.replace("/", "."), "routes.engine"})
        and module != "routes"
    ]
    assert wrong == []


def test_nobody_imports_what_composes_everything() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files()
        if not path.is_relative_to(ROOT / "routing_admin")
        for module, _, line in imports(path)
        if within(module, {"routing_admin"})
    ]
    assert wrong == []


def test_other_applications_use_only_the_services_of_the_audit_log() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files()
        if path.relative_to(ROOT).parts[0] in ("routes", "plans")
        for module, _, line in imports(path)
        if within(module, {"audit"}) and module not in PUBLIC["audit"]
    ]
    assert wrong == []


def test_inside_routes_subjects_import_in_one_direction() -> None:
    wrong = []
    for path in (ROOT / "routes").rglob("*.py"):
        subject = path.relative_to(ROOT / "routes").parts[0]
        if subject in ORDER:
            later = {f"routes.{name}" for name in ORDER[ORDER.index(subject) + 1 :]}
            wrong += [
                f"{path.relative_to(ROOT)}:{line} {module}"
                for module, _, line in imports(path)
                if within(module, later)
            ]
    assert wrong == []


def test_the_root_package_of_the_engine_is_empty() -> None:
    assert (ROOT / "routes" / "__init__.py").read_text() == ""


FORBIDDEN = ["django", "numpy", "psycopg", "httpx", "rest_framework", "ahocorasick_rs", "re2"]


def test_the_engine_imports_and_decides_where_nothing_else_can_be_imported() -> None:
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from routes.engine import Engine, RequestContext, Route
route = Route.from_dict({{"id": "00000000-0000-7000-8000-000000000001", "name": "r", "priority": 1, "enabled": True,
    "when": {{"input_tokens_lt": 10}}, "then": {{"target_model": "small"}}}})
print(Engine([route]).decide(RequestContext("big", input_tokens=9)).target_model)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "small", run.stderr


def test_the_top_level_holds_what_was_agreed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    agreed = "manage.py pyproject.toml routing_admin routes plans audit templates static tests README.md".split()
    tooling = "Makefile uv.lock .python-version .env.example .gitignore .ci".split()
    assert {name.split("/")[0] for name in listed} <= {*agreed, *tooling}
