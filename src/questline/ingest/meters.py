"""What accepting counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class IngestMeters:
    """Counters and histograms of one process; labels are bounded. They are fed a group at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "questline_events_accepted_total", "Events that reached the store, by what became of them.", ["status"],
            registry=registry,
        )  # fmt: skip
        self.group_events = Histogram(
            "questline_accept_group_events", "Events that shared one commit.",
            buckets=(1, 4, 16, 64, 250, 500, 1000), registry=registry,
        )  # fmt: skip
        self.group_seconds = Histogram(
            "questline_accept_group_seconds", "Time to store one group of events.", registry=registry
        )
        self.waiting = Gauge("questline_accept_waiting_events", "Events that wait for a commit.", registry=registry)
