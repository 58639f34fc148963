"""A small service beside the lanes: in the evening of each zone, sends an event to users whose streaks are at risk.

A day of a zone is done in batches; a batch of events and how far the day has come are one transaction, and the events have
keys of the streak, the day and the user. So a worker that dies leaves whole batches, and nobody is reminded twice.
"""

import asyncio

from questline.model import calendar
from questline.model.decision import FollowUp
from questline.model.event import STREAK_AT_RISK
from questline.model.limits import REMINDER_BATCH_USERS, REMINDERS_CHECKED_SECONDS
from questline.model.program import Reminder
from questline.processing.apply import Clock
from questline.processing.programs import Program, ProgramCache
from questline.processing.room import Room
from questline.processing.services import apart, keep_doing, stopped
from questline.store import reminders, system_events
from questline.store.pool import Connection, close, connect
from questline.store.system_events import NewId, system_event


class Reminders:
    """Looks now and then where it has become evening; outlives the loss of its connection. Several may run at once."""

    def __init__(
        self,
        dsn: str,
        programs: ProgramCache,
        clock: Clock,
        new_id: NewId,
        every_seconds: float = REMINDERS_CHECKED_SECONDS,
        batch_users: int = REMINDER_BATCH_USERS,
    ) -> None:
        self._dsn = dsn
        self._programs = programs
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._batch_users = batch_users
        self._lacks_room = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch under way is finished."""
        # When it fails, users are reminded later.
        await keep_doing("reminders", lambda: self.run_once(stop), stop, self._every_seconds, lambda: self._lacks_room)

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """Remind all whose hour has come, or as many as can be until `stop` and as the queue has room for.

        Returns how many were sent an event.
        """
        conn = await connect(self._dsn)
        room = Room(conn)
        sent = 0
        try:
            for project_id in await reminders.projects(conn):
                with apart("reminders", conn, project=project_id):
                    sent += await self._project(conn, project_id, room, stop)
        finally:
            self._lacks_room = bool(room.full)
            await close(conn)
        return sent

    async def _project(self, conn: Connection, project_id: int, room: Room, stop: asyncio.Event | None) -> int:
        program = (await self._programs.in_force(conn, [project_id]))[project_id]
        sent = 0
        for zone in ("", *await reminders.zones(conn, project_id)):
            for streak, definition in program.streaks.items():
                if definition.remind is not None:
                    sent += await self._zone(conn, project_id, program, streak, definition.remind, zone, room, stop)
        return sent

    async def _zone(
        self,
        conn: Connection,
        project_id: int,
        program: Program,
        streak: str,
        remind: Reminder,
        zone: str,
        room: Room,
        stop: asyncio.Event | None,
    ) -> int:
        now, sent = self._clock(), 0
        try:
            local = calendar.local(now, calendar.zone(zone or program.timezone))
        except calendar.UnknownZone:  # one that this machine's time zones no longer have
            return 0
        if local.hour < remind.hour:
            return 0
        day, more = calendar.period_number("day", now, calendar.zone(zone or program.timezone)), True
        while more and not stopped(stop) and await room.has(project_id):
            async with conn.transaction():
                after = await reminders.hold(conn, project_id, streak, zone, day)
                if after is None:
                    break
                found = await reminders.users_at_risk(
                    conn, project_id, streak, zone, day, remind.from_, after, self._batch_users
                )
                events = [system_event(project_id, _told(streak, day, user), self._new_id, now) for _, user in found]
                await system_events.send(conn, events)
                more = len(found) == self._batch_users
                await reminders.advance(conn, project_id, streak, zone, found[-1][0] if found else after, done=not more)
                sent += len(found)
        return sent


def _told(streak: str, day: int, user: str) -> FollowUp:
    return FollowUp(user, STREAK_AT_RISK, {"streak": streak}, f"{streak}/{day}/{user}")
