"""The form that takes a price file, and keeps it while the other fields are mended and the comparison is looked at."""

from datetime import UTC
from typing import Any

from django import forms
from django.core import signing

from routes.catalog.formats import MAX_BYTES, read_prices
from routes.catalog.listed import PriceList, UnreadablePrices

EVERYBODY, NEGOTIATED = "everybody", "negotiated"
#: Signed, compressed text of a file as it travels with the page; the published table takes a twentieth.
MAX_KEPT = 6 * 1024 * 1024
_SALT = "routes.catalog.forms"
_KEPT_SECONDS = 24 * 60 * 60


class ImportForm(forms.Form):
    """A file, for whom and from when its prices hold.

    No folder is shared by the machines that serve pages, so the file travels with the page, compressed and signed for
    the person who sent it: `kept` is the field, `kept_text` its next value. A valid form has `listed`, what was read.
    """

    file = forms.FileField(
        required=False,
        label="Price table",
        widget=forms.FileInput(attrs={"accept": ".json,application/json"}),
        help_text="The LiteLLM table as it is published (model_prices_and_context_window.json), or your own JSON list.",
    )
    whose = forms.ChoiceField(label="Whose prices these are", widget=forms.Select)
    since = forms.DateTimeField(
        required=False,
        label="In force since (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: changed prices start now, and models that are new count as always priced so.",
    )
    providers = forms.CharField(
        required=False,
        max_length=2_000,
        label="Only these providers",
        help_text="As the table names them, with blanks between them. Empty: all. What a request for a model that several"
        " providers list may cost is estimated at the price of the first of them by name.",
    )
    kept = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, user: Any, org: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user
        self.listed: PriceList | None = None
        self.file_name = self.kept_text = ""
        whose = [(NEGOTIATED, f"Negotiated by {org.name}, and stronger than everybody's")]
        if user.is_superuser:
            # Everybody's prices change what the plans of every organisation say.
            whose.insert(0, (EVERYBODY, "Everybody's, in every organisation"))
        self.fields["whose"].choices = whose  # type: ignore[attr-defined]

    def clean_since(self) -> Any:
        since = self.cleaned_data["since"]
        return None if since is None else since.astimezone(UTC)

    def clean_providers(self) -> list[str]:
        return sorted(set(self.cleaned_data["providers"].replace(",", " ").split()))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "file" not in self.errors:
            try:
                raw = self._bytes(cleaned)
                self.listed = read_prices(raw)
            except UnreadablePrices as error:
                self.add_error("file", str(error))
            else:
                self._keep(raw)
        return cleaned

    def _bytes(self, cleaned: dict[str, Any]) -> bytes:
        """What was sent now, else what was kept."""
        if sent := cleaned.get("file"):
            self.file_name = sent.name
            if sent.size > MAX_BYTES:
                raise UnreadablePrices(f"The file has more than {MAX_BYTES:,} bytes, which no price table has.")
            raw: bytes = sent.read()
            return raw
        if not (kept := cleaned.get("kept")):
            raise UnreadablePrices("Choose a file.")
        try:
            user, self.file_name, text = signing.loads(kept, salt=_SALT, max_age=_KEPT_SECONDS)
        except signing.BadSignature:
            user, text = None, ""
        if user != self._user.pk:
            raise UnreadablePrices("The file that was kept has expired. Choose it again.")
        return str(text).encode()

    def _keep(self, raw: bytes) -> None:
        text = signing.dumps([self._user.pk, self.file_name, raw.decode()], salt=_SALT, compress=True)
        if len(text) <= MAX_KEPT:
            self.kept_text = text
        else:
            self.add_error("file", "This file is too large for the page. Import it by: manage.py import_prices")
