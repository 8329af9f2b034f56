"""What the editor says of a route before it is saved: the sentence, what is wrong, what lint would find, and its JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from routes import engine
from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.errors import NameTaken
from routes.live import live
from routes.orgs.models import Organization, new_id
from routes.rules.findings import Finding, catalog_of, findings_of, in_words
from routes.rules.forms import RouteForm
from routes.rules.forms.route import readable
from routes.rules.models import Route
from routes.rules.sentences import condition, sentence
from routes.rules.services import check_name

#: With more routes lint of all takes longer than somebody who types should wait: of 200 it takes a fifth of a second.
MOST_LINTED: Final = 200
#: What a form sends whose route is one of a plan's.
IN_PLAN: Final = "in_plan"


def preview(org: Organization, form: RouteForm, row: Route | None, *, is_planned: bool = False) -> dict[str, Any]:
    """What the editor's panel shows, as JSON: of the form as it was sent, for a new route or in the place of `row`. Of a
    route of a plan the name is not judged: which are taken there only the plan knows."""
    if is_planned:
        form.is_valid()
    else:
        is_complete(org, form, row)
    document = form.document()
    mistakes = form.mistakes()
    answer: dict[str, Any] = {
        "sentence": drafted(document),
        "mistakes": mistakes,
        "words": _readiness(len(mistakes)),
        "findings": [],
        "unlinted": "",
        "json": None,
    }
    if mistakes:
        return answer
    new = engine.NewRoute.from_dict(document)
    route = new.with_id(str(row.uid) if row else new_id())
    answer |= as_json((route if row else new).to_dict())
    routes = live_with(org, route, row)
    if len(routes) > MOST_LINTED:
        answer["unlinted"] = f"There are {len(routes):,} routes: what it takes from those below is shown in the list."
    answer["findings"] = [in_words(finding) for finding in _caused(org, routes, route.id)]
    return answer


def is_complete(org: Organization, form: RouteForm, row: Route | None) -> bool:
    """Whether what was sent can be saved, as a new route or in the place of `row`; all that is wrong is told at once."""
    form.is_valid()
    if name := form.identity.cleaned_data.get("name"):
        try:
            check_name(org, name, except_uid=row.uid if row else None)
        except NameTaken as error:
            form.add_error("name", str(error))
    return not form.errors


def drafted(document: dict[str, Any]) -> str:
    """The sentence of what can be read of a route that is not finished yet."""
    route = readable(document)
    return sentence(route) if route["then"] else f"{condition(route['when'])} → …"


def _readiness(mistakes: int) -> str:
    if not mistakes:
        return "It can be saved."
    things = f"{mistakes} thing{'s' if mistakes > 1 else ''}"
    return f"{things} to put right before it can be saved; above, what cannot be read is left out."


def as_json(route: dict[str, Any]) -> dict[str, str]:
    """The route as gateways get it, in `json`, and in `json_mark` what tells whether somebody changed that text."""
    text = json.dumps(route, indent=2, ensure_ascii=False)
    return {"json": text, "json_mark": mark_of(text)}


def mark_of(text: str) -> str:
    # Browsers send every line break as two characters.
    return sha256(text.replace("\r\n", "\n").strip().encode(errors="replace")).hexdigest()


def live_with(org: Organization, route: engine.Route, row: Route | None) -> list[engine.Route]:
    """The live routes in the order in which they are asked, with this one in its place: `row` keeps its position among
    those of its priority, a new one comes after them."""
    try:
        others = [each for each in live(org).engine.routes if each.id != route.id]
    except DocumentRejected:
        others = []  # nothing that this machine could ask is live
    positions = {str(uid): position for uid, position in Route.objects.of(org).values_list("uid", "position")}
    last = len(positions) + max(positions.values(), default=0)

    def rank(each: engine.Route) -> tuple[int, int]:
        return -each.priority, positions.get(each.id, last)

    return sorted([*others, route], key=rank)


def _caused(org: Organization, routes: list[engine.Route], uid: str) -> list[Finding]:
    """What lint finds about a route, and about others because of it; of many routes the first alone."""
    if len(routes) > MOST_LINTED:
        return _linted(org, routes, about=[uid])
    before = _so_before(org)
    return [one for one in _linted(org, routes) if uid in (*one["route_ids"], *one["by"]) or _said(one) not in before]


def found_anew(org: Organization, route: engine.Route, row: Route | None) -> list[Finding]:
    """What lint would find with this route, a new one or in the place of `row`, and does not find now; of many routes,
    about this one alone."""
    routes = live_with(org, route, row)
    if len(routes) > MOST_LINTED:
        was = [] if row is None else _linted(org, _renamed(org, route), about=[route.id])
        before, about = {_said(one) for one in was}, [route.id]
    else:
        before, about = _so_before(org, route if row else None), None
    return [one for one in _linted(org, routes, about) if _said(one) not in before]


def found_of_default(org: Organization, action: engine.Action | None) -> list[Finding]:
    """What lint would find of this default, and does not find of the one that is live."""
    before = _so_before(org)
    return [one for one in _linted(org, [], default=action) if _said(one) not in before]


def _linted(
    org: Organization, routes: Sequence[engine.Route], about: list[str] | None = None, **more: Any
) -> list[Finding]:
    found = engine.lint(routes, catalog=catalog_of(org), today=datetime.now(UTC).date(), about=about, **more)
    return [finding.to_dict() for finding in found]


def _so_before(org: Organization, renamed: engine.Route | None = None) -> set[tuple[str, str]]:
    """What lint says of what is live, had this route its new name already: a name in a sentence makes it no other one.
    Nothing where no gateway on this machine could load what is live, which publishing tells."""
    try:
        if renamed is not None and any(
            route.name != renamed.name for route in live(org).engine.routes if route.id == renamed.id
        ):
            return {_said(finding) for finding in _linted(org, _renamed(org, renamed))}
        return {_said(finding) for finding in findings_of(org)}
    except DocumentRejected:
        return set()


def _renamed(org: Organization, route: engine.Route) -> list[engine.Route]:
    return [replace(each, name=route.name) if each.id == route.id else each for each in live(org).engine.routes]


def _said(finding: Finding) -> tuple[str, str]:
    return finding["code"], finding["message"]


class NotARoute(ValueError):
    """A text is not the JSON of a route; `problems` says why, in full sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def read_route(text: str, *, limit: int) -> dict[str, Any]:
    """The route that a text of at most `limit` bytes describes, in the document's keys and without an id. Raises
    `NotARoute`."""
    try:
        raw = parse_json(text.encode(errors="replace"), MAX_DEPTH, limit)
    except DocumentRejected as error:
        raise NotARoute([str(error).replace("The document", "The text")]) from None
    if not isinstance(raw, dict):
        raise NotARoute(["A route is an object: it begins with { and ends with }."])
    try:
        return engine.NewRoute.from_dict({key: value for key, value in raw.items() if key != "id"}).to_dict()
    except engine.errors.InvalidRoute as error:
        issues = error.issues
        raise NotARoute(
            [f"{one['path']}: {one['message']}" if one["path"] else one["message"] for one in issues]
        ) from None
