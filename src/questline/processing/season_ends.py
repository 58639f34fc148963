"""A small service beside the lanes: ends seasons, and sends each user what theirs came to.

A season is closed when nothing waits any more that was received before its end: one transaction works out all places and
what is taken of balances. Then the results are sent as events, in batches that each note how far they came, so a worker
that dies leaves whole batches, and any other goes on from there.
"""

import asyncio
from datetime import timedelta

from questline.engine.seasons import span_of, stored_name
from questline.model.contests import Season
from questline.model.decision import FollowUp
from questline.model.event import SEASON_RESULT
from questline.model.limits import CONTEST_BATCH_USERS, CONTEST_MARGIN_SECONDS, SEASONS_CHECKED_SECONDS
from questline.processing.apply import Clock
from questline.processing.programs import Program, ProgramCache
from questline.processing.room import Room, Waits
from questline.processing.services import apart, keep_doing, stopped
from questline.store import outbox, seasons, system_events
from questline.store.pool import Connection, close, connect
from questline.store.system_events import NewId, system_event

_MARGIN = timedelta(seconds=CONTEST_MARGIN_SECONDS)


class SeasonEnds:
    """Looks now and then for seasons that have ended; outlives the loss of its connection. Several may run at once."""

    def __init__(
        self,
        dsn: str,
        programs: ProgramCache,
        clock: Clock,
        new_id: NewId,
        every_seconds: float = SEASONS_CHECKED_SECONDS,
        batch_users: int = CONTEST_BATCH_USERS,
        waits: Waits = outbox.waits_from_before,
    ) -> None:
        """`waits` tells whether an event of a project may wait that was received before a time."""
        self._dsn = dsn
        self._programs = programs
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._batch_users = batch_users
        self._waits = waits
        self._lacks_room = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch under way is finished."""
        # When it fails, seasons end later.
        await keep_doing(
            "season_ends", lambda: self.run_once(stop), stop, self._every_seconds, lambda: self._lacks_room
        )

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """End all seasons that are due now, or as many as can be until `stop` and as the queue has room for.

        Returns how many results were sent.
        """
        conn = await connect(self._dsn)
        room = Room(conn)
        sent = 0
        try:
            for project_id in await seasons.projects(conn):
                with apart("season_ends", conn, project=project_id):
                    sent += await self._project(conn, project_id, room, stop)
        finally:
            self._lacks_room = bool(room.full)
            await close(conn)
        return sent

    async def _project(self, conn: Connection, project_id: int, room: Room, stop: asyncio.Event | None) -> int:
        program = (await self._programs.in_force(conn, [project_id]))[project_id]
        known = await seasons.ends(conn, project_id)
        sent = 0
        for name, season in program.document.seasons.items():
            if not known.get(name, False):
                sent += await self._season(conn, project_id, program, name, season, name in known, room, stop)
        return sent

    async def _season(
        self,
        conn: Connection,
        project_id: int,
        program: Program,
        name: str,
        season: Season,
        closed: bool,
        room: Room,
        stop: asyncio.Event | None,
    ) -> int:
        if not closed and not await self._close(conn, project_id, program, name, season):
            return 0
        sent = 0
        while not stopped(stop) and await room.has(project_id):
            async with conn.transaction():
                batch = await self._batch(conn, project_id, name)
            if batch is None:
                break
            sent += batch
        return sent

    async def _close(self, conn: Connection, project_id: int, program: Program, name: str, season: Season) -> bool:
        """Close a season that has ended, and tell whether it is closed now."""
        _, end = span_of(season, program.zone)
        until = end if season.settle is None else end + timedelta(seconds=season.settle.seconds)
        now = self._clock()
        if now < until + _MARGIN or await self._waits(conn, project_id, until):
            return False
        boards = [(stored_name(name, board), board, definition.ties) for board, definition in season.boards.items()]
        reset = [currency for currency, policy in season.reset.items() if policy == "zero"]
        await seasons.close(conn, project_id, name, boards, reset, end, now)
        return True

    async def _batch(self, conn: Connection, project_id: int, season: str) -> int | None:
        """Send the next results in the caller's transaction; None: there are none, or another worker has the season."""
        progress = await seasons.hold_progress(conn, project_id, season)
        if progress is None:
            return None
        results = await seasons.next_results(conn, project_id, season, progress, self._batch_users)
        now = self._clock()
        if not results:
            await seasons.settle(conn, project_id, season, now)
            return None
        told = [
            FollowUp(
                result.user,
                SEASON_RESULT,
                {"season": season, "places": result.places, "reset": result.reset},
                f"{season}/{result.user}",
                progress.closed_at,
            )
            for result in results
        ]
        await system_events.send(conn, [system_event(project_id, one, self._new_id, now) for one in told])
        await seasons.advance(conn, project_id, season, results[-1].user_id)
        return len(results)
