"""What a gateway counts of itself, for Prometheus: by route, upstream and stage, within a bound of names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Routes and upstreams are as many as people make; beyond so many pairs they are counted together.
MAX_PAIRS = 2_000
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OTHERS = "others"


class Metrics:
    """Of one process. No name of a tenant, a model, a tag or a path is a label; routes are named by their ids."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._pairs: set[tuple[str, str]] = set()
        self._requests = Counter(
            "routing_gateway_requests",
            "Requests by kind (llm, http), the route that took them, who served them, and the class of the status.",
            ("kind", "route", "upstream", "status"),
            registry=self._registry,
        )
        self._stages = Histogram(
            "routing_gateway_stage_seconds",
            "How long a stage took: upstream (until the first byte of the answer that went on), total (until its last).",
            ("kind", "stage"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._failures = Counter(
            "routing_gateway_upstream_failures",
            "Attempts that failed, by who was asked and what came of it.",
            ("upstream", "outcome"),
            registry=self._registry,
        )
        self._gauges: dict[str, Gauge] = {}
        # Looking a child up by its labels costs more than counting does.
        self._counters: dict[tuple[str, tuple[str, str], int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def request(self, kind: str, route: str | None, upstream: str | None, status: int) -> None:
        pair = route or "none", upstream or "none"
        if pair not in self._pairs:
            if len(self._pairs) >= MAX_PAIRS:
                pair = _OTHERS, _OTHERS
            else:
                self._pairs.add(pair)
        of_class = kind, pair, status // 100
        counter = self._counters.get(of_class)
        if counter is None:
            counter = self._counters[of_class] = self._requests.labels(kind, *pair, f"{status // 100}xx")
        counter.inc()

    def stage(self, kind: str, stage: str, seconds: float) -> None:
        histogram = self._histograms.get((kind, stage))
        if histogram is None:
            histogram = self._histograms[kind, stage] = self._stages.labels(kind, stage)
        histogram.observe(seconds)

    def failure(self, upstream: str, outcome: str) -> None:
        self._failures.labels(upstream, outcome).inc()

    def gauge(self, name: str, said: str, value: float) -> None:
        """A figure of this moment."""
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(f"routing_gateway_{name}", said, registry=self._registry)
        gauge.set(value)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
