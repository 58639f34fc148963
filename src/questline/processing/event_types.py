"""A small service: writes down now and then which event types came, as they were counted in memory meanwhile."""

import asyncio
from contextlib import suppress

from questline.model.limits import SEEN_TYPES_WRITTEN_SECONDS
from questline.processing.seen import SeenTypes
from questline.processing.services import keep_doing
from questline.store import event_types
from questline.store.pool import connect


class EventTypes:
    """Writes what `seen` counted; what a process that dies had not written is lost, and the type's next event lists it."""

    def __init__(self, dsn: str, seen: SeenTypes, every_seconds: float = SEEN_TYPES_WRITTEN_SECONDS) -> None:
        self._dsn = dsn
        self._seen = seen
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, and write down the rest."""
        await keep_doing("event_types", self.run_once, stop, self._every_seconds)
        with suppress(Exception):  # the process ends anyway
            await self.run_once()

    async def run_once(self) -> int:
        """Write what was counted until now; return how many types came."""
        seen = self._seen.take()
        if not seen:
            return 0
        conn = await connect(self._dsn)
        try:
            await event_types.add(conn, seen)
        finally:
            await conn.close()
        return len(seen)
