"""What people fill in of a plan: its name, its traffic, its routes as JSON, and why."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django import forms
from django.utils import timezone

from plans.replay.question import L2_THRESHOLDS
from plans.runs.models import IntervalMethod, Mode
from routes.rules.content import same
from routes.rules.forms.fields import Json, UtcTime
from routes.texts import one_line, several_lines

#: Of a plan, what most leave as it is: the form folds it away.
SETTINGS = ("l1_ttl_seconds", "l2_ttl_seconds", "l2_priced_threshold", "interval_method")


class Seconds(forms.FloatField):
    def to_python(self, value: Any) -> float | None:
        if isinstance(value, str) and "_" in value:  # Python reads 1_0 as ten; people do not
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class Routes(Json):
    #: An empty list is a proposal, as it is for the API: in `replace` no route stays, in `merge` none changes.
    empty_values: list[Any] = [None]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether it is another JSON value, however it is written."""
        try:
            return not same(initial, self.clean(data))
        except forms.ValidationError:
            return True


class QuestionForm(forms.Form):
    """Which traffic is replayed, and how."""

    window_start = UtcTime(required=True, label="Replay requests from (UTC)")
    window_end = UtcTime(required=True, label="until (UTC, not included)")
    l1_ttl_seconds = Seconds(
        required=False,
        min_value=0,
        label="Exact cache: answers are kept for (seconds)",
        help_text="Requests with equal digests within that time cost nothing, before and after. Empty: no such cache.",
    )
    l2_ttl_seconds = Seconds(
        required=False,
        min_value=0,
        label="Semantic cache: answers are kept for (seconds)",
        help_text="Needs logged embeddings. Says how many requests it would answer, and how many of those look wrong.",
    )
    l2_priced_threshold = forms.TypedChoiceField(
        required=False,
        coerce=float,
        empty_value=None,
        choices=[("", "Count its hits only"), *((value, f"Hits from {value} cost nothing") for value in L2_THRESHOLDS)],
        label="Semantic cache: similarity",
    )
    interval_method = forms.ChoiceField(
        required=False,
        choices=IntervalMethod.choices,
        initial=IntervalMethod.RANDOM_SUBSETS,
        label="How the 95% intervals are drawn",
        help_text="The bootstrap is there for those who must compare; it covers less with few unequal users.",
    )

    def __init__(self, *args: Any, first: datetime | None = None, last: datetime | None = None, **kwargs: Any) -> None:
        """`first` and `last` are the times of the oldest and newest logged request: the window offered."""
        super().__init__(*args, **kwargs)
        end = (last or timezone.now()).astimezone(UTC) + timedelta(minutes=1)
        start = max(first.astimezone(UTC), end - timedelta(days=7)) if first else end - timedelta(days=7)
        # A plan may ask for others than the usual ones.
        given = self.initial.get("l2_priced_threshold")
        if given is not None and given not in L2_THRESHOLDS:
            field = self.fields["l2_priced_threshold"]
            field.choices = [*field.choices, (given, f"Hits from {given} cost nothing")]
        # Whole minutes outward: the field shows no seconds.
        self.fields["window_start"].initial = start.replace(second=0, microsecond=0)
        self.fields["window_end"].initial = end.replace(second=0, microsecond=0)

    @property
    def shows_settings(self) -> bool:
        """Whether one of the settings that are folded away is not as it was offered, or wrong."""
        return any(self[name].errors or self[name].value() not in (None, "", self[name].initial) for name in SETTINGS)

    def clean_interval_method(self) -> str:
        return self.cleaned_data["interval_method"] or IntervalMethod.RANDOM_SUBSETS

    def add_issues(self, issues: list[dict[str, str]]) -> None:
        for issue in issues:
            top = issue["path"].split("[")[0].split(".")[0]
            where = "" if top == issue["path"] else f"{issue['path']}: "
            self.add_error(top if top in self.fields else None, where + issue["message"])


class NewForm(forms.Form):
    """What a plan is called; all else is chosen on the page of its draft."""

    name = forms.CharField(
        max_length=200, validators=[one_line], help_text="What people will see in lists, approvals and the log."
    )
    note = forms.CharField(
        required=False,
        max_length=10_000,
        validators=[several_lines],
        widget=forms.Textarea(attrs={"rows": 2, "class": "ra-prose"}),
        help_text="Why. Optional.",
    )


class PlanForm(NewForm, QuestionForm):
    """All of a plan at once: the routes are edited as JSON here; the form starts from a template of one."""

    mode = forms.ChoiceField(choices=Mode.choices, initial=Mode.MERGE, label="What the routes below do")
    routes = Routes(
        required=True,
        label="Proposed routes (JSON list)",
        widget=forms.Textarea(attrs={"rows": 16, "spellcheck": "false"}),
        help_text=(
            "Each with name, when and then, and whatever else a route may have: priority, paused, active_from, meta."
            " With the id of a live route it replaces that route."
        ),
    )

    def clean_routes(self) -> Any:
        routes = self.cleaned_data["routes"]
        if not isinstance(routes, list):
            raise forms.ValidationError("Write a list: [ { …one route… } ].")
        return routes


class TrafficForm(QuestionForm):
    """Which traffic a draft asks about: one of the usual windows, or another."""

    OTHER = "other"

    window = forms.ChoiceField(widget=forms.RadioSelect, label="Which requests")

    def __init__(self, *args: Any, windows: Mapping[str, "Window"], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.windows = windows
        choices = [(name, window.label) for name, window in windows.items()]
        self.fields["window"].choices = [*choices, (self.OTHER, "From and until a time of your choice")]
        for name in ("window_start", "window_end"):
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        chosen = self.windows.get(given.get("window", ""))
        if chosen is not None:
            given |= {"window_start": chosen.start, "window_end": chosen.end}
        for name in ("window_start", "window_end"):
            if given.get("window") == self.OTHER and not given.get(name) and name not in self.errors:
                self.add_error(name, "Say which time, or choose one of the others.")
        return given


class Window(NamedTuple):
    """One that most want."""

    label: str
    start: datetime
    end: datetime


def usual_windows(first: datetime | None, last: datetime | None) -> dict[str, Window]:
    """Those that end with the newest logged request, in whole minutes outward; of a shorter log all of it alone."""
    end = (last or timezone.now()).astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    begin = (first or end - timedelta(days=7)).astimezone(UTC).replace(second=0, microsecond=0)
    found = {
        name: Window(label, end - timedelta(days=days), end)
        for name, label, days in (
            ("day", "The last day", 1),
            ("week", "The last 7 days", 7),
            ("month", "The last 30 days", 30),
        )
        if end - timedelta(days=days) >= begin or days == 1
    }
    return {**found, "all": Window("All that is logged", begin, end)}


class NamesForm(forms.Form):
    """What of a plan that is no draft any more can be changed."""

    name = forms.CharField(max_length=200, validators=[one_line])
    note = forms.CharField(
        required=False,
        max_length=10_000,
        validators=[several_lines],
        widget=forms.Textarea(attrs={"rows": 3, "class": "ra-prose"}),
    )


class ScheduleForm(forms.Form):
    apply_at = UtcTime(required=True, label="Apply at (UTC)", help_text="All is checked again then, also your role.")


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Why",
        widget=forms.Textarea(attrs={"rows": 2, "class": "ra-prose"}),
        max_length=10_000,
        validators=[several_lines],
    )
