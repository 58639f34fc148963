"""A small service beside the lanes: sends the events that expire rewards which nobody claimed in time."""

import asyncio

from questline.model.decision import FollowUp
from questline.model.event import REWARD_EXPIRE
from questline.model.limits import EXPIRIES_AT_ONCE, EXPIRIES_SECONDS
from questline.processing.apply import Clock
from questline.processing.room import Room
from questline.processing.services import keep_doing, stopped
from questline.store import grants, system_events
from questline.store.pool import Connection, close, connect
from questline.store.system_events import NewId, system_event


class Expiries:
    """Looks now and then for grants whose time is over; outlives the loss of its connection."""

    def __init__(self, dsn: str, clock: Clock, new_id: NewId, every_seconds: float = EXPIRIES_SECONDS) -> None:
        self._dsn = dsn
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._lacks_room = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        # When it fails, reads are right all the same.
        await keep_doing("expiries", lambda: self.run_once(stop), stop, self._every_seconds, lambda: self._lacks_room)

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """Send an event for each grant that is due, until `stop` and as the queue has room for; return how many."""
        conn = await connect(self._dsn)
        room = Room(conn)
        sent, last = 0, EXPIRIES_AT_ONCE
        try:
            while last == EXPIRIES_AT_ONCE and not stopped(stop):
                last = await self._batch(conn, room)
                sent += last
        finally:
            self._lacks_room = bool(room.full)
            await close(conn)
        return sent

    async def _batch(self, conn: Connection, room: Room) -> int:
        """Send the events of a bounded number of grants, of projects that have room."""
        now = self._clock()
        while not all([await room.has(one) for one in await grants.due_of(conn, now, EXPIRIES_AT_ONCE, room.full)]):
            continue  # without those that are full, for whom the grants of others do not wait
        async with conn.transaction():
            due = await grants.take_due(conn, now, EXPIRIES_AT_ONCE, room.full)
            events = [
                system_event(
                    one.project_id, FollowUp(one.user, REWARD_EXPIRE, {"grant": one.id}, one.id), self._new_id, now
                )
                for one in due
            ]
            await system_events.send(conn, events)
        return len(due)
