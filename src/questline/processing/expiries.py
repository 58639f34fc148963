"""A small service beside the lanes: sends the events that expire rewards which nobody claimed in time."""

import asyncio

from questline.model.decision import FollowUp
from questline.model.event import REWARD_EXPIRE
from questline.model.limits import EXPIRIES_AT_ONCE, EXPIRIES_SECONDS
from questline.processing.apply import Clock
from questline.processing.services import keep_doing
from questline.store import grants, system_events
from questline.store.pool import connect
from questline.store.system_events import NewId, system_event


class Expiries:
    """Looks now and then for grants whose time is over; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, new_id: NewId, every_seconds: float = EXPIRIES_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        # When it fails, reads are right all the same.
        await keep_doing("expiries", lambda: self._all(stop), stop, self._every_seconds)

    async def _all(self, stop: asyncio.Event) -> None:
        while await self.run_once() == EXPIRIES_AT_ONCE and not stop.is_set():
            continue

    async def run_once(self) -> int:
        """Send an event for each of a bounded number of grants that are due; return how many."""
        conn = await connect(self._dsn)
        try:
            async with conn.transaction():
                now = self._clock()
                due = await grants.take_due(conn, now, EXPIRIES_AT_ONCE)
                await system_events.send(
                    conn,
                    [
                        system_event(
                            one.project_id,
                            FollowUp(one.user, REWARD_EXPIRE, {"grant": one.id}, one.id),
                            self._new_id,
                            now,
                        )
                        for one in due
                    ],
                )
                return len(due)
        finally:
            await conn.close()
