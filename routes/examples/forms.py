"""What a page needs to go on where a change would break examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.http import HttpRequest

from routes.examples import accepted
from routes.examples.deciding import in_words
from routes.publish import ExampleBroken
from routes.texts import one_line


class Nevertheless(forms.Form):
    """Why a change goes live though examples break by it: shown once one was refused for that."""

    accept_broken = forms.CharField(
        label="Save nevertheless, because",
        max_length=accepted.LONGEST,
        required=False,
        validators=[one_line],
        help_text="The audit log keeps it, with the examples that broke. Or change the examples first.",
    )

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if accepted.NAME in request.POST else None)
        self.broken: list[dict[str, Any]] = []
        #: The ids of those that were shown when the reason was given: it covers no others.
        self._shown = frozenset(filter(None, request.POST.get("broken", "").split(",")))

    def is_acceptable(self) -> bool:
        """Whether there is no reason, or one that can be kept."""
        return not self.is_bound or self.is_valid()

    def is_shown(self) -> bool:
        return bool(self.broken) or self.is_bound

    def is_refused(self) -> bool:
        """Whether a change did not happen for want of a reason, or of one that can be kept."""
        return bool(self.broken or self.errors)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Changes inside the block may break the examples that a reason was given for. What is refused for want of one is
        remembered, to be shown."""
        reason = self.cleaned_data[accepted.NAME] if self.is_bound and self.is_valid() else ""
        try:
            with accepted.bind(reason, shown=self._shown):
                yield
        except ExampleBroken as error:
            self.broken = error.broken
            raise

    def shown(self) -> str:
        """What the page sends back as `broken`."""
        return ",".join([one["id"] for one in self.broken] or sorted(self._shown))

    def has_others(self) -> bool:
        """Whether there is a reason, and examples would break that it was not given for."""
        return bool(self.broken) and self.is_bound and bool(self.cleaned_data.get(accepted.NAME))

    def lines(self) -> list[dict[str, str]]:
        """Of each example that would break its name, and in words what was expected, what was and what would be."""
        return [
            {"name": one["name"], **{key: in_words(one[key]) for key in ("expected", "was", "is")}}
            for one in self.broken
        ]
