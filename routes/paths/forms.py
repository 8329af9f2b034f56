"""The forms of a service: what it is called and how long its upstreams may take, and one part for each of its paths."""

import re
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.http import QueryDict

from routes.engine.errors import InvalidRoute, Issue
from routes.engine.path_patterns import MAX_PATHS, MAX_PATTERN, MAX_TARGET
from routes.engine.paths import Service as ServiceValue
from routes.paths.words import TIMEOUTS

#: So many empty paths a form has at its end, for who has no JavaScript.
BLANK: Final = 3
_PLACE: Final = re.compile(r"paths\[(\d+)\]\.?(\w*)", re.ASCII)
_TIMEOUT: Final = re.compile(r"timeouts\.(\w+)", re.ASCII)


class _Seconds(forms.FloatField):
    """Seconds as people write them; the engine says which there may be."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "size": 6})

    def __init__(self, key: str) -> None:
        super().__init__(required=False, label=f"Seconds {TIMEOUTS[key]}", help_text="Empty: as the gateway has it.")

    def clean(self, value: Any) -> Any:
        seconds = super().clean(value)
        return int(seconds) if seconds is not None and seconds.is_integer() else seconds


class NamingForm(forms.Form):
    slug = forms.CharField(
        label="Slug",
        max_length=63,
        help_text="Its name in addresses: a lower-case letter, then lower-case letters, digits and hyphens.",
    )
    enabled = forms.BooleanField(
        label="Enabled", required=False, initial=True, help_text="Gateways answer 404 for a disabled one."
    )
    revision = forms.IntegerField(required=False, min_value=0, max_value=2**53, widget=forms.HiddenInput)


class TimeoutsForm(forms.Form):
    connect_seconds = _Seconds("connect_seconds")
    first_byte_seconds = _Seconds("first_byte_seconds")
    idle_seconds = _Seconds("idle_seconds")


class PathForm(forms.Form):
    """One path. Without pattern and target it is none."""

    pattern = forms.CharField(
        label="Path pattern",
        required=False,
        max_length=MAX_PATTERN,
        widget=forms.TextInput(attrs={"placeholder": "/users/:id", "spellcheck": "false", "autocomplete": "off"}),
    )
    target_url = forms.CharField(
        label="Target URL",
        required=False,
        max_length=MAX_TARGET,
        widget=forms.TextInput(
            attrs={"placeholder": "https://users.example.com/v1", "spellcheck": "false", "autocomplete": "off"}
        ),
    )
    methods = forms.CharField(
        label="Methods",
        required=False,
        max_length=1_000,
        widget=forms.TextInput(attrs={"placeholder": "any", "spellcheck": "false", "autocomplete": "off"}),
    )
    headers = forms.CharField(
        label="Only with these headers",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "x-beta: 1", "spellcheck": "false"}),
        help_text="One to a line. Of a name on several lines any value will do, of several names each has to be there.",
    )
    enabled = forms.BooleanField(label="Enabled", required=False, initial=True)

    def __init__(self, number: int | str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, prefix=f"path-{number}", auto_id="f-%s", use_required_attribute=False, **kwargs)
        self.number = number

    @property
    def is_blank(self) -> bool:
        return not any((self[name].value() or "").strip() for name in ("pattern", "target_url", "methods", "headers"))

    @property
    def is_more_open(self) -> bool:
        """Whether what few paths need is to be seen."""
        return bool(self["headers"].value() or self["headers"].errors or not self["enabled"].value())

    def document(self) -> dict[str, Any]:
        """As far as it can be read; the engine says what is wrong with it."""
        given = self.cleaned_data
        path: dict[str, Any] = {"pattern": given.get("pattern", ""), "target_url": given.get("target_url", "")}
        if methods := re.split(r"[\s,]+", given.get("methods", "").strip().upper()):
            path["methods"] = [method for method in methods if method] or None
        if headers := _read_headers(given.get("headers", "")):
            path["headers"] = headers
        path["enabled"] = given["enabled"]
        return path

    def clean_headers(self) -> str:
        text: str = self.cleaned_data["headers"]
        for line in text.splitlines():
            if line.strip() and not re.fullmatch(r"[^:\s]+\s*:.*\S.*", line.strip()):
                raise forms.ValidationError(f"“{line.strip()[:60]}” is no header. Write it like this: x-beta: 1")
        return text


def _read_headers(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in filter(str.strip, text.splitlines()):
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _initial(path: Mapping[str, Any]) -> dict[str, Any]:
    headers = path.get("headers") or {}
    return {
        "pattern": path.get("pattern", ""),
        "target_url": path.get("target_url", ""),
        "methods": " ".join(path.get("methods") or ()),
        "headers": "\n".join(f"{name}: {value}" for name, values in headers.items() for value in values),
        "enabled": path.get("enabled", True),
    }


class ServiceForm:
    """All of a service. Made of its document, or of what was sent; `document` is what that says."""

    def __init__(
        self, data: QueryDict | None = None, *, service: Mapping[str, Any] | None = None, revision: int | None = None
    ) -> None:
        service = service or {}
        options: dict[str, Any] = {"auto_id": "f-%s", "use_required_attribute": False}
        naming = {"slug": service.get("slug", ""), "enabled": service.get("enabled", True), "revision": revision}
        self.naming = NamingForm(data, initial=naming, **options)
        self.timeouts = TimeoutsForm(data, initial=service.get("timeouts"), **options)
        if data is None:
            paths = [_initial(path) for path in service.get("paths", ())]
            self.paths = [PathForm(number, initial=path) for number, path in enumerate(paths)]
        else:
            numbers = [number for number in data.getlist("row") if re.fullmatch(r"\d{1,4}", number, re.ASCII)]
            self.paths = [PathForm(number, data) for number in dict.fromkeys(numbers)]
        first = 1 + max((int(path.number) for path in self.paths), default=-1)
        self.blanks = (
            [PathForm(number) for number in range(first, first + BLANK)] if len(self.paths) < MAX_PATHS else []
        )
        self.is_bound = data is not None
        self._problems: list[str] = []

    @property
    def blank(self) -> PathForm:
        """What the page's script makes more paths of."""
        return PathForm("__n__")

    @property
    def switches(self) -> list[Any]:
        return [self.naming["slug"], self.naming["enabled"]]

    @property
    def is_waiting_open(self) -> bool:
        return any(self.timeouts[name].value() for name in TIMEOUTS) or bool(self.timeouts.errors)

    @property
    def rows(self) -> list[PathForm]:
        """Of the paths that were sent those that say anything."""
        return [path for path in self.paths if not (self.is_bound and path.is_blank)]

    def is_valid(self) -> bool:
        """Whether it is a service. Asks every field and the engine, so that all mistakes are told at once."""
        parts = [self.naming, self.timeouts, *self.rows]
        for part in parts:
            part.is_valid()
        try:
            ServiceValue.from_dict(self._document())
        except InvalidRoute as error:
            for issue in error.issues:
                self.add_issue(issue)
        return not self.errors

    def _document(self) -> dict[str, Any]:
        naming = self.naming.cleaned_data
        timeouts = {name: value for name, value in self.timeouts.cleaned_data.items() if value is not None}
        paths = [path.document() for path in self.rows]
        slug = naming.get("slug") or "given-at-its-field"
        return {"slug": slug, "enabled": naming["enabled"], "timeouts": timeouts, "paths": paths}

    def value(self) -> ServiceValue:
        """Of a form that is valid."""
        return ServiceValue.from_dict(self._document())

    @property
    def seen(self) -> int:
        """The revision that the page showed; -1, which nothing ever has, for none."""
        revision = self.naming.cleaned_data.get("revision")
        return -1 if revision is None else revision

    # --- Mistakes -----------------------------------------------------------------------------------------------------

    def add_issue(self, issue: Issue) -> None:
        """Shows an issue at the field that it is about, unless that has a mistake of its own."""
        part: forms.Form | None = None
        name = issue["path"]
        if found := _PLACE.match(issue["path"]):
            rows = self.rows
            number, name = int(found[1]), found[2] or "pattern"
            part = rows[number] if number < len(rows) else None
        elif found := _TIMEOUT.match(issue["path"]):
            part, name = self.timeouts, found[1]
        elif name in self.naming.fields:
            part = self.naming
        if part is None or name not in part.fields:
            self.add_problem(issue["message"])
        elif name not in part.errors:
            part.add_error(name, issue["message"])

    def add_problem(self, text: str) -> None:
        """Something that no field is about."""
        self._problems.append(text)

    @property
    def errors(self) -> bool:
        return bool(self.mistakes) if self.is_bound else False

    @property
    def mistakes(self) -> list[dict[str, str]]:
        """All that is wrong, each with its field: `{"field", "label", "message"}`."""
        found = [{"field": "", "label": "", "message": text} for text in self._problems]
        for part in (self.naming, self.timeouts, *self.rows):
            where = f"Path {self.rows.index(part) + 1}, " if isinstance(part, PathForm) else ""
            for name, messages in (part.errors if part.is_bound else {}).items():
                field = part[name]
                label = (
                    f"{where}{field.label}"
                    if not where
                    else f"{where}{str(field.label)[0].lower()}{str(field.label)[1:]}"
                )
                found += [{"field": field.id_for_label, "label": label, "message": str(text)} for text in messages]
        return found


class LinesForm(forms.Form):
    """What installation staff gives, one to a line."""

    lines = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}))
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, label: str, help_text: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["lines"].label = label
        self.fields["lines"].help_text = help_text

    def given(self) -> list[tuple[int, str]]:
        """The lines that say anything, with their numbers."""
        text: str = self.cleaned_data["lines"]
        return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]

    def add_invalid(self, error: InvalidRoute, given: list[tuple[int, str]]) -> None:
        """What is wrong, each with its line."""
        for issue in error.issues:
            found = re.match(r"\[(\d+)\]", issue["path"])
            line = f"Line {given[int(found[1])][0]}: " if found else ""
            self.add_error("lines", f"{line}{issue['message']}")
