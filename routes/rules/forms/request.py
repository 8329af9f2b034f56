"""The form of a request to try."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from routes.requests import MAY_BE_UNKNOWN
from routes.rules.forms import lines
from routes.rules.forms.fields import Json, Notation, Text, Usd, UtcTime, Whole, YesNo
from routes.times import rfc3339


class TryForm(forms.Form):
    """A request to try: a chat body, facts by name, or both (facts win)."""

    chat = Json(
        label="Chat-completions body",
        help_text='Paste what a client sends: {"model": …, "messages": […]}. Or leave it empty and fill in facts.',
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )
    model = Text(label="Requested model", completes_from="models")
    input_tokens = Whole(label="Input tokens")
    tag = Text(label="Tag")
    at = UtcTime(label="Time of the request (UTC)")
    prompt = Text(label="User and system text", widget=forms.Textarea(attrs={"rows": 3}))
    has_images = YesNo(label="Has images", neither="Unknown")
    has_audio = YesNo(label="Has audio", neither="Unknown")
    has_documents = YesNo(label="Has documents", neither="Unknown")
    has_tools = YesNo(label="Has tools", neither="Unknown")
    is_stream = YesNo(label="Is streamed", neither="Unknown")
    estimated_cost_usd = Usd(label="Estimated cost (USD)")
    upstream_latency_ms_p95 = Whole(label="Upstream p95 latency (ms)")
    metadata = Notation(lines.read_labels, label="Metadata", help_text="One a line: team = search")
    headers = Notation(lines.read_names, label="Request headers", help_text="One name a line: x-customer = acme")
    numbers = Notation(
        lines.read_figures, label="The gateway's own figures", help_text="One a line: budget_share = 0.7"
    )
    request_id = Text(label="Id of the request", help_text="Shares and splits are drawn from it …")
    sticky_key = Text(label="Sticky key", help_text="… or from this: the user or session.")
    unknown = forms.MultipleChoiceField(
        label="Unknown as a whole",
        required=False,
        choices=[(name, f"the {name}") for name in MAY_BE_UNKNOWN],
        widget=forms.CheckboxSelectMultiple,
    )
    force = forms.ChoiceField(label="Ask for a route by name", required=False)

    COMMON = ("model", "input_tokens", "tag", "at")
    MORE = (
        "prompt", "has_images", "has_audio", "has_documents", "has_tools", "is_stream", "estimated_cost_usd",
        "upstream_latency_ms_p95", "metadata", "headers", "numbers", "request_id", "sticky_key", "force",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, routes: list[str]) -> None:
        """`routes` are the names that may be asked for."""
        super().__init__(data, initial={"at": datetime.now(UTC).replace(second=0, microsecond=0)})
        self.fields["force"].choices = [("", "No, let the conditions decide"), *((name, name) for name in routes)]  # type: ignore[attr-defined]

    def request(self) -> dict[str, Any]:
        """The request as the API takes it; only what was filled in."""
        data = self.cleaned_data
        facts = {
            name: data[name]
            for name in self.fields
            if name not in ("chat", "force", "at") and data.get(name) not in (None, "", [], {})
        }
        if data.get("at"):
            facts["at"] = rfc3339(data["at"])
        return {"context": facts, "chat": data.get("chat"), "force": data.get("force") or None}

    def common(self) -> list[Any]:
        return [self[name] for name in self.COMMON]

    def more(self) -> list[Any]:
        return [self[name] for name in self.MORE]

    def is_more_open(self) -> bool:
        names = (*self.MORE, "unknown")
        return any(self[name].value() not in (None, "", []) or self[name].errors for name in names)
