"""Whatever people and programs write is shown as it is, on every page: no element, no attribute and no script comes of it.

Pages are read by an HTML5 parser, as browsers read them. Here one round, with other strings on each database, and a share
of the strings in each form; `make campaign PART=hostile` asks for more (`ROUNDS`, `EACH`).
"""

import csv
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from plans.charts.marks import Canvas, drawn
from plans.matching import services as matching
from tests.api.promised import document
from tests.databases import ON_POSTGRES
from tests.hostile import Shape, Shown, rounds_of, strings
from tests.pages import NOBODY, Address, addresses, answer, client_of, is_page, is_part, refusals
from tests.world import VISITORS, World

pytestmark = pytest.mark.django_db
ROUNDS, EACH = int(os.environ.get("ROUNDS", "1")), int(os.environ.get("EACH", "80"))
SEED = int(os.environ.get("SEED", "0"))
#: What no page need show: what only replays and programs read of a request.
HIDDEN = {"messages", "Hello", "choices", "Yes", "user", "b", "matched", "stop", "team", "ads"}
#: With these a spreadsheet begins to calculate.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def looked_at(world: World) -> list[tuple[Address, Any]]:
    """What every address answers whoever may most."""
    matching._kept.clear()
    found, there = [], addresses(world)
    for who in (NOBODY, *VISITORS):
        client = client_of(world, who)
        mine = [one for one in there if one.page.visitors[-1] == who and not one.is_of_one_of_many]
        found += [(one, answer(client, one)) for one in [*mine, *refusals(client, mine)]]
    return found


def undone[T](look: Callable[[], T]) -> T:
    """What it finds, in a world that is gone afterwards."""
    with transaction.atomic():
        found = look()
        transaction.set_rollback(True)
    return found


def shown(answers: list[tuple[Address, Any]]) -> dict[str, Shown]:
    return {one.label: Shown(got.content.decode()) for one, got in answers if is_page(got) or is_part(got)}


def in_two_lines() -> Shape:
    """What a chart makes of a name that is too long for one line, as those of the usual world are not."""

    def draw(canvas: Canvas) -> float:
        canvas.name(0, 0, "two words", room=50)
        return 10

    return Shown(drawn("", "", draw).wide).shape


def test_hostile_texts_are_text_on_every_page() -> None:
    usual = undone(lambda: shown(looked_at(World())))
    known: Shape = sum((page.shape for page in usual.values()), in_two_lines())
    assert not [label for label, page in usual.items() if page.followed]
    for texts in rounds_of(ROUNDS, first=ROUNDS * ON_POSTGRES + SEED):
        answers = undone(lambda texts=texts: looked_at(World(texts)))
        assert [one.label for one, got in answers if got.status_code >= 500] == []
        pages = shown(answers)
        assert pages.keys() == usual.keys()
        for label, page in pages.items():
            assert page.shape.keys() <= known.keys(), (label, page.shape.keys() - known.keys())
            assert page.scripts == usual[label].scripts, label
            assert page.followed == [], label
        nowhere = [
            (place, text)
            for place, given in texts.given.items()
            for text in given
            if place not in HIDDEN and not any(page.shows(text) for page in pages.values())
        ]
        assert nowhere == []
        print(f"{sum(map(len, texts.given.values()))} strings on {len(pages)} pages")
        calculates = [(one.label, cell) for one, got in answers for cell in cells(got) if cell.startswith(FORMULA)]
        assert calculates == []


def cells(response: Any) -> list[str]:
    """Of a table that a spreadsheet opens; none of anything else."""
    kind = response.headers.get("Content-Type", "")
    assert "spreadsheet" not in kind, "look into it here"
    return [cell for row in csv.reader(response.content.decode().splitlines()) for cell in row] if "csv" in kind else []


