"""US dollars for people."""

from decimal import Decimal


def usd_text(amount: float | Decimal, *, signed: bool = False, finest: float | Decimal = 0) -> str:
    """`$1,204.50`; below ten cents as many decimals as say something: `$0.0042`. `signed` writes + as well. A difference
    as small as `finest` can be seen (0: nobody looks for one)."""
    value = Decimal(str(amount))
    places = max(_places(abs(value)), _places(abs(Decimal(str(finest)))))
    sign = "−" if value < 0 else ("+" if signed and value > 0 else "")
    return f"{sign}${abs(value):,.{places}f}"


def usd_range(low: float | Decimal, high: float | Decimal) -> str:
    """From one amount to another: `+$19.80 to +$20.78`, with as many decimals as tell them apart."""
    width = Decimal(str(high)) - Decimal(str(low))
    return " to ".join(usd_text(end, signed=True, finest=width) for end in (low, high))


def _places(size: Decimal) -> int:
    places = 2
    while size and places < 9 and size < Decimal(10) ** -(places - 1):
        places += 1
    return places
