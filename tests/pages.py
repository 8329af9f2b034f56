"""Every page of our own, from the resolver, and the addresses at which it is looked at.

All tests of all pages ask here, so that a page that somebody adds is walked, translated to roles and measured by that
alone. What a path names (`<uuid:id>`) is looked up in `World.named` by the beginning of the path; a page under a path
that nobody told about raises `KeyError`.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from routes.orgs.access import ANYBODY, INSTALLATION
from routes.orgs.models import Organization, Role
from tests.world import VISITORS, World

#: Of a page: for whoever is not signed in.
NOBODY: Final = "nobody"
#: The pages of Django's that state no role, by the beginnings of their names.
_STOCK: Final = {
    "login": NOBODY,
    "provider_": NOBODY,
    "auth_user_": INSTALLATION,
    "app_list": INSTALLATION,
    "autocomplete": INSTALLATION,
    "": ANYBODY,
}
_ARGUMENT: Final = re.compile(r"<(?:\w+:)?(\w+)>")
#: What is looked at beside the bare address: by page, by state, the query.
QUERIES: Final[dict[str, dict[str, dict[str, str]]]] = {
    "find": {"found": {"q": "s"}, "nothing": {"q": "zzzz"}},
    "find_org": {"found": {"q": "a"}, "nothing": {"q": "zzzz"}},
    "history_compare": {"all": {"from": "0"}, "odd": {"from": "x"}},
    "logs": {"nothing": {"model": "zzzz"}},
    "service": {
        "taken": {"path": "https://api.acme.example/users/4%202?a=b", "method": "GET"},
        "refused": {"path": "/users/../x", "method": "POST"},
        "untaken": {"path": "/users", "method": "DELETE", "header": "x-beta: 1"},
    },
    "prices": {"nothing": {"q": "zzzz"}},
    "plans": {"nothing": {"q": "zzzz"}},
    "audit": {"older": {"before": "1.30"}, "nothing": {"action": "zzzz"}, "odd": {"since": "x"}},
    "installation_audit": {"nothing": {"action": "zzzz"}},
}
#: The plan in whose state a page is about something, where that is not a projected one.
_PLAN_OF: Final = {
    "plan_edit": "draft",
    "plan_route_new": "draft",
    "plan_route": "draft",
    "plan_project": "draft",
    "plan_progress": "running",
    "plan_schedule": "approved",
    "plan_apply": "approved",
    "plan_cancel": "running",
    "plan_rebase": "stale",
    "plan_copy": "reverted",
    "plan_revert": "applied",
}


class Page(NamedTuple):
    """A URL with a name. `needs`: a role, or who else may see it."""

    name: str
    path: str
    needs: str

    @property
    def is_of_org(self) -> bool:
        return not self.place.startswith("/")

    @property
    def place(self) -> str:
        """The path below its organisation; of other pages the whole, from its slash on."""
        _, is_within, rest = self.path.partition("o/<slug:org>/")
        return rest if is_within else "/" + self.path

    @property
    def arguments(self) -> list[str]:
        """What the path names, beside the organisation."""
        return _ARGUMENT.findall(self.place.replace("(?P", ""))

    @property
    def visitors(self) -> list[str]:
        """Who is to look at it: every role that may see it, and the superuser where it is of no organisation."""
        if self.needs == NOBODY:
            return [NOBODY]
        if self.needs == ANYBODY:
            return list(VISITORS)
        if self.needs == INSTALLATION:
            return ["superuser"]
        return [role for role in Role.values if Role(role).includes(self.needs)]


class Address(NamedTuple):
    """Where a page is looked at. `state`: "" is what it is about, in an organisation that has everything. What is `sent`
    makes it a POST."""

    page: Page
    state: str
    url: str
    sent: dict[str, str] | None = None

    @property
    def label(self) -> str:
        return f"{self.page.name}-{self.state}" if self.state else self.page.name

    @property
    def is_of_one_of_many(self) -> bool:
        """Whether it is a page beside a plan's own, in another state of plans than it is about: there are hundreds."""
        return (
            bool(self.state)
            and self.sent is None
            and self.page.place.startswith("plans/<uuid:id>/")
            and (self.page.name != "plan")
        )


