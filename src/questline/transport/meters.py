"""What a relay counts, for its /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from questline.store.relay import Carried


class RelayMeters:
    """Counters of one relay, and gauges of all that waits to be handed over."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "questline_relay_published_total", "Events handed to the broker and confirmed by it.", registry=registry
        )
        self.messages = Counter(
            "questline_relay_messages_total", "Messages that carried them, some hundred events each.", registry=registry
        )
        self.refused = Counter(
            "questline_relay_refused_total",
            "Messages that the broker did not confirm: returned (no queue), refused, lost (no answer).",
            ["why"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "questline_relay_in_flight", "Events that this relay is handing over at the moment.", registry=registry
        )
        self.mirrored = Counter(
            "questline_relay_dead_letters_mirrored_total", "Dead letters the broker was told of.", registry=registry
        )
        self.rows = Gauge(
            "questline_relay_rows",
            "Rows of the queue by what relays have done with them, counted up to 100,000 in all.",
            ["state"],
            registry=registry,
        )
        self.oldest_seconds = Gauge(
            "questline_relay_oldest_seconds",
            "How long ago the oldest event was received that no broker has been handed; 0: none.",
            registry=registry,
        )

    def set_carried(self, carried: Carried, oldest_seconds: float) -> None:
        """Show what was measured in the queue."""
        for state in ("pending", "in_flight", "published", "failed"):
            self.rows.labels(state).set(getattr(carried, state))
        self.oldest_seconds.set(oldest_seconds)
