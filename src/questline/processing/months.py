"""A small service beside the lanes: makes the partitions of the months ahead before events need them."""

import asyncio

import structlog

from questline.model.limits import PARTITIONS_CHECKED_SECONDS
from questline.processing.apply import Clock
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.migrate import ensure_partitions
from questline.store.pool import connect

log = structlog.get_logger(__name__)


class Months:
    """Looks now and then whether the months ahead have their partitions; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, every_seconds: float = PARTITIONS_CHECKED_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            try:
                await self.run_once()
            except TRANSIENT_FAULTS as fault:
                log.warning("months.waiting", fault=repr(fault))
            except Exception:
                log.exception("months.failed")  # events go to the default partition without it; they must go on
            try:
                await asyncio.wait_for(stop.wait(), self._every_seconds)
            except TimeoutError:
                continue

    async def run_once(self) -> None:
        """Make what is missing now."""
        conn = await connect(self._dsn)
        try:
            await ensure_partitions(conn, self._clock())
        finally:
            await conn.close()
