"""What lint says is kept, for many threads at once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from routes.rules import findings


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can, and begin with nothing kept."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    findings._known.clear()
    yield
    findings._known.clear()
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hurried")
def test_threads_that_keep_findings_are_not_in_each_other_s_way(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = count()
    # Every organisation has a document of its own, and what is asked of the database takes no time.
    monkeypatch.setattr(findings, "_digest_of", lambda org: None)
    monkeypatch.setattr(findings, "catalog_of", lambda org: None)
    monkeypatch.setattr(findings, "document_of", lambda org: SimpleNamespace(digest=str(next(digests))))
    made: Any = SimpleNamespace(from_document=lambda document: SimpleNamespace(routes=[], default=None))
    monkeypatch.setattr(findings, "engine", SimpleNamespace(Engine=made, lint=lambda *a, **k: []))

    def ask(org: Any) -> None:
        for _ in range(3000):
            assert findings.findings_of(org) == []

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert len(findings._known) == findings._MAX_KNOWN
