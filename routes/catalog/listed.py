"""A price as a file gives it: the values, and the strict reading of one entry's figures and facts. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

from routes.engine.reading import shown, unsupported_in
from routes.errors import RoutesError

#: One cent a token. The dearest model that was ever published costs less; what is above has the wrong unit.
MAX_USD_PER_MILLION = Decimal(10_000)

#: What costs depend on. A file says all of it at once: a figure that it leaves out is none.
FIGURES = (
    "input_usd_per_million", "output_usd_per_million", "cached_input_usd_per_million", "batch_input_usd_per_million",
    "batch_output_usd_per_million", "flex_input_usd_per_million", "flex_output_usd_per_million",
)  # fmt: skip
#: What no cost depends on. A file that leaves one out says nothing about it.
FACTS = (
    "max_input_tokens", "max_output_tokens", "supports_images", "supports_audio", "supports_tools",
    "supports_reasoning", "retires_on",
)  # fmt: skip

_MAX_COUNT = 2**31 - 1
_PLACES = Decimal("1e-9")
_EXACT = Context(prec=200)
_is_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch
_is_count = re.compile(r"[0-9]{1,12}(\.0*)?", re.ASCII).fullmatch

Fact = int | bool | date | None
Key = tuple[str, str]


class UnreadablePrices(RoutesError):
    """The file is no price table that can be read."""

    code = "unreadable_prices"


class Refused(Exception):
    """Why an entry cannot be taken. `key` is its (provider, model) where that can be told."""

    def __init__(self, reason: str, key: Key | None = None) -> None:
        super().__init__(reason)
        self.key = key


# --- Values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrice:
    """A price as a file gives it. `name` is what it is called there.

    `figures` has all of `FIGURES`, in USD per million tokens with nine decimals, None where there is no such price;
    `rounded` says that one of them had more. `facts` has those of `FACTS` that the file states; None states that there
    is none.
    """

    name: str
    provider: str
    model: str
    figures: Mapping[str, Decimal | None]
    facts: Mapping[str, Fact]
    rounded: bool = False

    @property
    def key(self) -> Key:
        return self.provider, self.model


@dataclass(frozen=True, slots=True)
class RefusedPrice:
    """An entry that cannot be taken, and why. `key` is its (provider, model) where that can be told."""

    name: str
    reason: str
    key: Key | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """What a file says. No two prices have the same provider and model.

    `format` is its form in words, `digest` is `sha256:` and the hex SHA-256 of the bytes. Counted besides:
    `not_by_tokens`, entries that are billed by something else, or by no flat price; `repeated`, further names of a price
    that is there; `rounded`, prices of which a figure was rounded half to even.
    """

    format: str
    digest: str
    prices: tuple[ListedPrice, ...]
    refused: tuple[RefusedPrice, ...] = ()
    not_by_tokens: int = 0
    repeated: int = 0

    @property
    def rounded(self) -> int:
        return sum(price.rounded for price in self.prices)

    @property
    def providers(self) -> list[str]:
        """In the order of their names."""
        return sorted({price.provider for price in self.prices})

    def source(self, file_name: str) -> str:
        """Where the figures come from, for people."""
        return f"{self.format}, {printable(file_name)}"[:200]


# --- Values of an entry ---------------------------------------------------------------------------------------------


def figures_of(
    costs: Mapping[str, object], *, shift: int = 0, names: Mapping[str, str] | None = None
) -> tuple[dict[str, Decimal | None], bool]:
    """The figures of amounts times 10 to the power of `shift`, and whether one had to be rounded. Raises `Refused`.

    `names` says what the columns are called in the file.
    """
    figures: dict[str, Decimal | None] = {}
    rounded = False
    for column, raw in costs.items():
        name = column if names is None else names[column]
        if raw is None:
            figures[column] = None
            continue
        if not isinstance(raw, Decimal):
            raise Refused(f"{name} is a number, not {as_text(raw)}")
        if raw < 0:
            raise Refused(f"{name} is below 0: {as_text(raw)}")
        # By the exponent first: beyond these ones nothing can be computed.
        if raw and (not raw.is_finite() or raw.adjusted() > 9 or _EXACT.scaleb(raw, shift) > MAX_USD_PER_MILLION):
            most = f"{MAX_USD_PER_MILLION:,} USD per million tokens"
            raise Refused(f"{name} is {as_text(raw)}; more than {most} is another unit")
        usd = _EXACT.scaleb(raw, shift) if raw.adjusted() > -30 else Decimal(0)
        kept = usd.quantize(_PLACES, rounding=ROUND_HALF_EVEN, context=_EXACT)
        if raw and not kept:
            raise Refused(
                f"{name} is {as_text(raw)}: nine decimals per million tokens do not hold it, and it is not free"
            )
        rounded |= kept != usd
        figures[column] = abs(kept)  # -0.0 is 0
    return figures, rounded


def facts_of(said: Mapping[str, object], names: Mapping[str, str] | None = None) -> dict[str, Fact]:
    """The facts that are stated. Raises `Refused`. `names` says what they are called in the file."""
    facts: dict[str, Fact] = {}
    for fact, raw in said.items():
        name = fact if names is None else names[fact]
        if raw is None:
            facts[fact] = None
        elif fact == "retires_on":
            facts[fact] = _day(name, raw)
        elif fact.startswith("max_"):
            facts[fact] = _count(name, raw)
        elif isinstance(raw, bool):
            facts[fact] = raw
        else:
            raise Refused(f"{name} is true or false, not {as_text(raw)}")
    return facts


def text(name: str, raw: object, longest: int) -> str:
    """Text that can be a name. Raises `Refused`."""
    if raw is None or raw == "":
        raise Refused(f"{name} is missing")
    if not isinstance(raw, str):
        raise Refused(f"{name} is text, not {as_text(raw)}")
    if len(raw) > longest:
        raise Refused(f"{name} has {len(raw):,} characters; at most {longest} are kept")
    if raw != raw.strip() or unsupported_in(raw):
        raise Refused(f"{name} has control characters, or blanks around it")
    return raw


def as_text(value: object) -> str:
    """The value for a message."""
    return str(value) if isinstance(value, Decimal) else shown(value)


def printable(name: str) -> str:
    """The name cut, and without what a page cannot carry."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unsupported_in(sign) else sign for sign in name[:200])


def _count(name: str, raw: object) -> int | None:
    """A number of tokens, also where it is written as text or with a fraction of zeros; 0 is a limit nobody knows."""
    written = format(raw, "f") if isinstance(raw, Decimal) and raw.is_finite() and abs(raw.adjusted()) < 12 else raw
    if not isinstance(written, str) or not _is_count(written):
        raise Refused(f"{name} is a whole number from 0, not {as_text(raw)}")
    count = int(written.partition(".")[0])
    if count > _MAX_COUNT:
        raise Refused(f"{name} is {as_text(raw)}, more than any model has")
    return count or None


def _day(name: str, raw: object) -> date:
    if isinstance(raw, str) and _is_day(raw):
        try:
            return date.fromisoformat(raw)
        except ValueError:
            pass
    raise Refused(f"{name} is a day like 2027-03-31, not {as_text(raw)}")
