"""The list of routes as people look at it: what they search for, a page at a time, with what is odd about each route."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from django.http import HttpRequest, QueryDict
from django.utils import timezone

from routes import engine
from routes.orgs.models import Organization
from routes.pages import whole_number
from routes.rules.findings import Finding, findings_at_hand, findings_of, in_words, loaded
from routes.rules.models import Route
from routes.rules.sentences import condition, effect, standing
from routes.texts import nearest

#: So many routes on a page: more take longer to draw than anybody waits for.
PAGE: Final = 100
#: Of so many routes the findings come with the page, of more once they are known.
_JUDGED_AT_ONCE: Final = 100

#: In the place of a route's id.
THE_DEFAULT: Final = ""
#: What one may ask for → its words.
STATES: Final = {"": "all", "active": "active", "paused": "paused", "inactive": "not active", "odd": "needs attention"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to see of the list, as the address of the page says it."""

    words: str = ""
    state: str = ""
    page: int = 1

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Of a page that is looked at, or of one whose form was sent, which says it in the field `shown`."""
        given = QueryDict(request.POST.get("shown", "")) if request.method == "POST" else request.GET
        state = given.get("state", "")
        return cls(
            given.get("q", "").replace("\0", "").strip()[:200],
            state if state in STATES else "",
            max(1, whole_number(given.get("page", "")) or 1),
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.words or self.state)

    def address(self, **other: Any) -> str:
        """As a query without "?", empty for the plain list; `other` replaces parts of it."""
        query = QueryDict(mutable=True)
        parts: dict[str, Any] = {"q": self.words, "state": self.state, "page": self.page, **other}
        for name, part in parts.items():
            if part and (name, part) != ("page", 1):
                query[name] = part
        return query.urlencode()


@dataclass(frozen=True, slots=True)
class Item:
    """A route in the list."""

    row: Route
    #: Its place in the order in which all routes are asked, from 1.
    number: int
    when: str
    then: str
    meta: dict[str, Any]
    #: Why no engine loads it; empty where one does.
    problem: str
    state: str
    #: When it is active, where that is limited.
    active: list[str]
    findings: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list. `order`: the ids of all routes; `priorities`: theirs as they are handed out along an order;
    `counts`: of those that the words fit, how many by state, None for what nobody knows yet."""

    items: list[Item]
    order: list[str]
    priorities: list[int]
    found: int
    page: int
    pages: int
    counts: dict[str, int | None]
    #: What is odd about what happens to requests that no route takes.
    of_default: list[dict[str, str]]
    #: Where no route has the words, the names that are written almost so.
    nearest: list[str]

    @property
    def first(self) -> int:
        """The first one shown, of those that were found."""
        return (self.page - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.items) - 1


def listing(org: Organization, asked: Asked, order: list[str] | None = None) -> Listing:
    """What `asked` says of the routes; `order` is one that is not saved."""
    rows = list(Route.objects.of(org).in_order())
    if order is not None:
        places = {uid: place for place, uid in enumerate(order)}
        rows.sort(key=lambda row: places.get(str(row.uid), len(places)))
    numbers = {row.pk: number for number, row in enumerate(rows, 1)}
    fitting = [row for row in rows if not asked.words or _fits(row, asked.words.casefold())]
    findings = _findings(org, is_needed=asked.state == "odd" or len(rows) <= _JUDGED_AT_ONCE)
    now = timezone.now()
    groups: dict[str, list[Route] | None] = {
        "": fitting,
        "active": [row for row in fitting if _state(row, now) == "active"],
        "paused": [row for row in fitting if row.paused and row.enabled],
        "inactive": [row for row in fitting if _state(row, now) not in ("active", "paused")],
        "odd": None if findings is None else [row for row in fitting if str(row.uid) in findings],
    }
    found = groups[asked.state] or []
    pages = max(1, -(-len(found) // PAGE))
    page = min(asked.page, pages)
    return Listing(
        [_item(row, numbers[row.pk], now, findings or {}) for row in found[(page - 1) * PAGE : page * PAGE]],
        [str(row.uid) for row in rows],
        sorted((row.priority for row in rows), reverse=True),
        len(found),
        page,
        pages,
        {state: None if group is None else len(group) for state, group in groups.items()},
        [in_words(finding) for finding in (findings or {}).get(THE_DEFAULT, [])],
        [] if fitting else nearest(asked.words, (row.name for row in rows)),
    )


def odd_routes(org: Organization) -> int:
    """How many routes need attention."""
    return len((_findings(org, is_needed=True) or {}).keys() - {THE_DEFAULT})


def _item(row: Route, number: int, now: datetime, findings: dict[str, list[Finding]]) -> Item:
    document = row.as_document()
    route, problem = loaded(document)
    return Item(
        row,
        number,
        condition(route.when if route else document["when"]),
        effect(route.then if route else document["then"]),
        document.get("meta", {}),
        problem,
        _state(row, now),
        standing({**document, "enabled": True, "paused": False}),
        [in_words(finding) for finding in findings.get(str(row.uid), [])],
    )


def _findings(org: Organization, *, is_needed: bool) -> dict[str, list[Finding]] | None:
    """By route, and for `THE_DEFAULT`, what is odd about it, where it is at hand or needed: at the one that comes last of
    those that a finding names, which is the one to change. What may be meant so, or is uncertain, is told in the editor."""
    try:
        known = findings_of(org) if is_needed else findings_at_hand(org)
    except engine.errors.DocumentRejected:
        # A route that this machine cannot serve says so itself, and must be there to be mended.
        rows = Route.objects.of(org)
        return {str(row.uid): [] for row in rows if loaded(row.as_document())[1]}
    if known is None:
        return None
    found: dict[str, list[Finding]] = {}
    for finding in known:
        if finding["severity"] != "info":
            found.setdefault(finding["route_ids"][-1] if finding["route_ids"] else THE_DEFAULT, []).append(finding)
    return found


def _state(row: Route, now: datetime) -> str:
    """Whether the route acts now: `active`, or why not."""
    if not row.enabled:
        return "disabled"
    if row.active_from is not None and now < row.active_from:
        return "not active yet"
    if row.active_until is not None and now >= row.active_until:
        return "no longer active"
    return "paused" if row.paused else "active"


def _fits(row: Route, words: str) -> bool:
    """Whether each of the words is somewhere in what the list says of the route, or in what it is labelled with."""
    name = row.name.casefold()
    left = [word for word in words.split() if word not in name]
    if not left:
        return True
    document = row.as_document()
    text = " ".join([condition(document["when"]), effect(document["then"]), *_texts(row.meta)]).casefold()
    # Of an id more than a few digits, which any would have.
    return all(word in text or (len(word) > 7 and word in str(row.uid)) for word in left)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield str(key)
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
