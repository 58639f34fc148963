"""A small service beside the lanes: makes the partitions of the months ahead before events need them."""

import asyncio

from questline.model.limits import PARTITIONS_CHECKED_SECONDS
from questline.processing.apply import Clock
from questline.processing.services import keep_doing
from questline.store.migrate import ensure_partitions
from questline.store.pool import connect


class Months:
    """Looks now and then whether the months ahead have their partitions; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, every_seconds: float = PARTITIONS_CHECKED_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        # When it fails, events go to the default partition.
        await keep_doing("months", self.run_once, stop, self._every_seconds)

    async def run_once(self) -> None:
        """Make what is missing now."""
        conn = await connect(self._dsn)
        try:
            await ensure_partitions(conn, self._clock())
        finally:
            await conn.close()
