"""The folder that is shared beside the project: cases and vectors, where it is present."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[4] / "shared"


def shared_path(name: str) -> Path:
    """The shared file or folder; skips the module where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is not here", allow_module_level=True)
    return path


def routing_cases(kind: str) -> list[Any]:
    """The cases of this kind as pytest parameters, named as they name themselves."""
    cases = json.loads(shared_path("cases/routing.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases if case["kind"] == kind]
