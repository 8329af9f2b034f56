"""The parts of the forms: what a route is called, what it does, what people know of it. When it matches: `conditions`."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.http import QueryDict

from routes.rules.forms import lines
from routes.rules.forms.fields import (
    Choice,
    Json,
    Models,
    Notation,
    Paragraph,
    Text,
    Usd,
    UtcTime,
    Whole,
    needed,
)
from routes.rules.forms.words import Issue, Steps, in_words
from routes.times import rfc3339


def is_given(value: Any) -> bool:
    """Whether a field says something: 0 does."""
    return value is not False and value not in (None, "", [], {})


def _given(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if is_given(values.get(name))}


class Part(forms.Form):
    """A part of a bigger form, which speaks the document's keys."""

    def __init__(
        self, data: QueryDict | None = None, *, initial: dict[str, Any] | None = None, prefix: str = ""
    ) -> None:
        super().__init__(data, initial=initial, prefix=prefix or None)

        #: The fields that have a mistake of their own, before the engine was asked.
        self.own_mistakes: frozenset[str] = frozenset()
        #: The values of those that the engine found something wrong with.
        self._judged: dict[str, Any] = {}

    def check(self) -> None:
        """Ask the single fields."""
        self.is_valid()
        self.own_mistakes = frozenset(self.errors)

    def add_issue(self, path: Steps, issue: Issue) -> bool:
        """Show an issue at the field that it is about, unless that has a mistake of its own; False where no field is
        about it. `path` leads from this part's object to the value."""
        name, within = self.field_of(path)
        if name not in self.fields:
            return False
        if name not in self.own_mistakes:
            # A field forgets its value with the first of its mistakes.
            self._judged.setdefault(name, self.cleaned_data.get(name))
            self.add_error(name, in_words(name, issue, within, self._judged[name]))
        return True

    def field_of(self, path: Steps) -> tuple[str, Steps]:
        """The field for the value at this path, and the rest of the path within it."""
        return (str(path[0]), path[1:]) if path else ("", [])

    def in_order(self) -> list[str]:
        """The names of the fields as they follow each other on the page."""
        return list(self.fields)

    def label_of(self, name: str) -> str:
        """What a field is called where it does not stand beside what it belongs to."""
        return str(self[name].label)

    def shown(self, names: Iterable[str]) -> list[Any]:
        return [self[name] for name in names]

    def is_used(self, names: Iterable[str]) -> bool:
        """Whether any of these fields holds something, or has a mistake."""
        return any(is_given(self[name].value()) or self[name].errors for name in names)


class IdentityPart(Part):
    """Which route it is, and whether it acts."""

    name = Text(required=True, help_text="Unique in the organisation; people see it in logs and answers.")
    priority = Whole(
        required=True, max_value=2_147_483_647, initial=100, help_text="Higher is asked first. The first match wins."
    )
    enabled = forms.BooleanField(
        required=False, initial=True, help_text="Off: it is not asked, and the routes below it get its requests."
    )
    paused = forms.BooleanField(
        required=False, help_text="It still takes its requests, but they pass unchanged, save for “no cache”."
    )
    active_from = UtcTime(label="Active from (UTC)", help_text="Empty: since ever.")
    active_until = UtcTime(label="Active until (UTC)", help_text="This moment is not included. Empty: for ever.")
    #: The revision that the form was opened with; empty for a new route.
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def document(self) -> dict[str, Any]:
        data = self.cleaned_data
        times = {key: rfc3339(data[key]) for key in ("active_from", "active_until") if data.get(key)}
        given = {key: data[key] for key in ("name", "priority", "enabled") if data.get(key) not in (None, "")}
        return {**given, **_given(data, ["paused"]), **times}


class AboutPart(Part):
    """What people want to know of a route."""

    description = Paragraph(help_text="What it is for. Line breaks become spaces.")
    owner = Text(help_text="A person or a team.")
    link = Text(help_text="A ticket or a page; it starts with https://.")
    labels = Notation(lines.read_labels, lines.write_labels, help_text="One a line: stage = trial")
    extensions = Json(label="Further keys (x-…)", help_text="As JSON; programs use them.")

    KEYS = ("description", "owner", "link", "labels")

    @classmethod
    def initial_of(cls, meta: Mapping[str, Any]) -> dict[str, Any]:
        extensions = {key: value for key, value in meta.items() if key not in cls.KEYS}
        return {
            **{key: meta[key] for key in cls.KEYS if key in meta},
            **({"extensions": extensions} if extensions else {}),
        }

    def document(self) -> dict[str, Any]:
        extensions = self.cleaned_data.get("extensions")
        given = _given(self.cleaned_data, self.KEYS)
        return {**extensions, **given} if isinstance(extensions, dict) else given

    def clean_extensions(self) -> Any:
        value = self.cleaned_data["extensions"]
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError('Write an object: {"x-key": "value"}.')
        if known := [key for key in value or {} if key in self.KEYS]:
            raise forms.ValidationError(f"{', '.join(known)} has a field of its own.")
        return value

    def field_of(self, path: Steps) -> tuple[str, Steps]:
        return (str(path[0]), path[1:]) if path and path[0] in self.KEYS else ("extensions", path)

    def visible(self) -> list[Any]:
        has_extensions = self.is_used(["extensions"])
        return self.shown([*self.KEYS, *(["extensions"] if has_extensions else [])])


