"""US dollars for people."""

from decimal import Decimal


def usd_text(amount: float | Decimal, *, signed: bool = False) -> str:
    """`$1,204.50`; below ten cents as many decimals as say something: `$0.0042`. `signed` writes + as well."""
    value = Decimal(str(amount))
    size = abs(value)
    places = 2
    while size and places < 9 and size < Decimal(10) ** -(places - 1):
        places += 1
    sign = "−" if value < 0 else ("+" if signed and value > 0 else "")
    return f"{sign}${size:,.{places}f}"
