"""Replay and statistics: logged requests in, a result out. NumPy and the engine; no Django, no settings, no clock.

values       a logged request
columns      requests column by column, and where they come from
question     what is asked
survey       the first pass: what has to be known of the whole log
deciding     what the routes decide on each row
pricing      what that costs
latencies    how long it takes
caches       what projected caches would answer
evidence     what unknown facts might change
projection   the second pass, which adds all of it up
sums         what is added up
sure         how sure it is: 95% intervals
result       the answer as JSON, of `figures`; `series` what charts are drawn of, `caveats` what to keep in mind with it
executors    in this process, or in several
stored       a replay that was interrupted, as bytes
memory       how the process gets memory meanwhile
replay       both passes

Prices are the engine's: what a gateway estimates and what a replay computes agree to the nano-dollar.
"""

from plans.replay.columns import MemorySource, Source
from plans.replay.question import Question
from plans.replay.replay import replay
from plans.replay.values import LogRow

__all__ = ["LogRow", "MemorySource", "Question", "Source", "replay"]
