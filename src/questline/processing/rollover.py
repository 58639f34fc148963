"""A small service beside the lanes: closes the weeks of leagues that have ended, and works out who goes where.

A week is closed when nothing waits any more that was received before its end, so its scores stand still. Then it is settled
in batches of whole cohorts, each in one transaction: ranks, results, seats for those who wait for theirs, the event that
tells each user, and how far the week is done. A worker that dies leaves whole batches, and any other goes on from there.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby

from questline.engine import leagues as engine
from questline.model import calendar
from questline.model.contests import League
from questline.model.decision import FollowUp
from questline.model.event import LEAGUE_RESULT
from questline.model.limits import CONTEST_BATCH_USERS, CONTEST_MARGIN_SECONDS, LEAGUES_CHECKED_SECONDS
from questline.processing.apply import Clock
from questline.processing.programs import ProgramCache
from questline.processing.room import Room, Waits
from questline.processing.services import apart, keep_doing, stopped
from questline.store import leagues, outbox, system_events, users
from questline.store.leagues import DueWeek, Progress, Result, Score, Week
from questline.store.pool import Connection, close, connect
from questline.store.system_events import NewId, system_event
from questline.store.users import UserKey

_MARGIN = timedelta(seconds=CONTEST_MARGIN_SECONDS)


class Rollover:
    """Looks now and then for weeks that have ended; outlives the loss of its connection. Several may run at once."""

    def __init__(
        self,
        dsn: str,
        programs: ProgramCache,
        clock: Clock,
        new_id: NewId,
        every_seconds: float = LEAGUES_CHECKED_SECONDS,
        batch_users: int = CONTEST_BATCH_USERS,
        waits: Waits = outbox.waits_from_before,
        room: Callable[[Connection], Room] = Room,
    ) -> None:
        """`waits` tells whether an event of a project may wait that was received before a time; `room` whether more fit."""
        self._dsn = dsn
        self._programs = programs
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._batch_users = batch_users
        self._waits = waits
        self._room = room
        self._lacks_room = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch under way is finished."""
        # When it fails, weeks are settled later.
        await keep_doing("rollover", lambda: self.run_once(stop), stop, self._every_seconds, lambda: self._lacks_room)

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """Settle all that is due now, or as much as can be until `stop` and as the queue has room for.

        Returns how many users got a result.
        """
        conn = await connect(self._dsn)
        room = self._room(conn)
        settled = 0
        try:
            for due in await leagues.due(conn, self._clock() - _MARGIN):
                with apart("rollover", conn, project=due.week.project_id, league=due.week.league):
                    settled += await self._week(conn, due, room, stop)
        finally:
            self._lacks_room = bool(room.full)
            await close(conn)
        return settled

    async def _week(self, conn: Connection, due: DueWeek, room: Room, stop: asyncio.Event | None) -> int:
        week = due.week
        league = await self._league(conn, week)
        if league is None:
            return 0  # taken out of the program: dormant, until it comes back
        if due.closed_at is None:
            if await self._waits(conn, week.project_id, due.closes_at):
                return 0
            if not await leagues.close(conn, week, self._clock()):
                return 0
        settled = 0
        while not stopped(stop) and await room.has(week.project_id):
            async with conn.transaction():
                batch = await self._batch(conn, week, league)
            if batch is None:
                break
            settled += batch
        return settled

    async def _league(self, conn: Connection, week: Week) -> League | None:
        programs = await self._programs.in_force(conn, [week.project_id])
        return programs[week.project_id].document.leagues.get(week.league)

    async def _batch(self, conn: Connection, week: Week, league: League) -> int | None:
        """Settle the next cohorts in the caller's transaction; None: there are none, or another worker has the week."""
        progress = await leagues.hold_progress(conn, week)
        if progress is None:
            return None
        members = await leagues.next_members(conn, week, progress, self._batch_users)
        if not members:
            await leagues.settle(conn, week, self._clock())
            return None
        tier, cohort, _ = members[-1]
        locked = await users.lock(conn, {(week.project_id, user): None for _, _, user in members})
        scores = await leagues.scores(conn, week, progress, tier, cohort)
        by_id = {state.id: key for key, state in locked.items()}
        blocked = {state.id for state in locked.values() if state.blocked}
        results, told = _results(week, league, scores, by_id, blocked, progress)
        await leagues.put_results(conn, week, results)
        await leagues.advance(conn, week, tier, cohort)
        now = self._clock()
        await system_events.send(conn, [system_event(week.project_id, one, self._new_id, now) for one in told])
        await leagues.seat(
            conn,
            [(week.project_id, r.user_id, week.league, league.cohorts.size, len(league.tiers)) for r in results],
        )
        return len(results)


def _results(
    week: Week,
    league: League,
    scores: list[Score],
    by_id: dict[int, UserKey],
    blocked: set[int],
    progress: Progress,
) -> tuple[list[Result], list[FollowUp]]:
    """Return the results of whole cohorts, and what users are told. A blocked user is not ranked, and stays where they are."""
    results: list[Result] = []
    told: list[FollowUp] = []
    ordered = sorted(scores, key=lambda s: (s.tier, s.cohort, s.user_id))
    for (tier, cohort), found in groupby(ordered, key=lambda s: (s.tier, s.cohort)):
        of_cohort = list(found)
        kept = min(tier, len(league.tiers))  # the tiers above may have been taken out of the program
        results += [Result(s.user_id, None, engine.Outcome.STAYED, kept) for s in of_cohort if s.user_id in blocked]
        ranked = [engine.Member(s.user_id, s.score, s.reached_at) for s in of_cohort if s.user_id not in blocked]
        for place in engine.settle(league, kept, ranked):
            results.append(Result(place.user_id, place.rank, place.outcome, place.tier))
            user = by_id[place.user_id][1]
            told.append(_told(week, user, place, kept, cohort, len(ranked), progress.closed_at))
    return results, told


def _told(
    week: Week, user: str, place: engine.Place, tier: int, cohort: int, members: int, closed_at: datetime
) -> FollowUp:
    key = calendar.week_key(week.week)
    payload = {
        "league": week.league,
        "week": key,
        "cohort": cohort,
        "members": members,
        "rank": place.rank,
        "score": place.score,
        "outcome": place.outcome.value,
        "before": tier,
        "after": place.tier,
    }
    return FollowUp(user, LEAGUE_RESULT, payload, f"{week.league}/{key}/{user}", closed_at)
