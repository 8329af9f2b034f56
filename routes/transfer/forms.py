"""The form that takes a file of routes, or its text, and keeps that while what it would change is looked at."""

from hashlib import sha256
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from routes.errors import RoutesError
from routes.pages import NoteField
from routes.rules.content import MERGE, REPLACE
from routes.transfer.files import read_file
from routes.transfer.notation import MAX_BYTES


class ImportForm(forms.Form):
    """A valid form has `content`, what was read. The text of a file that was chosen stands in `text` from then on, where it
    can be mended; nothing that was typed is lost."""

    file = forms.FileField(
        required=False,
        label="File",
        widget=forms.FileInput(attrs={"accept": ".json,.yaml,.yml,application/json,application/yaml"}),
        help_text="An export, as JSON or YAML.",
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "ra-file"}),
        help_text="JSON, or YAML: default, routes and services. Without default, what happens to requests that no route"
        " takes stays as it is, and without services they do. A route without an id is the one of its name, or else a new"
        " one; with another id than the live one of its name it is refused.",
    )
    mode = forms.ChoiceField(
        label="What the routes and services in it do",
        choices=[
            (
                MERGE,
                "Are added to today's, and replace those with their id, or where they have none, with their name; a service"
                " the one with its slug",
            ),
            (REPLACE, "Replace all of today's: what is not in the file is removed"),
        ],
    )
    note = NoteField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.content: Any = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "file" in self.errors or "text" in self.errors:
            return cleaned
        try:
            text = _text_of(cleaned["file"]) if cleaned.get("file") else cleaned["text"]
        except UnicodeDecodeError:
            self.add_error("file", "This is no file of text in UTF-8.")
            return cleaned
        # As a browser sends it back: what was looked at is known by it.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.data = self.data.copy()
        self.data["text"] = cleaned["text"] = text
        if not text.strip():
            self.add_error("file", "Choose a file, or put its text below.")
            return cleaned
        if "\0" in text:
            self.add_error("text", "This is no text: it has U+0000.")
            return cleaned
        try:
            self.content = read_file(text)
        except RoutesError as error:
            self.add_error("text", str(error))
        return cleaned

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is not None and (file.size or 0) > MAX_BYTES:
            raise forms.ValidationError(f"The file has more than {MAX_BYTES:,} bytes, which no export has.")
        return file

    def digest(self) -> str:
        """Of all that decides what an import changes."""
        asked = f"{self.cleaned_data['mode']}\n{self.cleaned_data['text']}"
        return sha256(asked.encode(errors="surrogatepass")).hexdigest()


def _text_of(file: UploadedFile) -> str:
    data: bytes = file.read()
    return data.decode("utf-8-sig")
