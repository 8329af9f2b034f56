"""What people read in place of the actions of the log."""

import ast
import re

import pytest
from django.test import Client

from audit.models import AuditEntry
from audit.words import TYPES, WORDS
from tests.paths import ROOT
from tests.world import World

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


@pytest.mark.django_db
def test_what_entries_are_about_is_said_in_words_and_plans_by_their_names() -> None:
    world = World()
    types = set(AuditEntry.objects.values_list("target_type", flat=True)) - {"test"}
    assert types <= TYPES.keys(), "each in words"
    assert {"api_key", "plan", "route", "user"} <= types
    client = Client()
    client.force_login(world.people["viewer"])
    page = client.get(f"/admin/o/{world.org.slug}/audit/?action=plan.applied").content.decode()
    told = re.findall(r'<td data-label="About"><span>(.*?) <a', page)
    assert "plan “applied”" in told, "whose own entry does not say what it is called"
    assert {one.split(" “")[0] for one in told} == {"plan"}
