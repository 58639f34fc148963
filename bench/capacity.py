"""What a volume of events asks of an installation, from the measured cost of one. `python -m bench.capacity` writes the page.

The costs are those of the benchmarks' machine (a slow one: two shared processors), their sources stand beside them; the
model adds nothing but arithmetic, and names what it assumes.
"""

from pathlib import Path

import msgspec

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "capacity.md"
_BEGIN, _END = "<!-- table -->\n", "<!-- /table -->\n"

PEAK = 3.0  # the busiest moment over the average of a day
BUSY = 0.6  # of a processor that may be used at a peak: the rest is for checkpoints, vacuum, reads and bad luck
DAY = 86_400


class Cost(msgspec.Struct, frozen=True):
    """Of one event: microseconds of processor in each part, and bytes."""

    api_us: float
    accept_us: float  # PostgreSQL's part of accepting
    worker_us: float
    apply_us: float  # PostgreSQL's part of applying
    wal_bytes: float
    stored_bytes: float
    key_bytes: float  # of these, what a retention of events leaves: the dedupe key


# CPU times of `bench accept` and `bench apply`, by process; sizes of the tables that an event adds rows to (events, dedupe
# keys, decisions, attempts, two transfers), indexes included; the log by pg_stat_wal.
SINGLES = Cost(api_us=90, accept_us=60, worker_us=90, apply_us=110, wal_bytes=3_500, stored_bytes=1_100, key_bytes=136)
STREAMS = Cost(api_us=16, accept_us=21, worker_us=90, apply_us=110, wal_bytes=3_200, stored_bytes=1_100, key_bytes=136)
VOLUMES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


class Need(msgspec.Struct, frozen=True):
    """What a volume needs: processors, megabytes of log a second at the peak, gigabytes a day."""

    per_second: float
    api: float
    workers: float
    postgres: float
    wal_mb: float
    stored_gb: float


def need(events_a_day: float, cost: Cost) -> Need:
    """Return what so many events a day need, where all come in one way."""
    peak = events_a_day / DAY * PEAK
    processors = peak / 1e6 / BUSY
    return Need(
        per_second=peak,
        api=processors * cost.api_us,
        workers=processors * cost.worker_us,
        postgres=processors * (cost.accept_us + cost.apply_us),
        wal_mb=peak * cost.wal_bytes / 1e6,
        stored_gb=events_a_day * cost.stored_bytes / 1e9,
    )


def table() -> str:
    """Return the page's table."""
    lines = [
        "| events a day | at the peak | way in | API | workers | PostgreSQL | log at the peak | stored a day |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for volume in VOLUMES:
        for way, cost in (("one by one", SINGLES), ("streams, batches", STREAMS)):
            n = need(volume, cost)
            lines.append(
                f"| {volume:,} | {n.per_second:,.0f}/s | {way} | {_processors(n.api)} | {_processors(n.workers)} "
                f"| {_processors(n.postgres)} | {n.wal_mb:,.1f} MB/s | {n.stored_gb:,.1f} GB |"
            )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the table as it is now."""
    before, rest = text.split(_BEGIN)
    return before + _BEGIN + table() + _END + rest.split(_END)[1]


def _processors(count: float) -> str:
    return f"{count:.2f}" if count < 1 else f"{count:.1f}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
