"""What tokens cost, as the engine says: what a gateway estimates and what a replay computes agree to the nano-dollar."""

from routes.engine.prices import Price, PriceTable, half_even

__all__ = ["Price", "PriceList", "half_even"]


class PriceList(PriceTable):
    """The engine's table, under the names that the replay has for it and for its lookup."""

    __slots__ = ()

    find = PriceTable.price
