"""The part of a form that says when a route matches: conditions as rows, those in use and those that may be added."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

from django import forms
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from routes.engine.times import DAYS
from routes.rules.forms import lines
from routes.rules.forms.fields import Clock, Days, Json, Lines, Models, Notation, Text, Usd, Whole, YesNo
from routes.rules.forms.parts import Part
from routes.rules.forms.rows import GROUPS, Kind
from routes.rules.forms.words import Steps
from routes.rules.sentences import condition


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the page."""

    kind: Kind
    #: The place of its group.
    group: int
    #: Its fields, bound to the form.
    fields: list[Any]
    is_used: bool

    @property
    def field(self) -> Any:
        return self.fields[0]


class ConditionsPart(Part):
    """The conditions of a route, or of one group of them. Groups inside a group are kept as JSON, in `nested`."""

    model_in = Models()
    model_matches = Lines()
    input_tokens_gt = Whole(label="More than")
    input_tokens_lt = Whole(label="Fewer than")
    tag_equals = Text()
    has_images = YesNo()
    has_audio = YesNo()
    has_documents = YesNo()
    has_tools = YesNo()
    is_stream = YesNo()
    prompt_contains_any_of = Lines()
    prompt_matches_any_of = Lines()
    estimated_cost_gt = Usd(label="More than (USD)")
    estimated_cost_lt = Usd(label="Less than (USD)")
    upstream_latency_ms_p95_gt = Whole()
    metadata = Notation(lines.read_names, lines.write_names)
    headers = Notation(partial(lines.read_names, like="x-customer = acme"), lines.write_names)
    numbers = Notation(lines.read_ranges, lines.write_ranges)
    window_from = Clock(label="From")
    window_to = Clock(label="To")
    window_tz = Text(label="Time zone", completes_from="zones", help_text="For example Europe/Berlin, or UTC.")
    window_days = Days(label="Days on which it begins")
    nested = Json(
        label="Groups inside this group, as JSON",
        help_text='Alternatives or an exception within this one: {"any_of": [{"tag_equals": "a"}, {"has_tools": true}]}',
    )

    #: The fields of one value each; those of the window become one.
    FLAT = tuple(name for _, kinds in GROUPS for kind in kinds if kind.name != "time_window" for name in kind.fields)

    def __init__(
        self, data: QueryDict | None = None, *, initial: dict[str, Any] | None = None, prefix: str = ""
    ) -> None:
        super().__init__(data, initial=initial, prefix=prefix)
        #: The rows that stand on the page, even if nothing is written into them yet.
        self._standing = frozenset(() if data is None else data.getlist(self.row_name))
        for _, kinds in GROUPS:
            for kind in kinds:
                first = self.fields[kind.fields[0]]
                first.help_text = kind.help
                if len(kind.fields) == 1:
                    first.label = kind.title

    @classmethod
    def initial_of(cls, when: Mapping[str, Any], *, is_group: bool = True) -> dict[str, Any]:
        hours = when.get("time_window") or {}
        nested = {key: when[key] for key in ("any_of", "not") if is_group and key in when}
        return {
            **{key: when[key] for key in cls.FLAT if key in when},
            **{f"window_{key}": hours[key] for key in ("from", "to", "tz") if key in hours},
            "window_days": hours.get("days", list(DAYS) if hours else []),
            **({"nested": nested} if nested else {}),
        }

    def document(self) -> dict[str, Any]:
        data = self.cleaned_data
        # No is an answer too; only None is none.
        when = {key: data[key] for key in self.FLAT if data.get(key) not in (None, "", [], {})}
        hours = {key: data[f"window_{key}"] for key in ("from", "to", "tz") if data.get(f"window_{key}")}
        days = data.get("window_days", [])
        if hours or days:
            when["time_window"] = {**hours, **({"days": days} if days and len(days) < len(DAYS) else {})}
        return {**when, **(data.get("nested") or {})}

    def clean(self) -> dict[str, Any] | None:
        data = super().clean() or self.cleaned_data
        for _, kinds in GROUPS:
            for kind in kinds:
                is_empty = all(data.get(name) in (None, "", [], {}) and name not in self.errors for name in kind.fields)
                if kind.name in self._standing and is_empty:
                    # Left out in silence, the route would take more than it says.
                    self.add_error(kind.fields[0], "Fill this in, or remove the condition.")
        return data

    def clean_nested(self) -> Any:
        value = self.cleaned_data["nested"]
        if value is not None and (not isinstance(value, dict) or not set(value) <= {"any_of", "not"}):
            raise forms.ValidationError('Write an object with "any_of", "not" or both.')
        return value

    def field_of(self, path: Steps) -> tuple[str, Steps]:
        if path and path[0] in ("any_of", "not"):
            return "nested", path
        if path and path[0] == "time_window":
            return (f"window_{path[1]}", path[2:]) if len(path) > 1 else ("window_from", [])
        return super().field_of(path)

    # What the page shows.

    def in_order(self) -> list[str]:
        return [*(name for _, kinds in GROUPS for kind in kinds for name in kind.fields), "nested"]

    def label_of(self, name: str) -> str:
        kind = next((kind for _, kinds in GROUPS for kind in kinds if name in kind.fields), None)
        label = super().label_of(name)
        return label if kind is None or len(kind.fields) == 1 else f"{kind.title}: {label[:1].lower()}{label[1:]}"

    @property
    def number(self) -> str:
        """Of an alternative, the number in its name."""
        return (self.prefix or "").removeprefix("any_of-")

    @property
    def row_name(self) -> str:
        """What the rows that stand on the page are sent as."""
        return self.add_prefix("row")

    @property
    def what(self) -> str:
        """What a person calls this part: the number counts from 1."""
        return "Exception" if self.prefix == "not" else "Alternative" if self.prefix else ""

    def nothing(self) -> str:
        """What it says without any condition."""
        if self.prefix == "not":
            return "Nothing yet: as it is, the exception holds for every request, and the route takes none."
        return "Nothing yet: as it is, this alternative holds for every request." if self.prefix else "Any request."

    def rows(self) -> list["Row"]:
        """Those that say something, or stand on the page."""
        return [row for _, rows in self._rows() for row in rows if row.is_used]

    def others(self) -> list[tuple[str, SafeString]]:
        """The rest, by group and as HTML: "" where a group has none."""
        prefix = f"{self.prefix}-" if self.prefix else ""
        return [
            # Of names of our own.
            (heading, mark_safe("".join(_blank(row.kind).replace(_ANY, prefix) for row in rows if not row.is_used)))  # noqa: S308
            for heading, rows in self._rows()
        ]

    def _rows(self) -> list[tuple[str, list["Row"]]]:
        return [
            (heading, [Row(kind, place, self.shown(kind.fields), self._stands(kind)) for kind in kinds])
            for place, (heading, kinds) in enumerate(GROUPS)
        ]

    def _stands(self, kind: Kind) -> bool:
        return kind.name in self._standing or self.is_used(kind.fields)

    def nested_sentence(self) -> str:
        """What is nested deeper, in words; empty where nothing is."""
        nested = self.cleaned_data.get("nested") if self.is_bound else self.initial.get("nested")
        return condition(nested) if nested else ""

    def has_nested(self) -> bool:
        return self.is_used(["nested"])


#: What stands for the prefix of any group.
_ANY: Final = "any-group-"


@cache
def _blank(kind: Kind) -> str:
    """The row of a condition that is not used, in any group: a route may have 64 groups, and they have a thousand of these,
    which take a second to write one by one."""
    part = ConditionsPart(prefix=_ANY.removesuffix("-"))
    row = Row(kind, GROUPS.index(_group_of(kind)), part.shown(kind.fields), is_used=False)
    return render_to_string("routes/condition.html", {"row": row})


def _group_of(kind: Kind) -> tuple[str, tuple[Kind, ...]]:
    return next(group for group in GROUPS if kind in group[1])
