"""What people read in place of the actions of the log."""

import ast
import re

from audit.words import WORDS
from tests.paths import ROOT

_ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
#: What is written like an action and is none: files, settings, fields of documents, things that are locked.
_OTHERWISE = re.compile(
    r".*\.(html|jsonl?|txt|py|turn)|(expected|metadata|routing_admin|signin|logging)\..*|django\..*|audit\.(apps|log)"
)


def written() -> set[str]:
    """Everything written like an action in the rooms that record acts."""
    apart = [ROOT / room for room in ("routes/engine", "routes/gateway", "plans/replay")]
    apart += [ROOT / "audit/words.py", ROOT / "routing_admin/settings.py"]
    return {
        node.value
        for room in ("audit", "routes", "plans", "routing_admin")
        for path in (ROOT / room).rglob("*.py")
        if "migrations" not in path.parts and not any(path.is_relative_to(place) for place in apart)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ACTION.fullmatch(node.value)
    }


def test_every_action_has_words_and_no_words_are_left_over() -> None:
    assert {action for action in written() if not _OTHERWISE.fullmatch(action)} == WORDS.keys()


def test_no_two_actions_read_the_same() -> None:
    assert len(set(WORDS.values())) == len(WORDS)
