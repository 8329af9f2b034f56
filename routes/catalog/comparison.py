"""What importing a price list would change, as a value that can be shown, named by a digest, and then done."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from routes.catalog.listed import FACTS, FIGURES, Fact, Key, ListedPrice, PriceList, RefusedPrice
from routes.catalog.models import ModelPrice
from routes.engine.canonical import canonical_bytes
from routes.times import rfc3339

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A column, and what it was and becomes. None: there is no such price, or nobody knows."""

    field: str
    old: Decimal | Fact
    new: Decimal | Fact

    @property
    def percent(self) -> Decimal | None:
        """How much dearer (or, below 0, cheaper) a price becomes; None for facts, and from or to no price or 0."""
        if self.field not in FIGURES or not isinstance(self.old, Decimal) or not isinstance(self.new, Decimal):
            return None
        return (self.new - self.old) / self.old * 100 if self.old and self.new else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """One model whose row changes.

    `kind` is `added` (a row where there was none), `changed` (another price: a new row, the old one stays) or `facts`
    (the same price: what no cost depends on is updated in place). `since` is the start of the new row, None: in force
    since ever. `until` is when a later price of the table takes over, None where there is none.
    """

    kind: str
    provider: str
    model: str
    fields: tuple[FieldChange, ...]
    since: datetime | None = None
    until: datetime | None = None
    #: The row in force, None for what is added, and those that follow it.
    row: ModelPrice | None = None
    later: tuple[ModelPrice, ...] = ()

    @property
    def key(self) -> Key:
        return self.provider, self.model

    @property
    def prices(self) -> tuple[FieldChange, ...]:
        return tuple(field for field in self.fields if field.field in FIGURES)

    @property
    def facts(self) -> dict[str, Fact]:
        """What the file states newly of the model."""
        return {field.field: field.new for field in self.fields if field.field in FACTS}  # type: ignore[misc]

    @property
    def size(self) -> Decimal:
        """The largest change of a price in percent, either way; input or output from or to 0 is larger than any."""
        sizes = [
            Decimal("Infinity") if field.percent is None else abs(field.percent)
            for field in self.prices
            if field.field in FIGURES[:2] or field.percent is not None
        ]
        return max(sizes, default=Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What an import would do, and what it leaves alone.

    `unlisted` are in the table and no longer in the file, though it has prices of their provider: they stay as they are.
    `left_out` counts prices of providers that were not asked for. `digest` names all that would be done: equal digests,
    equal import.
    """

    org_id: Any
    since: datetime | None
    providers: tuple[str, ...]
    file: PriceList
    changed: tuple[PriceChange, ...]
    added: tuple[PriceChange, ...]
    facts: tuple[PriceChange, ...]
    unchanged: int
    unlisted: tuple[Key, ...]
    refused: tuple[RefusedPrice, ...]
    left_out: int

    @property
    def changes(self) -> tuple[PriceChange, ...]:
        """The largest changes of prices first, then what is added, then facts."""
        return self.changed + self.added + self.facts

    @property
    def counts(self) -> dict[str, int]:
        return {
            "changed": len(self.changed),
            "added": len(self.added),
            "facts": len(self.facts),
            "unchanged": self.unchanged,
            "unlisted": len(self.unlisted),
            "refused": len(self.refused),
            "not_by_tokens": self.file.not_by_tokens,
            "repeated": self.file.repeated,
            "rounded": self.file.rounded,
            "left_out": self.left_out,
        }

    @property
    def digest(self) -> str:
        """`sha256:` and the hex SHA-256 of the file's digest, whom and when it is for, and every change with what was."""
        said = [
            self.file.digest,
            None if self.org_id is None else str(self.org_id),
            rfc3339(self.since),
            [
                [
                    change.kind, *change.key, change.since is None,
                    None if change.row is None else change.row.pk, [row.pk for row in change.later],
                    [[field.field, _said(field.old), _said(field.new)] for field in change.fields],
                ]
                for change in self.changes
            ],
        ]  # fmt: skip
        return f"sha256:{sha256(canonical_bytes(said)).hexdigest()}"


def compare(
    file: PriceList,
    rows: Iterable[ModelPrice],
    *,
    org_id: Any,
    at: datetime,
    since: datetime | None,
    providers: Collection[str],
    priced_for_all: Collection[Key],
) -> ImportPlan:
    """What taking these prices into these rows would change.

    `rows` are all of one scope: everybody's, or those negotiated for `org_id`. They are compared as they are in force at
    `at`, which is `since` or, where that is None, now. `providers` restricts, empty to all. `priced_for_all` are the models
    that everybody has a price for; it matters to negotiated prices only.

    A changed price starts at `at`. One that is new has no start, unless `since` is given: then traffic of last week that
    is replayed against it has a price. A negotiated price for what everybody's price holds is no such case, and starts
    at `at`: traffic from before keeps its price.
    """
    history: dict[Key, list[ModelPrice]] = {}
    for row in rows:
        history.setdefault((row.provider, row.model), []).append(row)
    wanted = [price for price in file.prices if not providers or price.provider in providers]
    changed, added, facts = [], [], []
    for price in wanted:
        known = sorted(history.get(price.key, ()), key=lambda row: row.since or _EVER)
        begun = [row for row in known if row.since is None or row.since <= at]
        later = [row for row in known if row.since is not None and row.since > at]
        if not begun:
            start = since if since is not None or price.key not in priced_for_all else at
            fields = [FieldChange(name, None, new) for name, new in {**price.figures, **price.facts}.items()]
            told = [field for field in fields if field.new is not None]
            added.append(_change("added", price, told, None, later, start))
            continue
        fields = _differences(begun[-1], price)
        if any(field.field in FIGURES for field in fields):
            changed.append(_change("changed", price, fields, begun[-1], later, at))
        elif fields:
            facts.append(_change("facts", price, fields, begun[-1], later))
    listed = {price.key for price in file.prices} | {refusal.key for refusal in file.refused if refusal.key}
    covered = {price.provider for price in wanted}
    refused = [
        refusal for refusal in file.refused if not providers or refusal.key is None or refusal.key[0] in providers
    ]
    changed.sort(key=lambda change: (-change.size, change.key))
    return ImportPlan(
        org_id=org_id,
        since=since,
        providers=tuple(sorted(providers)),
        file=file,
        changed=tuple(changed),
        added=tuple(sorted(added, key=lambda change: change.key)),
        facts=tuple(sorted(facts, key=lambda change: change.key)),
        unchanged=len(wanted) - len(changed) - len(added) - len(facts),
        unlisted=tuple(sorted(key for key in history if key[0] in covered and key not in listed)),
        refused=tuple(refused),
        left_out=len(file.prices) - len(wanted),
    )


def _change(
    kind: str,
    price: ListedPrice,
    fields: list[FieldChange],
    row: ModelPrice | None,
    later: list[ModelPrice],
    since: datetime | None = None,
) -> PriceChange:
    return PriceChange(
        kind=kind,
        provider=price.provider,
        model=price.model,
        fields=tuple(fields),
        since=since,
        until=later[0].since if later else None,
        row=row,
        later=tuple(later),
    )


def _differences(row: ModelPrice, price: ListedPrice) -> list[FieldChange]:
    said: dict[str, Any] = {**price.figures, **price.facts}
    return [FieldChange(name, getattr(row, name), new) for name, new in said.items() if getattr(row, name) != new]


def _said(value: Decimal | Fact) -> str | int | bool | None:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, date) else value
