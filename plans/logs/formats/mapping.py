"""Whose column is whose: from the columns of a file to those of `RequestLog`, and what a file probably means."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from plans.errors import PlansError
from plans.logs import cells
from plans.logs.columns import COLUMNS, MAPPED, REQUIRED
from plans.logs.formats.items import Item, Record, Records, Refusal, Row

#: Distinct sets of keys of JSON objects whose mapping is kept.
_KEPT = 1_000


class BadMapping(PlansError):
    """A mapping names what does not exist, or the same column twice."""

    code = "bad_mapping"


@dataclass(frozen=True, slots=True)
class Mapping:
    """`columns`: column of the file → ours, a conversion, or "" for leaving it out. `constants`: ours → its text.

    A column that is not mentioned is the one of the same name. A constant stands where a record itself says nothing.
    """

    columns: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_texts(cls, columns: Iterable[str], constants: Iterable[str]) -> "Mapping":
        """From `theirs=ours` and `ours=value`, as a command has them. Raises `BadMapping`."""
        mapped: dict[str, str] = {}
        for text in columns:
            # Ours never has the sign, theirs may.
            theirs, sign, ours = text.rpartition("=")
            if not sign:
                raise BadMapping(f"{text} is no mapping; write their_name=our_name, or their_name= to leave it out.")
            if theirs in mapped:
                raise BadMapping(
                    f"{theirs} is mapped twice: to {mapped[theirs] or 'nothing'}, and to {ours or 'nothing'}."
                )
            mapped[theirs] = ours
        fixed: dict[str, str] = {}
        for text in constants:
            ours, sign, value = text.partition("=")
            if not sign or not value:
                raise BadMapping(f"{text} sets nothing; write our_name=value, for example provider=openai.")
            if ours in fixed:
                raise BadMapping(f"{ours} is set twice: to {fixed[ours]}, and to {value}.")
            fixed[ours] = value
        return cls(mapped, fixed)

    def values(self) -> dict[str, Any]:
        """The constants as values of their columns, after a look at the whole mapping. Raises `BadMapping`."""
        for theirs, ours in self.columns.items():
            if ours and ours not in MAPPED:
                raise BadMapping(f"{theirs} is mapped to {ours}, which is no column. Known are {', '.join(MAPPED)}.")
        found = {}
        for ours, text in self.constants.items():
            if ours not in COLUMNS:
                raise BadMapping(f"{ours} is no column. Known are {', '.join(COLUMNS)}.")
            if ours == "request_id":
                raise BadMapping("Each request has its own request_id; it cannot be the same for all.")
            try:
                found[ours] = cells.read(ours, COLUMNS[ours], text)
            except cells.Refused as refused:
                raise BadMapping(f"{refused}.") from refused
        return found

    def target(self, theirs: str) -> tuple[str, cells.Cell] | None:
        """(our column, how to read it), or None for a column to leave out. Raises `KeyError` for an unknown one."""
        if theirs not in self.columns:
            return theirs, COLUMNS[theirs]
        ours = self.columns[theirs]
        if ours == "":
            return None
        return (ours, COLUMNS[ours]) if ours == theirs and ours in COLUMNS else MAPPED[ours]

    def problem(self, columns: Sequence[str]) -> str | None:
        """Why a file whose header has these columns cannot be read so, or None."""
        if absent := [name for name in self.columns if name not in columns]:
            return f"the mapping names {_listed(absent)}, which the header lacks: {_listed(columns)}"
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            return f"column in the header twice: {_listed(twice)}"
        if wrong := self._unfit(columns):
            return wrong
        there = {target[0] for name in columns if (target := self.target(name))} | set(self.constants)
        if lacking := [name for name in REQUIRED if name not in there]:
            return f"column missing in the header: {', '.join(lacking)}; map a column to each of them"
        return None

    def _unfit(self, columns: Sequence[str]) -> str | None:
        """Why no record with these columns can be stored, or None."""
        if unknown := [name for name in columns if name not in COLUMNS and name not in self.columns]:
            return f"unknown column in the header: {_listed(unknown)}; map each to one of ours, or leave it out"
        theirs: dict[str, str] = {}
        for name in columns:
            if target := self.target(name):
                if target[0] in theirs:
                    return f"two columns are {target[0]}: {_listed([theirs[target[0]], name])}; leave one out"
                theirs[target[0]] = name
        return None

    def wanted(self, columns: Sequence[str]) -> list[str]:
        """Those of a file's columns that are read."""
        return [name for name in columns if name not in self.columns or self.columns[name]]

    def fields(self, columns: Sequence[str]) -> list[tuple[int, str, str, cells.Cell]]:
        """(index, their name, our name, reader) of each column to read. Raises `Refused` where they do not fit."""
        if wrong := self._unfit(columns):
            raise cells.Refused(wrong.replace("column in the header", "key"))
        targets = ((index, name, self.target(name)) for index, name in enumerate(columns))
        return [(index, name, *target) for index, name, target in targets if target]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(cells.shown(name) for name in names[:5]) + more


