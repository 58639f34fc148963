"""What the API counts, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class ApiMeters:
    """Counters of one process's requests, without those of the hot paths; `route` is a template, so labels are bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "questline_http_requests_total", "Requests answered, by method, route and status.",
            ["method", "route", "status"], registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "questline_http_request_seconds",
            "Time from a request's headers to its answer.",
            ["route"],
            registry=registry,
        )
