"""The form that confirms a restored version."""

from django import forms

from routes.pages import NoteField


class RestoreForm(forms.Form):
    note = NoteField()
    #: The version that the person saw, on which the difference that was shown is based.
    seen = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
