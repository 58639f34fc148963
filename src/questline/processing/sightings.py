"""A small service beside the lanes: forgets the values that guards compare users by, once their windows are over."""

import asyncio

from questline.model.limits import SIGHTINGS_SWEPT_ROWS, SIGHTINGS_SWEPT_SECONDS
from questline.processing.apply import Clock
from questline.processing.services import keep_doing, stopped
from questline.store import sightings
from questline.store.pool import connect


class Sightings:
    """Sweeps now and then, in bounded steps; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, every_seconds: float = SIGHTINGS_SWEPT_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the transaction under way is finished."""
        # When it fails, the table grows.
        await keep_doing("sightings", lambda: self.run_once(stop), stop, self._every_seconds)

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """Sweep what is over now, or as much as can be until `stop`; return how many values were forgotten."""
        conn = await connect(self._dsn)
        try:
            swept = last = await sightings.sweep(conn, self._clock())
            while last >= SIGHTINGS_SWEPT_ROWS and not stopped(stop):
                last = await sightings.sweep(conn, self._clock())
                swept += last
            return swept
        finally:
            await conn.close()
