"""Where things lie, for tests and benchmarks."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def shared(path: str) -> Path:
    """A file or folder shared beside the project; the test, or the module that asks, skips where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"../shared/{path} is not here", allow_module_level=True)
    return found