def test_the_api_gives_no_table_that_a_spreadsheet_opens() -> None:
    """JSON, YAML and archives of them can say anything. Whoever adds a table has its cells looked at here."""
    kinds = {
        kind
        for path in document()["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        for kind in answer.get("content", {})
    }
    assert kinds == {"application/json", "application/yaml", "application/zip", "text/plain"}


# --- All strings, in every form ---------------------------------------------------------------------------------------

WINDOW = {"window_start": "2026-05-01T00:00", "window_end": "2026-05-02T00:00"}


def forms(world: World, text: str) -> list[tuple[str, str, dict[str, str]]]:
    """Whose, URL and fields: all that people type, with this text wherever there is one."""
    base = f"/admin/o/{world.org.slug}/"
    plan = {state: f"{base}plans/{plan.pk}/" for state, plan in world.plans.items()}
    routes = json.dumps(
        [{"name": text, "when": {"tag_equals": text}, "then": {"target_model": text}, "meta": {"link": text}}]
    )
    tried = {"model": text, "tag": text, "metadata": f"{text} = {text}", "headers": f"x-a = {text}"}
    path = {f"path-0-{name}": text for name in ("pattern", "target_url", "methods", "headers")}
    service = {"slug": text, "connect_seconds": text, "revision": text, "note": text, "row": "0", **path}
    header = {**path, "slug": "more", "row": "0", "path-0-pattern": "/a", "path-0-target_url": "https://a.example"}
    people = {"username": text, "first_name": text, "last_name": text, "email": text}
    organization = {"slug": text, "name": text, "environment": text, "approval": "plans"}
    of_admin = {
        base + "find/": {"q": text},
        base + "routes/new/": {
            "name": text,
            "kind": "send",
            "target_model": text,
            "description": text,
            "owner": text,
            "link": text,
        },
        base + "new-service/": service,
        base + "new-service/?header": {**header, "path-0-methods": "", "path-0-headers": f"x-a: {text}"},
        base + "services/rich/edit/": service,
        base + "services/rich/delete/": {"revision": text, "note": text},
        base + "routes/import/": {"text": routes, "mode": "merge", "format": text, "note": text},
        base + "try/": tried,
        base + "examples/new/": {**tried, "name": text, "expected_model": text, "expected_route": text},
        base + "plans/new/": {"name": text, "note": text},
        base + "plans/new/json/": {"name": text, "note": text, "mode": text, "routes": routes, **WINDOW},
        plan["projected"] + "edit/": {"name": text, "note": text},
        plan["projected"] + "reject/": {"reject-reason": text},
        plan["approved"] + "schedule/": {"schedule-apply_at": text},
        base + f"routes/{world.short.uid}/": {"name": text, "json": text, "revision": text},
        base + f"history/{world.named['history/', 'id']['']}/restore/": {"note": text, "seen": text},
        base + "access/members/": {"member-username": text, "member-role": text},
        base + "access/keys/": {"key-name": text, "key-kind": "traffic", "key-expires_at": text},
        base + "access/organization/": {"names-name": text, "names-environment": text},
        base + "access/freeze/": {"freeze-reason": text},
        base + "placements/new/": {"partition": text, "cluster": text, "resource": text, "endpoint": text},
        base + "placements/tenant-5/begin/": {
            "cluster": text,
            "resource": text,
            "endpoint": text,
            "drain_seconds": text,
        },
        base + f"audit/{world.entries['']}/redact/?log={world.logs[True]}": {"reason": text},
        base + "prices/import/": {"providers": text, "since": text},
        base + "logs/import/": {"provider": text, "model": text, "tag": text},
    }
    of_staff = {
        "/admin/gateway-keys/new/": {"key-name": text},
        "/admin/auth/user/add/": {**people, "usable_password": "false"},
        f"/admin/auth/user/{world.people['viewer'].pk}/change/": people,
        "/admin/organizations/new/": organization,
        base + "services/users/hosts/": {"lines": text, "seen": text},
        base + "private-upstreams/": {"lines": text, "seen": text},
    }
    found = [("admin", url, fields) for url, fields in of_admin.items()]
    return [*found, *(("superuser", url, fields) for url, fields in of_staff.items())]


def test_every_form_takes_or_refuses_every_string_and_shows_it_as_text() -> None:
    """Each form other strings; all of them are asked for somewhere."""
    world = World()
    clients = {who: client_of(world, who) for who in ("admin", "superuser")}
    count = len(forms(world, ""))
    usual: dict[str, Shape] = {}
    for place in range(count):
        for text in ("x", "", *strings()[place + SEED + ON_POSTGRES * EACH // 2 :: max(EACH, 1)]):
            who, url, fields = forms(world, text)[place]
            got, page = sent(clients[who], url, fields)
            assert got.status_code in (200, 302, 422), (url, text, got.status_code)
            if page is None:
                continue
            if text in ("x", ""):
                usual[url] = usual.get(url, Shape()) + page.shape
            assert page.followed == [], (url, text)
            new = {element for element in page.shape if element not in usual[url]}
            assert not {tag for tag, _ in new} & {"script", "iframe", "svg", "img", "style", "object"}, (url, text, new)
            assert not [names for _, names in new if any(name.startswith("on") or name == "style" for name in names)]


def sent(client: Client, url: str, fields: dict[str, str]) -> tuple[Any, Shown | None]:
    """The answer, and the page that it is, or that it leads to. Nothing stays of it."""
    with transaction.atomic():
        got = client.post(url, fields)
        there = client.get(got["Location"]) if got.status_code == 302 else got
        page = Shown(there.content.decode()) if is_page(there) else None
        transaction.set_rollback(True)
    return got, page
