"""The forms of a request: one to try, and one to keep as an example."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms

from routes.engine.times import read_time
from routes.engine.tokens import count_tokens
from routes.examples.deciding import REASONS
from routes.examples.services import MAX_NAME
from routes.requests import MAY_BE_UNKNOWN
from routes.rules.forms import lines
from routes.rules.forms.fields import Json, LongSelect, Notation, Text, Usd, UtcTime, Whole, YesNo
from routes.texts import one_line
from routes.times import rfc3339


class RequestForm(forms.Form):
    """A request: a chat body, facts by name, or both (facts win)."""

    chat = Json(
        label="Chat-completions body",
        help_text='Paste what a client sends: {"model": …, "messages": […]}. Or leave it empty and fill in facts.',
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )
    model = Text(label="Requested model", completes_from="models")
    input_tokens = Whole(label="Input tokens")
    tag = Text(label="Tag")
    at = UtcTime(label="Time of the request (UTC)")
    prompt = Text(label="User and system text", widget=forms.Textarea(attrs={"rows": 3, "class": "ra-prose"}))
    has_images = YesNo(label="Has images", neither="Unknown")
    has_audio = YesNo(label="Has audio", neither="Unknown")
    has_documents = YesNo(label="Has documents", neither="Unknown")
    has_tools = YesNo(label="Has tools", neither="Unknown")
    is_stream = YesNo(label="Is streamed", neither="Unknown")
    estimated_cost_usd = Usd(label="Estimated cost (USD)")
    upstream_latency_ms_p95 = Whole(label="Upstream p95 latency (ms)")
    metadata = Notation(lines.read_labels, lines.write_labels, label="Metadata", help_text="One a line: team = search")
    headers = Notation(
        lines.read_names, lines.write_names, label="Request headers", help_text="One name a line: x-customer = acme"
    )
    numbers = Notation(
        lines.read_figures,
        lines.write_figures,
        label="The gateway's own figures",
        help_text="One a line: budget_share = 0.7",
    )
    request_id = Text(label="Id of the request", help_text="Shares and splits are drawn from it …")
    sticky_key = Text(label="Sticky key", help_text="… or from this: the user or session.")
    unknown = forms.MultipleChoiceField(
        label="Unknown as a whole",
        required=False,
        choices=[(name, f"the {name}") for name in MAY_BE_UNKNOWN],
        widget=forms.CheckboxSelectMultiple,
    )

    COMMON = ("model", "input_tokens", "tag", "at")
    MORE = (
        "prompt", "has_images", "has_audio", "has_documents", "has_tools", "is_stream", "estimated_cost_usd",
        "upstream_latency_ms_p95", "metadata", "headers", "numbers", "request_id", "sticky_key",
    )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """The facts that were filled in, as the API takes them."""
        data = self.cleaned_data
        names = (*RequestForm.COMMON, *RequestForm.MORE, "unknown")
        facts = {name: data[name] for name in names if data.get(name) not in (None, "", [], {})}
        return {**facts, **({"at": rfc3339(data["at"])} if data.get("at") else {})}

    def common(self) -> list[Any]:
        return [self[name] for name in self.COMMON]

    def more(self) -> list[Any]:
        return [self[name] for name in self.MORE]

    def is_more_open(self) -> bool:
        names = (*self.MORE, "unknown")
        return any(self[name].value() not in (None, "", []) or self[name].errors for name in names)


class TryForm(RequestForm):
    """A request to try, which a route may take that is asked for by name."""

    force = forms.ChoiceField(label="Ask for a route by name", required=False, widget=LongSelect)

    MORE = (*RequestForm.MORE, "force")
    #: The facts on which the answer hangs, and which are not known: their fields are in sight.
    missing: frozenset[str] = frozenset()

    def __init__(self, data: Any = None, *, routes: list[str]) -> None:
        """`routes` are the names that may be asked for."""
        super().__init__(data, initial={"at": datetime.now(UTC).replace(second=0, microsecond=0)})
        self.fields["force"].choices = [("", "No, let the conditions decide"), *((name, name) for name in routes)]

    def clean(self) -> dict[str, Any]:
        """Something of a request: a time alone, which the form has from the start, is none."""
        cleaned: dict[str, Any] = super().clean() or {}
        is_given = self.facts().keys() - {"at", "unknown"} or cleaned.get("force")
        if not is_given and cleaned.get("chat") in (None, {}) and not self.errors:
            self.add_error("model", "Fill in at least this, or paste a body above.")
        return cleaned

    def is_more_open(self) -> bool:
        return super().is_more_open() or not self.missing.isdisjoint(self.MORE)

    def estimated_tokens(self) -> int | None:
        """About how many tokens the body has, as a gateway would say that counts none; None where the number is given, or
        there is no body with messages."""
        chat = self.cleaned_data.get("chat")
        is_given = self.cleaned_data.get("input_tokens") is not None
        if is_given or not isinstance(chat, dict) or not isinstance(chat.get("messages"), list):
            return None
        return count_tokens(chat)

    def request(self) -> dict[str, Any]:
        """The request as the API takes it: what was filled in, and of a body the estimate of its tokens."""
        data, tokens = self.cleaned_data, self.estimated_tokens()
        facts = self.facts() if tokens is None else {**self.facts(), "input_tokens": tokens}
        return {"context": facts, "chat": data.get("chat"), "force": data.get("force") or None}


class ExampleForm(RequestForm):
    """A request to keep, and what must become of it."""

    name = forms.CharField(label="Name", max_length=MAX_NAME, validators=[one_line])
    expected_route = forms.ChoiceField(label="Route", required=False, widget=LongSelect)
    expected_model = Text(
        label="Model that is sent", completes_from="models", validators=[one_line], help_text="Empty: whichever."
    )
    keeps_model = forms.BooleanField(label="The model that was asked for is left as it is", required=False)
    expected_reason = forms.ChoiceField(
        label="Reason",
        required=False,
        choices=[("", "Whichever"), *((reason, words.capitalize()) for reason, words in REASONS.items())],
    )
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    _NONE = "-"
    _NAMED = "="  # before a name, which may be anything

    def __init__(self, data: Any = None, *, routes: list[str], initial: dict[str, Any] | None = None) -> None:
        """`routes` are the names of those that there are."""
        super().__init__(data, initial=initial or {})
        expected = (initial or {}).get("expected_route", "")
        names = [self._NAMED + name for name in routes]
        if expected not in ("", self._NONE, *names):
            names.append(expected)  # one that is not there any more
        choices = [("", "Whichever"), (self._NONE, "No route takes it"), *((name, name[1:]) for name in names)]
        self.fields["expected_route"].choices = choices

    @classmethod
    def initial_of(cls, request: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
        """What the form shows of an example."""
        facts = request.get("context") or {}
        found = {name: str(fact).lower() if isinstance(fact, bool) else fact for name, fact in facts.items()}
        found["chat"] = request.get("chat")
        if (at := request.get("now") or found.get("at")) is not None:
            found["at"] = read_time(at)
        if (cost := found.get("estimated_cost_usd")) is not None:
            found["estimated_cost_usd"] = Decimal(repr(cost))  # what it is compared with: a double never is 0.1
        if headers := found.get("headers"):
            found["headers"] = {name: [value] if isinstance(value, str) else value for name, value in headers.items()}
        return {**found, **cls.initial_expected(expected)}

    @classmethod
    def initial_expected(cls, expected: dict[str, Any]) -> dict[str, Any]:
        """What it shows of what is expected, or of what becomes of a request."""
        found: dict[str, Any] = {"expected_reason": expected.get("reason", "")}
        if "route" in expected:
            found["expected_route"] = cls._NONE if expected["route"] is None else cls._NAMED + expected["route"]
        if "target_model" in expected:
            found["expected_model"] = expected["target_model"]
            found["keeps_model"] = expected["target_model"] is None
        return found

    def request(self, was: dict[str, Any] | None = None) -> dict[str, Any]:
        """The request as the API takes it: what was kept, with what was changed here. A form cannot show all."""
        found = dict(was or {})
        touched, given = self._touched(), self.facts()
        facts = {name: fact for name, fact in (found.get("context") or {}).items() if name not in touched}
        facts |= {name: fact for name, fact in given.items() if name in touched}
        if "at" in touched and found.pop("now", None) is not None and "at" in facts:
            found["now"] = facts.pop("at")
        if facts:
            found["context"] = facts
        elif found.get("context"):
            del found["context"]
        if "chat" in touched:
            found.pop("chat", None)
            if (chat := self.cleaned_data["chat"]) is not None:
                found["chat"] = chat
        return found

    def _touched(self) -> set[str]:
        """Of the request the fields that say something else than they showed first."""
        names = ("chat", *self.COMMON, *self.MORE, "unknown")
        return {name for name in names if name in self.changed_data and not self._is_as_shown(name)}

    def _is_as_shown(self, name: str) -> bool:
        """Whether the text is the one that was shown, but for what browsers make of line breaks."""
        field = self.fields[name]
        shown, sent = field.prepare_value(self.initial.get(name)), self.data.get(name)
        has_lines = isinstance(field.widget, forms.Textarea)
        return isinstance(shown, str) and isinstance(sent, str) and _sent(shown, has_lines) == _sent(sent, has_lines)

    def expected(self) -> dict[str, Any]:
        data = self.cleaned_data
        found: dict[str, Any] = {}
        if route := data["expected_route"]:
            found["route"] = None if route == self._NONE else route.removeprefix(self._NAMED)
        if data["keeps_model"] or data["expected_model"]:
            found["target_model"] = data["expected_model"] or None
        if data["expected_reason"]:
            found["reason"] = data["expected_reason"]
        return found

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("keeps_model") and cleaned.get("expected_model"):
            self.add_error("keeps_model", "Either this, or the name of a model.")
        # Whoever changes something else is not held to what a form would take.
        for name in set(RequestForm.base_fields) - self._touched():
            self.errors.pop(name, None)
        return cleaned

    def expectations(self) -> list[Any]:
        return [self[name] for name in ("expected_route", "expected_reason", "expected_model", "keeps_model")]

    def add_issues(self, issues: list[dict[str, str]]) -> None:
        """Show what a service found wrong at the fields that it is about."""
        at = {"expected.route": "expected_route", "expected.target_model": "expected_model"}
        at["expected.reason"] = "expected_reason"
        for issue in issues:
            path = issue["path"].removeprefix("request.").removeprefix("context.")
            field = at.get(path, path)
            self.add_error(field if field in self.fields else None, issue["message"])


def _sent(text: str, has_lines: bool) -> str:
    """What a browser sends of a text that it was given, with one character for each line break."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if has_lines else text.replace("\n", "")
