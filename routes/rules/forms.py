"""The route editor's form. It asks for each condition by name; the engine judges the whole."""

from decimal import Decimal
from typing import Any

from django import forms

from routes import engine


class Lines(forms.CharField):
    """One value a line; values keep their inner and outer spaces, empty lines fall away."""

    widget = forms.Textarea(attrs={"rows": 3})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, **kwargs)

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line for line in (value or "").replace("\r\n", "\n").split("\n") if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


def _any(label: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        label=label,
        required=False,
        choices=[("", "Does not matter"), ("true", "Yes"), ("false", "No")],
        coerce=lambda value: value == "true",
        empty_value=None,
    )


def _whole(label: str, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, min_value=0, help_text=help_text)


def _usd(label: str, help_text: str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label, required=False, min_value=0, max_value=1_000_000, decimal_places=9, help_text=help_text
    )


class RouteForm(forms.Form):
    """Fields carry the document's keys; `document()` is the route they describe."""

    WHEN = (
        "model_in", "input_tokens_gt", "input_tokens_lt", "tag_equals", "has_images", "has_audio", "has_documents",
        "prompt_contains_any_of", "estimated_cost_gt", "estimated_cost_lt", "upstream_latency_ms_p95_gt",
    )  # fmt: skip
    THEN = ("target_model", "fallbacks", "max_cost_usd", "disable_cache")

    name = forms.CharField(max_length=200, help_text="Unique in the organisation; people see it in logs and answers.")
    priority = forms.IntegerField(
        min_value=0, max_value=2_147_483_647, initial=100, help_text="Higher is asked first. The first match wins."
    )
    enabled = forms.BooleanField(required=False, initial=True)

    model_in = Lines(label="Requested model is one of", help_text="One a line, exactly as requested. Empty: any model.")
    input_tokens_gt = _whole("More input tokens than")
    input_tokens_lt = _whole("Fewer input tokens than")
    tag_equals = forms.CharField(
        label="Tag is", required=False, strip=False, max_length=512, help_text="Exactly, upper and lower case differ."
    )
    has_images = _any("Has images")
    has_audio = _any("Has audio")
    has_documents = _any("Has documents")
    prompt_contains_any_of = Lines(
        label="Text contains any of",
        help_text="One a line. User and system text, upper and lower case alike. Spaces around a word count.",
    )
    estimated_cost_gt = _usd("Estimated to cost more than (USD)")
    estimated_cost_lt = _usd("Estimated to cost less than (USD)")
    upstream_latency_ms_p95_gt = _whole("Upstream p95 latency above (ms)")

    target_model = forms.CharField(
        label="Send to model",
        max_length=512,
        widget=forms.TextInput(attrs={"list": "models", "autocomplete": "off"}),
        help_text="What the gateway sends instead of the requested model.",
    )
    fallbacks = Lines(label="If that fails, try", help_text="One model a line, in this order.")
    max_cost_usd = _usd("At most (USD a request)", "A request that would cost more is not sent to this model.")
    disable_cache = forms.BooleanField(label="Do not answer from a cache", required=False)

    #: The revision that the form was opened with; "" for a new route.
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    @classmethod
    def of(cls, route: dict[str, Any], *, revision: int) -> "RouteForm":
        """The form filled with a route in the document's keys."""
        when = dict(route["when"])
        for key in ("has_images", "has_audio", "has_documents"):
            if key in when and when[key] is not None:
                when[key] = "true" if when[key] else "false"
        top = {key: route[key] for key in ("name", "priority", "enabled")}
        return cls(initial={**top, **when, **route["then"], "revision": revision})

    def document(self) -> dict[str, Any]:
        """The route without its id, in the document's keys; only what was filled in."""
        data = self.cleaned_data
        when = {key: self._plain(data[key]) for key in self.WHEN if data.get(key) not in (None, "", [])}
        then = {key: self._plain(data[key]) for key in self.THEN if data.get(key) not in (None, "", [], False)}
        return {
            "name": data["name"],
            "priority": data["priority"],
            "enabled": data["enabled"],
            "when": when,
            "then": then,
        }

    @staticmethod
    def _plain(value: Any) -> Any:
        return float(value) if isinstance(value, Decimal) else value

    def add_issues(self, issues: list[dict[str, str]]) -> None:
        """Show the engine's issues at the fields they are about."""
        for issue in issues:
            key = issue["path"].removeprefix("when.").removeprefix("then.").split("[")[0].split(".")[0]
            self.add_error(key if key in self.fields else None, issue["message"])

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors:
            try:
                engine.NewRoute.from_dict(self.document())
            except engine.errors.InvalidRoute as error:
                self.add_issues(error.issues)
        return cleaned

    # The groups in which the page shows the fields.
    def identity(self) -> list[Any]:
        return [self[key] for key in ("name", "priority", "enabled")]

    def conditions(self) -> list[Any]:
        return [self[key] for key in self.WHEN]

    def effects(self) -> list[Any]:
        return [self[key] for key in self.THEN]


class OptionalJSON(forms.JSONField):
    """JSON or nothing; nothing shows as an empty field, not as `null`."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data if not (data or "").strip() else super().bound_data(data, initial)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None or value == "" else super().prepare_value(value)


class TryForm(forms.Form):
    """A request to try: a chat body, facts by name, or both (facts win)."""

    chat = OptionalJSON(
        label="Chat-completions body",
        required=False,
        help_text='Paste what a client sends: {"model": …, "messages": […]}. Or leave it empty and fill in facts.',
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )
    model = forms.CharField(label="Requested model", required=False, widget=forms.TextInput(attrs={"list": "models"}))
    input_tokens = _whole("Input tokens")
    tag = forms.CharField(label="Tag", required=False, strip=False)
    prompt = forms.CharField(
        label="User and system text", required=False, strip=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    has_images = _any("Has images")
    has_audio = _any("Has audio")
    has_documents = _any("Has documents")
    estimated_cost_usd = _usd("Estimated cost (USD)")
    upstream_latency_ms_p95 = _whole("Upstream p95 latency (ms)")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in ("has_images", "has_audio", "has_documents"):
            self.fields[key].choices = [("", "Unknown"), ("true", "Yes"), ("false", "No")]  # type: ignore[attr-defined]

    def facts(self) -> dict[str, Any]:
        """Facts by name, only those that were filled in."""
        return {
            key: RouteForm._plain(value)
            for key, value in self.cleaned_data.items()
            if key != "chat" and value not in (None, "")
        }

    def fact_fields(self) -> list[Any]:
        return [field for field in self if field.name != "chat"]
