"""Every page, for everybody who may see it, in its states: no error, no policy report, nothing too wide, accessible.

The pages come from the resolver (`tests.pages`). Here each of them for each role, at one width, where it says something
else than to the more powerful, and for the most powerful also by axe, in light, dark and on a phone, and in its other
states. `make campaign PART=pages` looks at all states for all roles who see something else, in both themes, at both widths,
each time by axe (`EVERY_STATE` in the environment).
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.test import Client

from plans.matching import services as matching
from tests.browser.conftest import Visitor
from tests.browser.test_pages import COLORS, LEVELS, accessible, shot
from tests.pages import NOBODY, Address, addresses, answer, client_of, is_page, refusals
from tests.world import VISITORS, World

pytestmark = pytest.mark.django_db(transaction=True)
EVERY_STATE = os.environ.get("EVERY_STATE") == "1"
#: Pages that a library draws: what axe says of them is for its authors.
OF_OTHERS = {"api_explorer"}
#: Sends a form of the page with these fields, to another address.
SEND = """([url, fields]) => {
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: url});
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    for (const [name, value] of Object.entries({...fields, csrfmiddlewaretoken: token})) {
        form.append(Object.assign(document.createElement("textarea"), {name, value}));
    }
    document.body.append(form);
    form.submit();
}"""


#: Theme, width, what axe looks for, and where: around `main` all pages are alike.
type Way = tuple[str, int, Any, str]
PHONE: list[Way] = [("light", 390, None, "")]
MOST: list[Way] = [("light", 1280, LEVELS, "html"), ("dark", 1280, COLORS, "main"), *PHONE]
ALL: list[Way] = [
    ("light", 1280, LEVELS, "html"),
    ("dark", 1280, COLORS, "html"),
    ("light", 390, LEVELS, "html"),
    ("dark", 390, COLORS, "html"),
]


@pytest.fixture
def world() -> World:
    matching._kept.clear()
    return World()


@pytest.fixture
def somebody(
    visitor: Callable[[Any], Visitor], browser: Any, live_server: Any
) -> Iterator[Callable[[World, str], Visitor]]:
    """The visitor of that role, or one who is not signed in."""
    strangers = []

    def comes(world: World, who: str) -> Visitor:
        if who != NOBODY:
            return visitor(world.people[who])
        strangers.append(browser.new_context(viewport={"width": 1280, "height": 900}))
        return Visitor(strangers[-1].new_page(), live_server.url)

    yield comes
    for context in strangers:
        context.close()


def shown(world: World) -> list[Address]:
    """What there is to look at, what is sent last: that may change something."""
    found: list[Address] = []
    for who in (NOBODY, *VISITORS):
        client = client_of(world, who)
        mine = [address for address in addresses(world) if who == most(address) and is_in_share(who, address)]
        found += [address for address in mine if is_page(answer(client, address))] + refusals(client, mine)
    return sorted(found, key=lambda address: address.sent is not None)


def most(address: Address) -> str:
    """Who of those that may see it may do most there."""
    return address.page.visitors[-1]


def look(someone: Visitor, address: Address) -> None:
    if address.sent is None:
        someone.visit(address.url)
    else:
        if someone.page.locator("[name=csrfmiddlewaretoken]").count() == 0:
            someone.visit("/admin/")
        with someone.page.expect_navigation():
            someone.page.evaluate(SEND, [address.url, address.sent])
    assert someone.page.title()


def complaint(check: Callable[[], None]) -> str:
    """What the check found, in a line; "" where nothing is wrong."""
    try:
        check()
    except AssertionError as error:
        return " ".join(str(error).split())[:600]
    return ""


def seen(someone: Visitor, name: str, ways: list[Way]) -> Iterator[str]:
    """What is wrong with the page that is open, looked at in these ways: theme, width, and what axe looks for."""
    page = someone.page
    for scheme, width, rules, where in ways:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        found = [complaint(someone.check), complaint(partial(accessible, page, rules, where)) if rules else ""]
        shot(page, f"{name}-{scheme}-{width}")
        someone.complaints.clear()
        yield from (f"{name}, {scheme}, {width}: {text}" for text in found if text)


def ways_for(who: str, address: Address) -> list[Way]:
    ways = ALL if EVERY_STATE else MOST if not address.state and who == most(address) else PHONE
    if address.page.name in OF_OTHERS:
        return [(scheme, width, None, "") for scheme, width, *_ in ways]
    return ways


def is_in_share(who: str, address: Address) -> bool:
    """Each page for everybody, and its states for whoever may most: but for other plans than it is about, and for forms in
    organisations that have nothing or are frozen."""
    is_plain = address.is_of_one_of_many or (address.state in ("empty", "frozen") and address.page.needs != "viewer")
    return EVERY_STATE or not address.state or (who == most(address) and not is_plain)


#: What differs each time that a page is asked for, and by whom.
_EACH_TIME = re.compile(
    r'nonce="[^"]*"|value="\w{64}"|\b(?:viewer|editor|approver|admin)-x\b|otpauth\S*|<svg.*?</svg>', re.DOTALL
)


def said_by(client: Client, address: Address) -> tuple[Address, str]:
    """What tells whether two people see the same."""
    return address, _EACH_TIME.sub("", answer(client, address).content.decode())


def test_every_page_is_clean_for_everybody(world: World, somebody: Callable[[World, str], Visitor]) -> None:
    wrong, looks, there, said = [], 0, shown(world), set()
    for who in (*VISITORS[::-1], NOBODY):
        someone, client = somebody(world, who), client_of(world, who)
        someone.visit("/admin/")
        for address in there:
            if who in address.page.visitors and is_in_share(who, address):
                if address.sent is None:
                    if (says := said_by(client, address)) in said:
                        continue
                    said.add(says)
                look(someone, address)
                ways = ways_for(who, address)
                wrong += seen(someone, f"{address.label} for {who}", ways)
                looks += len(ways)
    print(
        f"{len({address.page for address in there})} pages in {len(there)} states, looked at {looks:,} times,"
        f" {len(wrong)} complaints"
    )
    assert wrong == [], "\n" + "\n".join(wrong)
