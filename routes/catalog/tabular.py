"""A price list as a spreadsheet writes it: CSV with a line of headings. Pure."""

import csv
import re
from decimal import Decimal
from typing import Any, Final

from routes.catalog.listed import FACTS, FIGURES, UnreadablePrices

_DELIMITERS: Final = ",;\t"
#: How people head the columns; all others have the names of the list.
_SHORT: Final = {
    "input": "input_usd_per_million",
    "output": "output_usd_per_million",
    "cached_input": "cached_input_usd_per_million",
    "retires": "retires_on",
}
#: What a line of headings has, or it is no price list: logs of requests have providers and models, too.
_NEEDED: Final = {"provider", "model", *FIGURES[:2]}
_FLAGS: Final = {"true": True, "yes": True, "false": False, "no": False}
_is_number = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40})?", re.ASCII).fullmatch
#: As spreadsheets write numbers where the comma is the sign of decimals; columns are parted by semicolons there.
_is_with_comma = re.compile(r"[0-9]{1,20},[0-9]{1,40}", re.ASCII).fullmatch


def csv_rows(text: str) -> list[dict[str, Any]] | None:
    """The rows as the JSON list has them, where the first line names provider, model, and the prices of input and output;
    else None.

    Empty cells are left out. What is no number, or stands beyond the last heading, is passed on, to be refused by its row.
    Raises `UnreadablePrices` for CSV that is broken, and for a heading that is there twice.
    """
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        lines = csv.reader(text.lstrip("\r\n").splitlines(keepends=True), delimiter=delimiter, strict=True)
        names = [_heading(name) for name in next(lines, [])]
        if not set(names) >= _NEEDED:
            return None
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise UnreadablePrices(f"There are two columns {twice}. Keep one of them.")
        return [_row(names, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UnreadablePrices(f"The file is no CSV that can be read: {error}.") from None


def _heading(name: str) -> str:
    name = re.sub(r"\s+", "_", name.strip().lower())
    return _SHORT.get(name, name)


def _row(names: list[str], cells: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for place, cell in enumerate(cells):
        if not (cell := cell.strip()):
            continue
        name = names[place] if place < len(names) and names[place] else f"column {place + 1}"
        row[name] = _value(name, cell)
    return row


def _value(name: str, cell: str) -> Any:
    if name in FIGURES:
        written = cell.replace(",", ".") if _is_with_comma(cell) else cell
        return Decimal(written) if _is_number(written) else cell
    if name in FACTS and cell.lower() in _FLAGS:
        return _FLAGS[cell.lower()]
    return cell
