"""What processing counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ProcessingMeters:
    """Counters and histograms of one process; labels are bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "questline_events_applied_total", "Events that ended, by outcome.", ["outcome"], registry=registry
        )
        self.batch_events = Histogram(
            "questline_apply_batch_events", "Events in one applied batch.",
            buckets=(1, 10, 50, 100, 250, 500, 1000), registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "questline_apply_batch_seconds", "Time from a batch's first lock to its commit.", registry=registry
        )
        self.retries = Counter(
            "questline_apply_retries_total", "Batches tried again after a passing fault.", registry=registry
        )
        self.partitions = Gauge("questline_partitions_held", "Partitions this process works on.", registry=registry)
