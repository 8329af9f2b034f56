"""The form of a route, and that of the action for requests that no route takes. The engine judges the whole."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.http import QueryDict
from django.utils.safestring import SafeString

from routes import engine
from routes.engine.action import KEYS as ACTION_KEYS
from routes.engine.action import read_action
from routes.engine.conditions import KEYS as CONDITION_KEYS
from routes.engine.conditions import MAX_ATOMS, read_conditions
from routes.engine.reading import UNLIMITED, Reading
from routes.engine.times import read_time
from routes.rules.forms.conditions import ConditionsPart
from routes.rules.forms.fields import Choice
from routes.rules.forms.parts import AboutPart, ActionPart, IdentityPart, Part
from routes.rules.forms.words import Issue, Steps


class WholeForm:
    """Several parts that are sent, checked and shown as one."""

    def parts(self) -> list[Part]:
        """In the order of the page."""
        raise NotImplementedError

    def document(self) -> Any:
        """What the parts describe, in the document's keys; only what was filled in."""
        raise NotImplementedError

    def __init__(self) -> None:
        self._other: list[str] = []
        #: Whether `is_valid` was asked, so that `document` can be.
        self.was_judged = False

    @property
    def errors(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._other) or any(part.errors for part in self.parts())

    def non_field_errors(self) -> list[str]:
        """What is wrong and belongs to no field."""
        return [*self._other, *(str(error) for part in self.parts() for error in part.non_field_errors())]

    def mistakes(self) -> list[dict[str, str]]:
        """All that is wrong, in the order of the page: `field` (the id of its control; "" where it belongs to none),
        `label` and `message`."""
        found = [{"field": "", "label": "", "message": message} for message in self.non_field_errors()]
        for part in self.parts():
            for name in part.in_order():
                if name in part.errors:
                    field = part[name]
                    label = ": ".join(filter(None, (self.what(part), part.label_of(name))))
                    found += [
                        {"field": field.id_for_label or field.auto_id, "label": label, "message": str(message)}
                        for message in part.errors[name]
                    ]
        return found

    def what(self, part: Part) -> str:
        """Which of several alike this part is, in words; "" where there is one."""
        return ""

    def add_error(self, field: str | None, message: str) -> None:
        """A refusal that the form could not foresee, at a field of the first part that has it."""
        for part in self.parts():
            if field in part.fields:
                part.add_error(field, message)
                return
        self._other.append(message)

    def add_issues(self, issues: Iterable[Issue]) -> None:
        """Show the engine's issues at the fields they are about."""
        for issue in issues:
            part, path = self.place(_steps(issue["path"]))
            if part is None or not part.add_issue(path, issue):
                self._other.append(f"{issue['path']}: {issue['message']}" if issue["path"] else issue["message"])

    def place(self, steps: Steps) -> tuple[Part | None, Steps]:
        """The part that an issue is about, and the path within it."""
        raise NotImplementedError

    def judge(self) -> None:
        """Ask the engine about the whole."""
        raise NotImplementedError

    def is_valid(self) -> bool:
        """Everything at once: what single fields say, and what the engine says about the rest."""
        self.was_judged = True
        for part in self.parts():
            part.check()
        try:
            self.judge()
        except engine.errors.InvalidRoute as error:
            self.add_issues(error.issues)
        return not self.errors


