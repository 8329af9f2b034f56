"""The page about rules says something of every condition that the engine knows, and its examples are true."""

import re

import pytest
from django.http import QueryDict
from django.test import Client

from routes.engine.conditions import KEYS
from routes.rules.forms import RouteForm
from routes.rules.forms.rows import GROUPS
from tests.build import a_person
from tests.routes.rules.test_route_form import NEW

KINDS = [kind for _, kinds in GROUPS for kind in kinds]


def test_every_condition_of_the_engine_has_a_row() -> None:
    assert sorted(key for kind in KINDS for key in kind.keys) == sorted(set(KEYS) - {"any_of", "not"})
    assert all(kind.title and kind.help.endswith(".") and kind.example for kind in KINDS)


@pytest.mark.django_db
def test_every_condition_is_on_the_page_and_everybody_may_read_it() -> None:
    client = Client()
    assert client.get("/admin/help/rules/").status_code == 302, "who is not signed in signs in first"
    client.force_login(a_person("nobody"))
    page = client.get("/admin/help/rules/").content.decode()
    for key in KEYS:
        assert re.search(
            rf'<dt id="[^"]+">[^<]+<span class="muted mono">(?:[a-z_0-9]+, )*{key}(?:, [a-z_0-9]+)*</span>', page
        ), key
    for name in [*(kind.name for kind in KINDS), "any_of", "not"]:
        assert f'<dt id="{name}">' in page
    for word in ("1,000 routes", "64 conditions", "4 levels", "Paused.", "Unknown facts.", "Share of the requests."):
        assert word in page


@pytest.mark.parametrize("kind", [kind for kind in KINDS if len(kind.fields) == 1], ids=lambda kind: kind.name)
def test_an_example_can_be_written_into_its_row(kind: object) -> None:
    assert hasattr(kind, "example")
    text = kind.example
    data = QueryDict(mutable=True)
    data.update(NEW)
    data[kind.fields[0]] = {"Yes": "true", "No,": "false"}.get(text[:3], text) if "has_" in kind.name else text
    if kind.name == "is_stream":
        data["is_stream"] = "false"
    form = RouteForm(data)
    assert form.is_valid(), form.mistakes()
    assert set(form.document()["when"]) == set(kind.keys)