def mapped_rows(records: Records, mapping: Mapping) -> Iterator[Item]:
    """Rows of records whose columns are ours, or are mapped to ours.

    A cell that is empty or null is the column's default; `requested_model` without a value is the model that served.
    A header that cannot be used is one refusal of line 1, and then the end.
    """
    if records.header is not None and (wrong := mapping.problem(records.header)):
        yield Refusal(1, wrong)
        return
    constants = mapping.values()
    fields_of: dict[tuple[str, ...], list[tuple[int, str, str, cells.Cell]]] = {}
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        try:
            fields = fields_of.get(record.columns)
            if fields is None:
                fields = mapping.fields(record.columns)
                if len(fields_of) < _KEPT:
                    fields_of[record.columns] = fields
            values = _values(record, fields, constants)
        except cells.Refused as refused:
            yield Refusal(record.line, _of_a_list(record) or str(refused))
        else:
            yield Row(record.line, values)


def _of_a_list(record: Record) -> str | None:
    """What to do with an object that is no row, but has a list of objects in it. None for any other."""
    if any(name in COLUMNS for name in record.columns):
        return None
    for name, value in zip(record.columns, record.cells, strict=True):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inside = cells.shown(name)
            return f"is no row, but has a list in {inside}; write what is in it one a line: jq -c '.[{inside}][]'"
    return None


def _values(
    record: Record, fields: list[tuple[int, str, str, cells.Cell]], constants: dict[str, Any]
) -> dict[str, Any]:
    values = dict(constants)
    for index, theirs, ours, cell in fields:
        given = record.cells[index]
        if given is not None and not (isinstance(given, str) and given == ""):
            values[ours] = cells.read(theirs, cell, given)
    for name in REQUIRED:
        if name not in values:
            raise cells.Refused(f"{name}: is empty, and has to be there")
    if "requested_model" not in values:
        values["requested_model"] = values["model"]
    return values


# --- Guesses --------------------------------------------------------------------------------------------------------

#: What columns of others usually mean, in order of preference: our column, or a conversion → their names, in lower
#: case without spaces, dashes and underscores. A name of a duration that does not say its unit means nothing certain.
_NAMES: dict[str, tuple[str, ...]] = {
    "request_id": ("id", "requestid", "callid", "traceid", "generationid"),
    "ts": ("timestamp", "createdat", "starttime", "requesttime", "startedat", "datetime", "time", "date", "created"),
    "model": ("modelname", "servedmodel", "responsemodel"),
    "requested_model": ("modelrequested", "requestmodel", "modelgroup"),
    "provider": ("providername", "customllmprovider", "vendor"),
    "input_tokens": ("prompttokens", "tokensprompt", "promptlength", "tokensin", "inputtokencount"),
    "output_tokens": ("completiontokens", "tokenscompletion", "generatedtokens", "tokensout", "outputtokencount"),
    "cached_tokens": ("cachedinputtokens", "cachereadinputtokens", "cachereadtokens"),
    "max_output_tokens": ("maxtokens", "maxcompletiontokens"),
    "cost_usd": ("cost", "spend", "totalcost", "costtotal", "totalcostusd", "usd", "responsecost"),
    "cost_cents": ("costcents", "costincents"),
    "latency_ms": ("latencyms", "durationms", "responsetimems", "totaltimems", "elapsedms", "requestdurationms"),
    "latency_s": ("latencyseconds", "latencys", "durationseconds", "durations", "responsetimeseconds"),
    "status": ("statuscode", "httpstatus", "responsestatus"),
    "tag": ("feature", "application", "app", "usecase"),
    "cluster_key": ("enduser", "userid", "user", "customerid", "sessionid", "apikeyhash"),
    "finish_reason": ("stopreason",),
    "is_stream": ("stream", "streamed", "streaming"),
    "cached": ("cachehit",),
}
_GUESSES = {name.replace("_", ""): name for name in MAPPED}  # in another case, or with blanks
_GUESSES |= {name: ours for ours, names in _NAMES.items() for name in names}


def guess(columns: Sequence[str], examples: dict[str, list[Any]], mapping: Mapping) -> dict[str, str]:
    """What the columns that nobody mapped, and that are not called as ours, probably are: theirs → ours.

    A guess is made only where most examples of the column can be read as it says. Two are never one column.
    """
    taken = {
        target[0] for name in columns if name in COLUMNS or name in mapping.columns if (target := _known(mapping, name))
    }
    found: dict[str, str] = {}
    candidates = [name for name in columns if name not in COLUMNS and name not in mapping.columns]
    ranks = {name: rank for rank, name in enumerate(_GUESSES)}
    for name in sorted(candidates, key=lambda name: ranks.get(_plain_name(name), len(ranks))):
        guessed = _GUESSES.get(_plain_name(name))
        if guessed is None or MAPPED[guessed][0] in taken:
            continue
        for possible in (guessed, "ts_utc") if guessed == "ts" else (guessed,):
            if _is_likely(possible, examples.get(name, [])):
                found[name] = possible
                taken.add(MAPPED[possible][0])
                break
    return found


def _known(mapping: Mapping, name: str) -> tuple[str, cells.Cell] | None:
    try:
        return mapping.target(name)
    except KeyError:
        return None


def _plain_name(name: str) -> str:
    return "".join(char for char in name.lower() if char not in " _-.")


def _is_likely(ours: str, examples: list[Any]) -> bool:
    """Whether most of the examples can be read so; a few bad rows do not change what a column is."""
    read = 0
    for example in examples:
        with suppress(cells.Refused):
            cells.read(ours, MAPPED[ours][1], example)
            read += 1
    return 2 * read >= len(examples)
