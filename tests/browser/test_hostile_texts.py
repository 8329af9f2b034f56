"""No text that somebody or some program wrote runs on any page, or is followed, or styles anything."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Visitor
from tests.browser.test_every_page import EVERY_STATE, complaint, look, most, shown
from tests.hostile import Texts, strings
from tests.world import VISITORS, World

pytestmark = pytest.mark.django_db(transaction=True)
#: Whatever of these is called says so where the visitor's complaints are.
CANARY = """for (const name of ["canary", "alert", "prompt", "confirm", "print"]) {
    window[name] = (...given) => { console.error(`${name}(${given}) ran`); };
}"""
#: Focus, pointer and errors of pictures: whatever listens for them is called.
PROVOKE = """() => {
    for (const element of document.querySelectorAll("body *")) {
        for (const [event, kind] of [["focus", FocusEvent], ["mouseover", MouseEvent], ["error", Event], ["load", Event]]) {
            element.dispatchEvent(new kind(event, {bubbles: false}));
        }
    }
    document.querySelectorAll("main details").forEach(each => { each.open = true; });
}"""


def test_hostile_texts_never_run(visitor: Callable[[Any], Visitor]) -> None:
    acting = strings()[:200]
    world = World(Texts(acting))
    wrong, looks, there = [], 0, shown(world)
    for who in VISITORS[::-1]:
        if not (mine := [one for one in there if who == most(one) and (EVERY_STATE or not one.state)]):
            continue
        someone = visitor(world.people[who])
        someone.page.add_init_script(CANARY)
        # What was provoked may count as written: that the page asks before it is left is no fault.
        someone.page.on("dialog", lambda one: one.accept() if one.type == "beforeunload" else one.dismiss())
        someone.visit("/admin/")
        for address in mine:
            look(someone, address)
            here = someone.page.url
            someone.page.evaluate(PROVOKE)
            found = [complaint(someone.check), "" if someone.page.url == here else f"went to {someone.page.url}"]
            someone.complaints.clear()
            looks += 1
            wrong += [f"{address.label} for {who}: {text}" for text in found if text]
    print(f"hostile texts looked at on {looks} pages, {len(wrong)} complaints")
    assert wrong == [], "\n" + "\n".join(wrong)
