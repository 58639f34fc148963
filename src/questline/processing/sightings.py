"""A small service beside the lanes: forgets the values that guards compare users by, once their windows are over."""

import asyncio

import structlog

from questline.model.limits import SIGHTINGS_SWEPT_ROWS, SIGHTINGS_SWEPT_SECONDS
from questline.processing.apply import Clock
from questline.store import sightings
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import connect

log = structlog.get_logger(__name__)


class Sightings:
    """Sweeps now and then, in bounded steps; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, every_seconds: float = SIGHTINGS_SWEPT_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            try:
                await self.run_once()
            except TRANSIENT_FAULTS as fault:
                log.warning("sightings.waiting", fault=repr(fault))
            except Exception:
                log.exception("sightings.failed")  # the table grows without it; events must go on
            try:
                await asyncio.wait_for(stop.wait(), self._every_seconds)
            except TimeoutError:
                continue

    async def run_once(self) -> int:
        """Sweep what is over now; return how many values were forgotten."""
        conn = await connect(self._dsn)
        try:
            swept = last = await sightings.sweep(conn, self._clock())
            while last >= SIGHTINGS_SWEPT_ROWS:
                last = await sightings.sweep(conn, self._clock())
                swept += last
            return swept
        finally:
            await conn.close()
