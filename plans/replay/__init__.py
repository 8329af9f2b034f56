"""Replay and statistics: logged requests in, a result out. NumPy and the engine; no Django, no settings, no clock.

`values` (a logged request), `replay` (the pass over the rows), `intervals` (how sure the answer is). Prices are the
engine's: what a gateway estimates and what a replay computes agree to the nano-dollar.
"""

from plans.replay.replay import replay
from plans.replay.values import LogRow

__all__ = ["LogRow", "replay"]
