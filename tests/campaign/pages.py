"""Every page in a browser: all its states, for each role that may see it, in both themes, at both widths, each by axe; and
with hostile texts in all of them."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    held = [
        ask(f"tests/browser/{test}.py", seed, say, told="looked at", counts={"EVERY_STATE": 1}, databases=("browser",))
        for test in ("test_every_page", "test_hostile_texts")
    ]
    return all(held)
