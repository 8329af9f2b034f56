"""A store that can be made to fail, hang or lie, lines on which it announces, and threads that ask all at once."""

import queue
import threading
from collections.abc import Callable, Iterable

from routes.engine import Document
from tests.routes.engine.build import ORG, document, raw_route

FAST, NEVER = 0.01, 3600.0


class Watched:
    """A store that can be made to fail, hang or lie, and counts what it is asked."""

    def __init__(self, *documents: Document) -> None:
        self.documents = {document.org_id: document for document in documents}
        self.error: Exception | None = None
        self.fetched: list[str] = []
        self.polled: list[list[str]] = []
        #: The threads that called, each as often as it did.
        self.callers: list[int] = []
        self.before_fetch: Callable[[], None] = lambda: None
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def publish(self, version: int, *, org_id: str = ORG) -> None:
        self.documents[org_id] = document(raw_route(version), org_id=org_id, version=version)

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        asked = list(org_ids)
        self.callers.append(threading.get_ident())
        self.polled.append(asked)
        self._answer()
        return {org_id: self.documents[org_id].version for org_id in asked if org_id in self.documents}

    def fetch(self, org_id: str) -> Document | None:
        self.callers.append(threading.get_ident())
        self.fetched.append(org_id)
        found = self.documents.get(org_id)
        self.before_fetch()
        self._answer()
        return found

    def close(self) -> None:
        self.is_closed = True

    def _answer(self) -> None:
        self.gate.wait(20)
        if self.error:
            raise self.error


class Line:
    """What `Announcing` announces to one listener."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self.is_closed = False

    def wait(self, seconds: float) -> list[str]:
        try:
            said = self.said.get(timeout=seconds)
        except queue.Empty:
            return []
        if isinstance(said, Exception):
            raise said
        return [said]

    def close(self) -> None:
        self.is_closed = True


class Announcing(Watched):
    """One that announces changes, on lines that can be broken."""

    def __init__(self, *documents: Document) -> None:
        super().__init__(*documents)
        self.lines: list[Line] = []
        self.line_error: Exception | None = None
        self.before_listening: Callable[[], None] = lambda: None

    def listen(self) -> Line:
        self.before_listening()
        if self.line_error:
            raise self.line_error
        line = Line()
        self.lines.append(line)
        return line

    def announce(self, what: str | Exception = ORG) -> None:
        for line in self.lines:
            line.said.put(what)


def in_threads(count: int, call: Callable[[], object]) -> list[object]:
    """What the calls answered or raised, all made at once."""
    answers: list[object] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
