"""What sending messages counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from questline.store.deliveries import Waiting


class DeliveryMeters:
    """Counters of one process, and gauges of all that waits to be sent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tries = Counter(
            "questline_deliveries_total",
            "Tries to deliver a message, by result: done, taken (202), refused, again, given_up, cancelled or superseded.",
            ["result"], registry=registry,
        )  # fmt: skip
        self.faults = Counter(
            "questline_delivery_faults_total", "Tries that got no answer, by why.", ["why"], registry=registry
        )
        self.seconds = Histogram(
            "questline_delivery_seconds", "Time of one try, from looking up the address to the answer's end.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), registry=registry,
        )  # fmt: skip
        self.under_way = Gauge(
            "questline_deliveries_under_way", "Messages this process is sending at the moment.", registry=registry
        )
        self.waiting = Gauge(
            "questline_deliveries_waiting", "Messages that are not settled, counted up to 100,000.", registry=registry
        )
        self.overdue_seconds = Gauge(
            "questline_deliveries_overdue_seconds", "For how long the first of them has been due.", registry=registry
        )

    def set_waiting(self, waiting: Waiting) -> None:
        """Show what was measured."""
        self.waiting.set(waiting.messages)
        self.overdue_seconds.set(waiting.overdue_seconds)
