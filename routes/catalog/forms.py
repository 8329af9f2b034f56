"""The form that takes a price file, and keeps it while the other fields are mended and the comparison is looked at."""

import json
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


#: The fields of a price that is typed.
TYPED = ("provider", "model", "input", "cached_input", "output")


class TypedInVain(Exception):
    """Something of the price that was typed is missing or wrong, which its field says."""


class ImportForm(forms.Form):
    """A file or the price of one model, for whom and from when they hold.

    No folder is shared by the machines that serve pages, so the file travels with the page, compressed and signed for
    the person who sent it: `kept` is the field, `kept_text` its next value. A valid form has `listed`, what was read.
    """

    file = forms.FileField(
        required=False,
        label="Price table",
        widget=forms.FileInput(attrs={"accept": ".json,.csv,application/json,text/csv"}),
        help_text="The LiteLLM table as it is published (model_prices_and_context_window.json), or your own list as JSON"
        " or CSV: provider, model, input, output, and if there is one cached_input, in USD per million tokens.",
    )
    provider = forms.CharField(required=False, max_length=100)
    model = forms.CharField(required=False, max_length=200)
    input = forms.DecimalField(required=False, label="Input", help_text="USD per million tokens.")
    cached_input = forms.DecimalField(required=False, label="Cached input", help_text="Empty: as other input.")
    output = forms.DecimalField(required=False, label="Output", help_text="USD per million tokens.")
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
            # They change what the plans of every organisation say, so nobody gets there by leaving the form as it is.
            whose.append((EVERYBODY, "Everybody's, in every organisation"))
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
            except TypedInVain:
                pass
            except UnreadablePrices as error:
                self.add_error("file", str(error))
            else:
                self._keep(raw)
                if self.is_typed and not cleaned.get("file") and self.listed.refused:
                    self.add_error(None, f"{self.listed.refused[0].reason}.")
        return cleaned

    @property
    def is_typed(self) -> bool:
        return any(self[field].value() or field in self.errors for field in TYPED)

    def _bytes(self, cleaned: dict[str, Any]) -> bytes:
        """What was sent now, else what was typed, else what was kept."""
        if sent := cleaned.get("file"):
            self.file_name = sent.name
            if sent.size > MAX_BYTES:
                raise UnreadablePrices(f"The file has more than {MAX_BYTES:,} bytes, which no price table has.")
            raw: bytes = sent.read()
            return raw
        if any(cleaned.get(field) not in (None, "") for field in TYPED):
            return self._typed(cleaned)
        if not (kept := cleaned.get("kept")):
            raise UnreadablePrices("Choose a file, or type the price of a model.")
        try:
            user, self.file_name, text = signing.loads(kept, salt=_SALT, max_age=_KEPT_SECONDS)
        except signing.BadSignature:
            user, text = None, ""
        if user != self._user.pk:
            raise UnreadablePrices("The file that was kept has expired. Choose it again.")
        return str(text).encode()

    def _typed(self, cleaned: dict[str, Any]) -> bytes:
        """The price of one model as a list; what is wrong with it is said at the fields."""
        for field in ("provider", "model", "input", "output"):
            if cleaned.get(field) in (None, "") and field not in self.errors:
                self.add_error(field, "The price of a model needs this.")
        if not self.errors.keys().isdisjoint(TYPED):
            raise TypedInVain
        self.file_name = f"typed by {self._user}"
        price = {"provider": cleaned["provider"], "model": cleaned["model"]}
        figures = {f"{field}_usd_per_million": cleaned[field] for field in ("input", "cached_input", "output")}
        # As numbers are written: a decimal is no value of JSON, and a float is not exact.
        written = [f'"{name}": {usd:f}' for name, usd in figures.items() if usd is not None]
        return f"[{json.dumps(price)[:-1]}, {', '.join(written)}}}]".encode()

    def _keep(self, raw: bytes) -> None:
        text = signing.dumps([self._user.pk, self.file_name, raw.decode()], salt=_SALT, compress=True)
        if len(text) <= MAX_KEPT:
            self.kept_text = text
        else:
            self.add_error("file", "This file is too large for the page. Import it by: manage.py import_prices")
