from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    """Of the signer, and empty."""
    found = tmp_path / "signer"
    settings.AUDIT_SIGNER_DIR = str(found)
    return found