def own_pages() -> list[Page]:
    """Every URL that has a name, once, but those of the API: of these another table tells."""
    found: dict[str, Page] = {}
    for name, path, view in _named(get_resolver().url_patterns, ""):
        if name not in found and name not in ("view_on_site",):
            needs = getattr(view, "required_role", None)
            stock = next(role for beginning, role in _STOCK.items() if name.startswith(beginning))
            found[name] = Page(name, path, needs or stock)
    return list(found.values())


def _named(patterns: Any, before: str) -> Iterator[tuple[str, str, Any]]:
    for pattern in patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if path != "api/v1/":
                yield from _named(pattern.url_patterns, path)
        elif pattern.name is not None:
            yield pattern.name, path, pattern.callback


def addresses(world: World) -> list[Address]:
    """Each page in its states, what it is about first. Where nothing is shown (the routes of a plan that is no draft),
    the answer is no page."""
    return [address for page in own_pages() for address in addresses_of(page, world)]


def addresses_of(page: Page, world: World) -> list[Address]:
    values = [_values(page, argument, world) for argument in page.arguments]
    found = []
    for states in product(*values):
        named = {argument: known[state] for argument, known, state in zip(page.arguments, values, states, strict=True)}
        query = f"?{urlencode({'log': log})}" if (log := _log(page, world)) else ""
        found.append(Address(page, "-".join(filter(None, states)), _url(page, world.org, named) + query))
    if page.is_of_org and not page.arguments:
        found += [Address(page, org.slug, _url(page, org, {})) for org in (world.empty, world.frozen)]
    for state, query in QUERIES.get(page.name, {}).items():
        found.append(Address(page, state, f"{found[0].url}?{urlencode(query)}"))
    for state, sent in world.sent.get(page.name, {}).items():
        found.append(Address(page, state, found[0].url, sent))
    return [found[0]._replace(state=""), *found[1:]]


def _values(page: Page, argument: str, world: World) -> dict[str, Any]:
    """What the argument may be, by state; what the page is about first."""
    fitting = [key for key in world.named if page.place.startswith(key[0]) and key[1] == argument]
    known = world.named[max(fitting, key=lambda key: len(key[0]), default=(page.place, argument))]
    if not page.place.startswith("plans/") or argument != "id":
        return known
    first = _PLAN_OF.get(page.name, "projected")
    return {first: known[first], **known}


def _log(page: Page, world: World) -> str:
    """The log that an entry is of: its number alone does not tell."""
    return world.logs[page.is_of_org] if "seq" in page.arguments else ""


def _url(page: Page, org: Organization, named: dict[str, Any]) -> str:
    slug = {"org": org.slug} if page.is_of_org else {}
    return reverse(f"{'admin:' if page.path.startswith('admin/') else ''}{page.name}", kwargs={**slug, **named})


# --- What an address answers ------------------------------------------------------------------------------------------


def client_of(world: World, visitor: str) -> Client:
    client = Client()
    if visitor != NOBODY:
        client.force_login(world.people[visitor])
    return client


def answer(client: Client, address: Address) -> Any:
    """What the address answers. Nothing stays of having asked."""
    if address.sent is None:
        return client.get(address.url)
    cookies = client.cookies.copy()  # one of the acts is to sign out
    with transaction.atomic():
        found = client.post(address.url, address.sent)
        transaction.set_rollback(True)
    client.cookies = cookies
    return found


def is_page(response: Any) -> bool:
    """Whether there is something for people to look at: no redirect, no data, no part of a page, nothing that can only be
    sent (405), and nothing that is not there."""
    return _is_html(response) and response.status_code in (200, 422) and not is_part(response)


def is_part(response: Any) -> bool:
    """Whether it is HTML that a page puts somewhere into itself."""
    return _is_html(response) and b"<html" not in response.content[:500]


def _is_html(response: Any) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def refusals(client: Client, found: list[Address]) -> list[Address]:
    """Of these addresses, those that refuse an empty form by a page."""
    asked = [address._replace(state="refused", sent={}) for address in found if not address.state]
    return [address for address in asked if (got := answer(client, address)).status_code == 422 and is_page(got)]
