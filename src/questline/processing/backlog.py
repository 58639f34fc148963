"""A small service beside the lanes: measures what waits, for /metrics."""

import asyncio

from questline.model.limits import BACKLOG_COUNTED_MAX, BACKLOG_LINES_MAX, BACKLOG_MEASURED_SECONDS
from questline.processing.apply import Clock
from questline.processing.meters import BacklogMeters
from questline.processing.services import keep_doing
from questline.store import backlog
from questline.store.pool import close, connect


class Backlog:
    """Measures now and then, and costs a bounded read; outlives the loss of its connection."""

    def __init__(
        self, dsn: str, clock: Clock, meters: BacklogMeters, every_seconds: float = BACKLOG_MEASURED_SECONDS
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._meters = meters
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        await keep_doing("backlog", self.run_once, stop, self._every_seconds)

    async def run_once(self) -> None:
        """Measure now."""
        conn = await connect(self._dsn)
        try:
            found = await backlog.measure(conn, BACKLOG_COUNTED_MAX, BACKLOG_LINES_MAX)
        finally:
            await close(conn)
        now, oldest = self._clock(), found.oldest_received_at
        self._meters.waiting.set(found.waiting)
        self._meters.oldest_seconds.set(0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0))
        self._meters.dead_letters.set(found.dead_letters)
        self._meters.parked_users.set(found.parked_users)
        self._meters.measured_at.set(now.timestamp())
