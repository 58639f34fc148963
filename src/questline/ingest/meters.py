"""What accepting counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from questline.telemetry.projects import ProjectEvents


class IngestMeters:
    """Counters and histograms of one process; labels are bounded. They are fed a group at a time."""

    def __init__(self, registry: CollectorRegistry, projects: ProjectEvents) -> None:
        self.projects = projects
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
        self.seconds = Histogram(
            "questline_accept_seconds",
            "Time from a single event's reading to its commit, of one event in sixteen that share one.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), registry=registry,
        )  # fmt: skip
        self.duplicates = Counter(
            "questline_duplicates_total", "Duplicates, by what found them: the group they came in, or the store.",
            ["layer"], registry=registry,
        )  # fmt: skip
        self.turned_away = Counter(
            "questline_accept_turned_away_total",
            "Calls that were answered 503, by why: too many events waited, or the database could not be reached.",
            ["why"], registry=registry,
        )  # fmt: skip