class ActionPart(Part):
    """What happens to the requests."""

    KINDS = (
        ("send", "Send them to a model"),
        ("split", "Split them among models by weight"),
        ("modify", "Keep the model, and only change how they are handled"),
        ("refuse", "Refuse them"),
    )
    #: The fields that belong to a kind, besides those of everything that is not refused.
    OWN = {
        "send": ("target_model", "provider"),
        "split": ("split",),
        "modify": (),
        "refuse": ("refuse_status", "refuse_code", "refuse_message"),
    }
    COMMON = ("fallbacks", "max_cost_usd", "shadow_model", "traffic_pct", "disable_cache")

    kind = Choice(label="What happens to them", choices=KINDS, initial="send")
    target_model = needed(
        Text(
            label="Send to model",
            completes_from="models",
            help_text="What the gateway sends instead of the requested model.",
        )
    )
    provider = Text(
        label="Served by provider",
        completes_from="providers",
        help_text="Empty: the gateway's usual one for the model.",
    )
    split = needed(
        Notation(
            lines.read_arms,
            lines.write_arms,
            label="Models and weights",
            help_text="2 to 10, one a line: gpt-4o = 90. The same user always gets the same model.",
            widget=forms.Textarea(
                attrs={
                    "rows": 2,
                    "spellcheck": "false",
                    "data-arms": "Models and weights",
                    "data-arms-help": "2 to 10 models. The same user always gets the same one.",
                }
            ),
        )
    )
    refuse_status = needed(Whole(label="HTTP status", help_text="400 to 499."))
    refuse_code = needed(Text(label="Code", help_text="A stable word for programs: too_expensive"))
    refuse_message = needed(Text(label="Message", help_text="A sentence for whoever sent the request."))
    fallbacks = Models(label="If that fails, try", help_text="Models, one a line, in this order.")
    max_cost_usd = Usd(label="At most (USD a request)", help_text="A model on which it would cost more is not tried.")
    shadow_model = Text(
        label="Send a copy to model",
        completes_from="models",
        help_text="Its answer is not used; for comparing. It costs as well.",
    )
    traffic_pct = Whole(
        label="For this share of the requests (%)",
        help_text="The rest passes unchanged. Empty: all. The same user stays in or out.",
    )
    disable_cache = forms.BooleanField(label="Do not answer from a cache", required=False)

    @classmethod
    def initial_of(cls, then: Mapping[str, Any]) -> dict[str, Any]:
        refusal = then.get("refuse") or {}
        kind = next((kind for kind, keys in _KEY_OF_KIND.items() if then.get(keys)), "modify" if then else "send")
        return {
            **{key: value for key, value in then.items() if key != "refuse"},
            **{f"refuse_{key}": value for key, value in refusal.items()},
            "kind": kind,
        }

    def document(self) -> dict[str, Any]:
        data = self.cleaned_data
        kind = data.get("kind")
        if kind == "refuse":
            keys = ("status", "code", "message")
            return {"refuse": {key: data[f"refuse_{key}"] for key in keys if is_given(data.get(f"refuse_{key}"))}}
        return _given(data, (*self.OWN.get(kind or "", ()), *self.COMMON))

    def clean(self) -> dict[str, Any] | None:
        data = super().clean() or self.cleaned_data
        kind = data.get("kind")
        if kind == "send" and not data.get("target_model"):
            self.add_error("target_model", "Name the model, for example gpt-4o-mini.")
        if kind == "split" and not data.get("split") and "split" not in self.errors:
            self.add_error("split", "Name at least two models with their weights, one a line: gpt-4o = 90")
        if kind == "modify" and not _given(data, [key for key in self.COMMON if key != "traffic_pct"]):
            self.add_error("kind", "So far nothing changes: fill in fallbacks, a limit, a copy, or forbid the cache.")
        if kind is not None:
            belong = {*self.OWN.get(kind, ()), *(self.COMMON if kind in ("send", "split", "modify") else ())}
            for name in _given(data, self.fields):
                if name not in belong and name != "kind":
                    self.add_error(name, f"This does not belong to “{dict(self.KINDS)[kind]}”: empty it.")
        return data

    def add_issue(self, path: Steps, issue: Issue) -> bool:
        # Where a field has a mistake, the whole lacks its value, which is no second mistake.
        is_of_the_whole = issue["code"] in ("no_effect", "conflict")
        return bool(self.own_mistakes and is_of_the_whole) or super().add_issue(path, issue)

    def field_of(self, path: Steps) -> tuple[str, Steps]:
        if path and path[0] == "refuse":
            return (f"refuse_{path[1]}", path[2:]) if len(path) > 1 else ("refuse_status", [])
        return super().field_of(path)

    # What the page shows.

    def own(self) -> list[tuple[str, list[Any]]]:
        """(kind, its fields)."""
        return [(kind, self.shown(names)) for kind, names in self.OWN.items() if names]

    def common(self) -> list[Any]:
        return self.shown(self.COMMON)


_KEY_OF_KIND = {"refuse": "refuse", "split": "split", "send": "target_model"}
