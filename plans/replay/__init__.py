"""Replay and statistics: logged requests in, a result out. NumPy and the engine; no Django, no settings, no clock.

`values` (a logged request), `prices` (what tokens cost, exactly), `replay` (the pass over the rows), `intervals` (how sure
the answer is).
"""

from plans.replay.prices import Price, PriceList
from plans.replay.replay import replay
from plans.replay.values import LogRow

__all__ = ["LogRow", "Price", "PriceList", "replay"]
