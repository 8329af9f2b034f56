"""What people are told of versions."""

import ast
import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from routes.versions.models import RouteSetVersion
from routes.versions.words import about_of, cause_in_words
from tests.paths import ROOT

_ACTION = re.compile(r"[a-z_]+\.[a-z_]+")


def texts(value: Any) -> Iterator[str]:
    """All texts that a value holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for member in value.values() if isinstance(value, dict) else value:
            yield from texts(member)


def actions() -> dict[str, set[str]]:
    """By each function that publishes the actions that stand in it, or in what it names of its module."""
    found = {}
    for path in sorted(path for room in ("routes", "plans") for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for function in ast.walk(tree):
            inside = list(ast.walk(function)) if isinstance(function, ast.FunctionDef) else []
            if any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "publish" for node in inside):
                known = vars(importlib.import_module(module))
                constants = [node.value for node in inside if isinstance(node, ast.Constant)]
                named = [known[node.id] for node in inside if isinstance(node, ast.Name) and node.id in known]
                all_of_them = {text for text in texts([constants, named]) if _ACTION.fullmatch(text)}
                found[f"{module}.{function.name}"] = all_of_them
    return found


def test_every_action_that_publishes_has_words() -> None:
    found = actions()
    assert {"routes.rules.bulk.change_routes", "routes.rules.services.create_route"} <= found.keys()
    assert all(found.values()), "how else does it name its action?"
    wordless = {action for several in found.values() for action in several if cause_in_words(action) == action}
    assert wordless == set()


def test_a_cause_without_words_is_told_as_it_is() -> None:
    assert cause_in_words("services.renamed") == "services.renamed"
    assert cause_in_words("services.renamed", "“x”") == "services.renamed"


@pytest.mark.parametrize(
    ("cause", "payload", "told"),
    [
        ("route.updated", {"name": "{0} %s", "was": {}, "is": {}}, "“{0} %s” was changed"),
        ("routes.paused", {"routes": [{"name": "a"}, {"name": "b"}]}, "Paused: “a”, “b”"),
        ("routes.deleted", {"routes": [{"name": str(n)} for n in range(1_203)]}, "Deleted: “0”, “1”, “2” and 1,200 more"),
        ("routes.imported", {"mode": "merge", "routes": [{"name": "a", "change": "added"}]}, "Imported: “a”"),
        ("routes.imported", {"routes": [{"name": None, "change": "changed"}]}, "Imported: what happens to the rest"),
        ("routes.reordered", {"was": [], "is": []}, "Routes were put into another order"),
        ("default.updated", {"was": None, "is": None}, "What happens to the rest was changed"),
        ("plan.applied", {"plan_id": "1", "name": "cheap"}, "The plan “cheap” was applied"),
        ("version.restored", {"restored_version": 4}, "Version 4 was restored"),
        ("route.updated", {}, "A route was changed"),
    ],
)  # fmt: skip
def test_what_a_change_was_about_is_named(cause: str, payload: dict[str, Any], told: str) -> None:
    assert cause_in_words(cause, about_of(payload)) == told


def test_what_is_named_fits_its_column() -> None:
    routes = [{"name": "x" * 5_000}] * 10_000
    assert len(about_of({"routes": routes})) <= RouteSetVersion._meta.get_field("about").max_length
