"""The forms of request logs: of an import (which file, how it is read, what happens to rows that are refused), and of what
one looks for."""

from typing import Any, Final
from uuid import UUID

from django import forms
from django.http import QueryDict

from plans.logs.formats import AUTO, FORMATS, TRACE, Mapping, ReadAs
from routes.rules.forms.fields import LongSelect, Text, UtcTime

_LABELS = {
    AUTO: "Find out by the content",
    "csv": "CSV (commas, semicolons or tabs)",
    "jsonl": "JSON (an object a line, or a list of them)",
    "parquet": "Parquet",
    "litellm": "LiteLLM spend logs (CSV, JSON or Parquet)",
    TRACE: "Azure LLM inference trace",
}


class ImportForm(forms.Form):
    file = forms.FileField(label="File", max_length=200, allow_empty_file=True)
    format = forms.ChoiceField(choices=[(name, _LABELS[name]) for name in (AUTO, *FORMATS)], initial=AUTO)
    provider = forms.CharField(
        required=False, label="Provider", help_text="Of rows that name none, for example openai.", max_length=100
    )
    model = forms.CharField(
        required=False, label="Model", help_text="Of rows that name none. A trace never does.", max_length=200
    )
    tag = forms.CharField(required=False, label="Tag", help_text="Of rows that have none.", max_length=512)
    on_error = forms.ChoiceField(
        label="If a row is refused",
        choices=[("abort", "Import nothing"), ("skip", "Import the other rows")],
        initial="abort",
        required=False,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].widget.attrs |= {"list": "import-models", "autocomplete": "off"}
        self.fields["file"].widget.attrs |= {"aria-describedby": "import-file-errors"}

    @property
    def has_constants(self) -> bool:
        return any(self[name].value() or self[name].errors for name in ("provider", "model", "tag"))

    def how(self, format: str) -> ReadAs:
        """How to read the file, once its format is known: a trace takes the model for itself."""
        constants = {name: self.cleaned_data[name] for name in ("provider", "model", "tag") if self.cleaned_data[name]}
        model = constants.pop("model", "") if format == TRACE else ""
        data = self.data
        columns = {}
        if isinstance(data, QueryDict):
            # Each column of the preview is a hidden field with its name, followed by the choice of what it is.
            columns = dict(zip(data.getlist("column"), data.getlist("target"), strict=False))
        return ReadAs(format, Mapping(columns, constants), model)


#: What is chosen of statuses, and in place of a route.
FAILED, GOOD, NO_ROUTE = "failed", "good", "none"


class _RouteField(forms.ChoiceField):
    """The id of a route, also of one that is deleted: its requests are still there."""

    widget = LongSelect
    default_error_messages = {"invalid_choice": "This is not the id of a route."}

    def valid_value(self, value: str) -> bool:
        return _is_id(value) or super().valid_value(value)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


class LookForm(forms.Form):
    """What of the log is wanted. Texts are compared letter by letter."""

    id = Text(label="Id of the request", max_length=200)
    model = Text(label="Served by model", completes_from="log-models", max_length=200)
    tag = Text(label="Tag", max_length=512)
    route = _RouteField(label="Route that took it", required=False)
    status = forms.ChoiceField(
        label="Status", required=False, choices=[("", "Any"), (FAILED, "Failed (400 and above)"), (GOOD, "Good")]
    )
    since = UtcTime(label="From (UTC)")
    until = UtcTime(label="Until, not with it (UTC)")

    MORE: Final = ("route", "status", "since", "until")

    def __init__(self, data: Any, *, routes: list[tuple[str, str]]) -> None:
        """`routes`: the ids and names of those that there are."""
        super().__init__(data, auto_id="f-%s")
        chosen = data["route"]
        known = [("", "Any"), (NO_ROUTE, "None"), *routes]
        if _is_id(chosen) and chosen not in dict(known):
            known.append((chosen, "A route that is deleted"))
        self.fields["route"].choices = known

    def common(self) -> list[Any]:
        return [self[name] for name in self.fields if name not in self.MORE]

    def more(self) -> list[Any]:
        return [self[name] for name in self.MORE]
