"""The shared cases of the engine, where that folder is present."""

import json
from typing import Any

import pytest

from tests.paths import shared


def routing_cases(kind: str) -> list[Any]:
    """The cases of this kind as pytest parameters, named as they name themselves."""
    cases = json.loads(shared("cases/routing.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases if case["kind"] == kind]