class RouteForm(WholeForm):
    """The whole route. Groups of conditions are named by hidden fields: `any_of` with a number for each alternative,
    `not` for the exception; the fields of a group carry its name in front."""

    #: As many as a stored route may have, and more than may be saved: the engine refuses them, nothing is cut in silence.
    MAX_GROUPS = 2 * MAX_ATOMS

    def __init__(
        self, data: QueryDict | None = None, *, route: Mapping[str, Any] | None = None, revision: int | None = None
    ) -> None:
        """What was sent, or `route` in the document's keys, as far as it can be read; without both, a new route."""
        super().__init__()
        raw = {} if route is None else readable(route)
        when, then = raw.get("when", {}), raw.get("then", {})
        top: dict[str, Any] = {key: raw[key] for key in ("name", "priority", "enabled", "paused") if key in raw}
        top |= {key: read_time(raw[key]) for key in ("active_from", "active_until") if raw.get(key)}
        self.identity = IdentityPart(data, initial={**top, "revision": revision})
        self.when = ConditionsPart(data, initial=ConditionsPart.initial_of(when, is_group=False))
        self.then = ActionPart(data, initial=ActionPart.initial_of(then))
        self.about = AboutPart(data, initial=AboutPart.initial_of(raw.get("meta", {})))
        self.any_of: list[ConditionsPart]
        self.not_: ConditionsPart | None
        if data is None:
            self.any_of = [self._group(f"any_of-{n}", None, member) for n, member in enumerate(when.get("any_of", []))]
            self.not_ = self._group("not", None, when["not"]) if when.get("not") is not None else None
        else:
            numbers = dict.fromkeys(n for n in data.getlist("any_of") if re.fullmatch("[0-9]{1,4}", n))
            kept = [f"any_of-{n}" for n in numbers if f"any_of-{n}-remove" not in data][: self.MAX_GROUPS]
            self.any_of = [self._group(prefix, data) for prefix in kept]
            has_exception = "not" in data and "not-remove" not in data
            self.not_ = self._group("not", data) if has_exception else None

    @staticmethod
    def _group(prefix: str, data: QueryDict | None, when: Mapping[str, Any] | None = None) -> ConditionsPart:
        initial = None if when is None else ConditionsPart.initial_of(when)
        return ConditionsPart(data, initial=initial, prefix=prefix)

    def parts(self) -> list[Part]:
        return [self.identity, self.about, self.when, *self.any_of, *([self.not_] if self.not_ else []), self.then]

    def what(self, part: Part) -> str:
        if part in self.any_of:
            return f"Alternative {self.any_of.index(part) + 1}"
        return "Exception" if part is self.not_ else ""

    def document(self) -> dict[str, Any]:
        when = self.when.document()
        if self.any_of:
            when["any_of"] = [group.document() for group in self.any_of]
        if self.not_ is not None:
            when["not"] = self.not_.document()
        meta = self.about.document()
        then = self.then.document()
        return {**self.identity.document(), "when": when, "then": then, **({"meta": meta} if meta else {})}

    def judge(self) -> None:
        engine.NewRoute.from_dict(self.document())

    def place(self, steps: Steps) -> tuple[Part | None, Steps]:
        part: Part | None = None
        match steps:
            case ["when", "any_of", int(index), *rest] if index < len(self.any_of) and rest:
                part, steps = self.any_of[index], rest
            case ["when", "not", *rest] if rest:
                part, steps = self.not_, rest
            case ["when", "any_of" | "not", *_]:
                pass  # about the groups as such
            case ["when", *rest]:
                part, steps = self.when, rest
            case ["then", *rest]:
                part, steps = self.then, rest
            case ["meta", *rest]:
                part, steps = self.about, rest
            case _:
                part = self.identity
        return part, steps

    # What the page shows.

    def switches(self) -> list[Any]:
        return self.identity.shown(["enabled", "paused"])

    def naming(self) -> list[Any]:
        return self.identity.shown(["name", "priority"])

    def activity(self) -> list[Any]:
        return self.identity.shown(["active_from", "active_until"])

    def is_activity_open(self) -> bool:
        return self.identity.is_used(["active_from", "active_until"])

    def is_about_open(self) -> bool:
        return self.about.is_used([*AboutPart.KEYS, "extensions"])

    def revision(self) -> SafeString:
        return self.identity["revision"].as_widget()

    def blank_group(self) -> ConditionsPart:
        """The group that a script copies; it puts a number in place of the n."""
        return ConditionsPart(prefix="any_of-__n__")

    def blank_exception(self) -> ConditionsPart:
        return ConditionsPart(prefix="not")


class DefaultForm(WholeForm):
    """What happens to requests that no route takes: unchanged, or an action."""

    class Default(ActionPart):
        KINDS = (("", "Let them pass unchanged"), *ActionPart.KINDS)

        kind = Choice(label="What happens to them", choices=KINDS, required=False)

    def __init__(self, data: QueryDict | None = None, *, default: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        initial = {"kind": ""} if default is None else ActionPart.initial_of(_readable_action(default))
        self.then = self.Default(data, initial=initial)

    def parts(self) -> list[Part]:
        return [self.then]

    def document(self) -> dict[str, Any] | None:
        return self.then.document() if self.then.cleaned_data.get("kind") else None

    def judge(self) -> None:
        document = self.document()
        if document is not None:
            engine.Action.from_dict(document)

    def place(self, steps: Steps) -> tuple[Part | None, Steps]:
        return self.then, steps


# --- What can be read of a route that the engine refuses ------------------------------------------------------------


def readable(route: Mapping[str, Any]) -> dict[str, Any]:
    """The route in its canonical form; of one that the engine cannot read, what it can read of it."""
    try:
        return engine.NewRoute.from_dict({key: value for key, value in route.items() if key != "id"}).to_dict()
    except engine.errors.InvalidRoute as error:
        broken = {issue["path"].split(".")[0] for issue in error.issues}
    found = {key: value for key, value in route.items() if key not in {*broken, "when", "then"}}
    when, then = route.get("when"), route.get("then")
    reading = Reading(UNLIMITED)
    parts = {key: value for key, value in when.items() if _reads(key, value)} if isinstance(when, dict) else {}
    found["when"] = read_conditions(parts, "", reading).to_dict()
    found["then"] = _readable_action(then)
    return found


def _reads(key: str, value: Any) -> bool:
    reading = Reading(UNLIMITED)
    read_conditions({key: value}, "", reading)
    return key in CONDITION_KEYS and not reading.issues


def _readable_action(then: Any) -> dict[str, Any]:
    found = {}
    for key, value in then.items() if isinstance(then, dict) else ():
        reading = Reading(UNLIMITED)
        read_action({key: value}, "", reading)
        wrong = [issue for issue in reading.issues if issue["code"] not in ("conflict", "no_effect")]
        if key in ACTION_KEYS and not wrong:
            found[key] = value
    return found


def _steps(path: str) -> Steps:
    """`when.any_of[0].tag_equals` as its steps; a name in the middle may hold dots, which nobody looks at."""
    names_and_indexes = enumerate(re.split(r"\.|\[([0-9]+)\]\.?", path))
    return [int(step) if place % 2 else step for place, step in names_and_indexes if step]
