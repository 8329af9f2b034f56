"""US dollars as integer nano-dollars: converted once, where a value is built, and exact from there on."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

NANO = 1_000_000_000


def nano_usd(amount: int | float | Decimal) -> int:
    """The amount in nano-dollars, rounded half to even.

    A float stands for the shortest decimal that reads back as it (its `repr`), so that 0.02, Decimal("0.02") and the
    JSON number 0.02 are the same amount. Raises `TypeError` for what is no number (also for bool) and `ValueError` for
    what is not finite or beyond 10**30.
    """
    if type(amount) is float:
        scaled = amount * 1e9
        if -1e12 < scaled < 1e12:
            nearest = round(scaled)
            # The product is off by less than 0.001 here, so away from the middle between two integers it decides.
            if -0.499 < scaled - nearest < 0.499:
                return nearest
    elif type(amount) is int:
        return amount * NANO
    return _exactly(amount)


def usd_number(nano: int) -> int | float:
    """The JSON number for an amount in nano-dollars: an integer where it is whole, else the nearest float."""
    whole, rest = divmod(nano, NANO)
    return nano / NANO if rest else whole


def _exactly(amount: int | float | Decimal) -> int:
    from decimal import Decimal  # only amounts on the very border come here; the import costs milliseconds

    if isinstance(amount, bool) or not isinstance(amount, int | float | Decimal):
        raise TypeError(f"An amount of USD is a number, not {type(amount).__name__}.")
    if not isfinite(amount):
        raise ValueError("An amount of USD is finite.")
    exact = Decimal(repr(float(amount))) if isinstance(amount, float) else Decimal(amount)
    # Outside these exponents the ratio below would need as many digits as the exponent says.
    if exact.adjusted() > 30:
        raise ValueError("An amount of USD is below 10**30.")
    if exact.adjusted() < -10:
        return 0
    numerator, denominator = exact.as_integer_ratio()
    quotient, rest = divmod(numerator * NANO, denominator)
    above_half = 2 * rest - denominator
    return quotient + (above_half > 0 or (above_half == 0 and quotient % 2 == 1))
