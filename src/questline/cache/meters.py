"""What the caches count, for /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CacheMeters:
    """Counters and gauges of one process; labels are bounded. Where Redis is not set nobody makes them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.usable = Gauge(
            "questline_redis_usable", "1 while Redis answers, 0 while the circuit breaker is open.", registry=registry
        )
        self.redis_seconds = Histogram(
            "questline_redis_seconds", "Time of a question to Redis that was answered, by use.", ["use"],
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1), registry=registry,
        )  # fmt: skip
        self.redis_faults = Counter(
            "questline_redis_faults_total", "Questions to Redis that failed or were too slow, by use.", ["use"],
            registry=registry,
        )  # fmt: skip
        self.looked_up = Counter(
            "questline_cache_looked_up_total", "What was looked up in a shared cache, by cache and result: hit or miss.",
            ["cache", "result"], registry=registry,
        )  # fmt: skip
