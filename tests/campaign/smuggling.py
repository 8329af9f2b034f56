"""10,000 malformed and smuggled HTTP messages over raw sockets against a gateway in a process of its own."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.routes.gateway.running import proxying
from tests.routes.gateway.smuggling import messages, send_all
from tests.routes.gateway.stubs import Upstream

MESSAGES = 10_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    with (
        tempfile.TemporaryDirectory() as folder,
        Upstream() as upstream,
        proxying(Path(folder), upstream.url) as gateway,
    ):
        try:
            counts = send_all(gateway, upstream, messages(seed, MESSAGES), say)
        except AssertionError as error:
            say(str(error))
            return False
    return counts["messages"] == MESSAGES and counts["answered"] > MESSAGES // 2
