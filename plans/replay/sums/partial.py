"""`Partial`: what a part of a log adds to the result. Partials of all parts add up to that of the log, in any order."""

from collections import defaultdict
from typing import Final

import numpy as np

from plans.replay.sums.counts import Counts
from plans.replay.sums.exact import Exact
from plans.replay.sums.units import UnitSums
from plans.replay.sure import BINS

#: With fewer clusters than this, and enough whole days, days are the units.
FEW_CLUSTERS: Final = 20


class Partial:
    def __init__(self, routes: int) -> None:
        """`routes`: how many the proposed ones are, "no route" included."""
        self.routes = routes
        self.counts = Counts()
        self.clusters = UnitSums(routes)
        #: The same rows by UTC day; None once there are too many clusters for days to be the units.
        self.days: UnitSums | None = UnitSums(routes)
        #: Nano-dollars without any routing, by route.
        self.baselines = Exact(1, routes, 1)
        #: Rows by bin of latency under today's routes.
        self.current_latencies = np.zeros(BINS, np.int64)
        #: By column and number of a block, its digest.
        self.digests: dict[str, dict[int, bytes]] = defaultdict(dict)

    def forget_days(self) -> None:
        """Drop what only few clusters need."""
        if self.days is not None and len(self.clusters) >= FEW_CLUSTERS:
            self.days = None

    def merge(self, other: "Partial") -> None:
        """Add another part."""
        self.counts.merge(other.counts)
        self.clusters.merge(other.clusters)
        if self.days is not None and other.days is not None:
            self.days.merge(other.days)
        else:
            self.days = None
        self.forget_days()
        self.baselines.add_moved(other.baselines, np.arange(self.routes))
        self.current_latencies += other.current_latencies
        for column, digests in other.digests.items():
            self.digests[column].update(digests)
