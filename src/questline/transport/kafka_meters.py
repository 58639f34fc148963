"""What reading the log counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class FeedMeters:
    """Of one worker: add up those of all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Gauge(
            "questline_kafka_lag_records", "Records of this worker's partitions that it has not settled yet: take the sum.",
            registry=registry,
        )  # fmt: skip
        self.partitions = Gauge(
            "questline_kafka_partitions_held", "Partitions of the log that this worker reads.", registry=registry
        )
        self.missing = Counter(
            "questline_kafka_records_missing_total",
            "Records that the brokers deleted before any worker had read them: acknowledged events that are lost.",
            registry=registry,
        )
        self.rereads = Counter(
            "questline_kafka_rereads_total", "Partitions that were read anew after a batch failed.", registry=registry
        )
