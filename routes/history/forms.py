"""The form that confirms a restored version, and the note that such forms ask for."""

from typing import Any

from django import forms

from routes.texts import several_lines


class NoteField(forms.CharField):
    """Why somebody publishes what they do."""

    widget = forms.Textarea(attrs={"rows": 2})

    def __init__(self, **more: Any) -> None:
        help_text = "Why; it stands in the history and in the audit log."
        super().__init__(required=False, max_length=10_000, validators=[several_lines], help_text=help_text, **more)


class RestoreForm(forms.Form):
    note = NoteField()
    #: The version that the person saw, on which the difference that was shown is based.
    seen = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
