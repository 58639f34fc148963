"""What copies of boards count, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class BoardMeters:
    """Counters and gauges of one process; labels are bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reads = Counter(
            "questline_board_reads_total",
            "Boards read, by what answered: copy (Redis), or postgres since there was no copy, it was behind, or Redis gone.",
            ["by"],
            registry=registry,
        )
        self.copies = Gauge("questline_board_copies", "Boards that have a whole copy in Redis.", registry=registry)
        self.built = Counter(
            "questline_board_copies_built_total", "Copies of boards made, by why: wanted, lost or behind.", ["why"],
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "questline_board_changes_waiting_entries", "Entries of boards that wait to be sent to Redis.", registry=registry
        )  # fmt: skip
        self.dropped = Counter(
            "questline_board_changes_dropped_total",
            "Changes of boards that were not sent to Redis, as too many waited; their copies are made again.",
            registry=registry,
        )
