"""What processing counts, for /metrics."""

from collections import Counter as Count
from collections.abc import Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from questline.model.decision import Decision
from questline.model.limits import LATENCY_SAMPLE
from questline.processing.apply import Verdict
from questline.telemetry.projects import ProjectEvents


class ProcessingMeters:
    """Counters and histograms of one process; labels are bounded."""

    def __init__(self, registry: CollectorRegistry, projects: ProjectEvents) -> None:
        self.projects = projects
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
        self.seconds = Histogram(
            "questline_apply_seconds",
            "Time from an event's receipt to its commit, of one event in sixteen that are applied together.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600), registry=registry,
        )  # fmt: skip
        self.command_duplicates = Counter(
            "questline_command_duplicates_total",
            "Commands and waited events that were answered with what their original did.",
            registry=registry,
        )
        self.dead_letters = Counter(
            "questline_dead_letters_total", "Events that gave up, by reason code.", ["reason"], registry=registry
        )

    def count(self, verdicts: Sequence[Verdict], committed_at: datetime) -> None:
        """Count what became of events that share a commit."""
        ended = Count(v.result.outcome.value if isinstance(v.result, Decision) else "failed" for v in verdicts)
        for outcome, events in ended.items():
            self.events.labels(outcome).inc(events)
        if ended["failed"]:
            for verdict in verdicts:
                if not isinstance(verdict.result, Decision):
                    self.dead_letters.labels(verdict.result.reason.value).inc()
        for verdict in verdicts[::LATENCY_SAMPLE]:
            self.seconds.observe(max((committed_at - verdict.event.received_at).total_seconds(), 0.0))
        self.projects.add("applied", [v.event.project_id for v in verdicts])


class BacklogMeters:
    """What waits in the database, as a worker measures it now and then: the same for all workers, so take the greatest."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "questline_backlog_events", "Events that wait to be applied, counted up to 100,000.", registry=registry
        )
        self.oldest_seconds = Gauge(
            "questline_backlog_oldest_seconds", "How long the oldest of them has waited.", registry=registry
        )
        self.dead_letters = Gauge(
            "questline_dead_letters_waiting", "Dead letters that nobody retried or discarded, counted up to 100,000.",
            registry=registry,
        )  # fmt: skip
        self.parked_users = Gauge(
            "questline_parked_users", "Users whose events wait for one that is tried again, counted up to 100,000.",
            registry=registry,
        )  # fmt: skip
        self.measured_at = Gauge(
            "questline_backlog_measured_timestamp_seconds", "When these were measured last.", registry=registry
        )


class LogMeters:
    """What became of the records of a log, in one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "questline_kafka_records_total",
            "Records of the log that were settled: applied, queued behind what waits for their user, duplicate, reused (a key"
            " of other content: refused) or rejected (no event of ours, and kept).",
            ["end"], registry=registry,
        )  # fmt: skip
        self.moved = Counter(
            "questline_kafka_batches_superseded_total",
            "Batches that were rolled back, because another worker had settled their records.",
            registry=registry,
        )
