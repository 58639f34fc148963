"""Leagues as rows: scores of the week, seats in cohorts, results, and how far a week is settled."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.decision import LeaguePoints
from questline.model.limits import AMOUNT_MAX
from questline.store.boards import Change, merged
from questline.store.statements import statements

SQL = statements("leagues")


class Week(msgspec.Struct, frozen=True):
    """One week of a league on the clocks of a zone. `week` is the calendar's number, `id` the row's."""

    project_id: int
    id: int
    league: str
    week: int
    zone: str


class DueWeek(msgspec.Struct, frozen=True):
    """A week that is to be closed (`closed_at` None) or settled."""

    week: Week
    closes_at: datetime
    closed_at: datetime | None


class Progress(msgspec.Struct, frozen=True):
    """How far a closed week is settled: all cohorts up to (tier, cohort)."""

    tier: int
    cohort: int
    closed_at: datetime


class Score(msgspec.Struct, frozen=True):
    """A member of a cohort."""

    tier: int
    cohort: int
    user_id: int
    score: int
    reached_at: datetime


class Result(msgspec.Struct, frozen=True):
    """What a week came to for a member; `rank` None: blocked, and not ranked."""

    user_id: int
    rank: int | None
    outcome: str
    next_tier: int


class UserWeek(msgspec.Struct, frozen=True):
    """A user's week; without tier and cohort they wait for the result of the week before."""

    league: str
    week: int
    zone: str
    league_week: int
    tier: int | None
    cohort: int | None
    score: int
    rank: int | None
    outcome: str | None
    next_tier: int | None


class CohortMember(msgspec.Struct, frozen=True):
    """A member as a cohort's page shows them; `user` is the customer's id."""

    user_id: int
    user: str
    display_name: str | None
    score: int
    reached_at: datetime
    blocked: bool


class LeagueRows:
    """The changes of one transaction: each (project, league, week, user) occurs once, whatever was added."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, str, int, int], Change] = {}
        self._first: dict[tuple[int, str, int, int], LeaguePoints] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, project_id: int, user_id: int, points: Iterable[LeaguePoints]) -> None:
        """Add one decision's points; decisions of a user are added in the order they were made."""
        for change in points:
            key = (project_id, change.league, change.week, user_id)
            before = self._changes.get(key)
            new = (change.mode, change.points, change.at, change.rest)
            self._changes[key] = new if before is None else merged(before, new)
            self._first.setdefault(key, change)

    def sorted_rows(self) -> list[tuple[tuple[int, str, int, int], Change, LeaguePoints]]:
        """Return (key, change, the first points of the key) in the order of the keys."""
        return [(key, change, self._first[key]) for key, change in sorted(self._changes.items())]


async def add_scores(conn: Connection, rows: LeagueRows) -> None:
    """Fold changes into scores, and seat those who score for the first time in a week that is open.

    In the caller's transaction, whose users are locked; the last thing it does, because tiers are held until its end.
    """
    if not rows:
        return
    items = rows.sorted_rows()
    found = await conn.fetch(
        SQL["add_scores"],
        [key[0] for key, _, _ in items],
        [key[1] for key, _, _ in items],
        [key[2] for key, _, _ in items],
        [key[3] for key, _, _ in items],
        [change[0].value for _, change, _ in items],
        [_bounded(change[1]) for _, change, _ in items],
        [change[2] for _, change, _ in items],
        AMOUNT_MAX,
        [change[3] for _, change, _ in items],
    )
    if len(found) == len(items):
        return
    places = {row[0] for row in found}
    new = [item for place, item in enumerate(items, 1) if place not in places]
    weeks = {(*key[:3], first.zone): first.closes_at for key, _, first in new}
    await conn.execute(
        SQL["open_weeks"], *map(list, zip(*((*week, closes_at) for week, closes_at in weeks.items()), strict=True))
    )
    held = await conn.fetch(SQL["hold_weeks"], *map(list, zip(*weeks, strict=True)))
    numbers = {tuple(row[:4]): row[4] for row in held}
    joining = [item for item in new if (*item[0][:3], item[2].zone) in numbers]
    if not joining:
        return
    await conn.execute(
        SQL["join"],
        [key[0] for key, _, _ in joining],
        [key[3] for key, _, _ in joining],
        [key[1] for key, _, _ in joining],
        [key[2] for key, _, _ in joining],
        [numbers[(*key[:3], first.zone)] for key, _, first in joining],
        [_bounded(change[1]) for _, change, _ in joining],
        [change[2] for _, change, _ in joining],
        [change[3] or None for _, change, _ in joining],
    )
    await seat(conn, [(key[0], key[3], key[1], first.size, first.top) for key, _, first in joining])


async def seat(conn: Connection, users: Sequence[tuple[int, int, str, int, int]]) -> None:
    """Seat the users who can be: (project id, user id, league, size of cohorts, highest tier). They are locked."""
    if users:
        await conn.execute(SQL["seat"], *map(list, zip(*users, strict=True)))


async def due(conn: Connection, now: datetime) -> list[DueWeek]:
    """Return the weeks of all projects that are to be closed or settled at a time, the oldest first."""
    return [DueWeek(Week(*row[:5]), row[5], row[6]) for row in await conn.fetch(SQL["due"], now)]


async def close(conn: Connection, week: Week, now: datetime) -> bool:
    """Close a week and tell whether it may be settled; while members wait for a seat it stays open.

    Those who are joining are waited for, and nobody joins later. In a transaction of its own.
    """
    transaction = conn.transaction()
    await transaction.start()
    closed = False
    try:
        await conn.execute(SQL["close"], week.project_id, week.id, now)
        closed = not await conn.fetchval(SQL["somebody_waits"], week.project_id, week.id)
    finally:
        await (transaction.commit() if closed else transaction.rollback())
    return closed


async def hold_progress(conn: Connection, week: Week) -> Progress | None:
    """Lock a closed week until the transaction ends; None where another worker has it, or it is settled."""
    row = await conn.fetchrow(SQL["hold_progress"], week.project_id, week.id)
    return None if row is None else Progress(*row)


async def next_members(conn: Connection, week: Week, after: Progress, limit: int) -> list[tuple[int, int, str]]:
    """Return (tier, cohort, customer's user id) of the next whole cohorts, about `limit` users."""
    rows = [
        tuple(row)
        for row in await conn.fetch(SQL["next_members"], week.project_id, week.id, after.tier, after.cohort, limit)
    ]
    if len(rows) == limit:  # the last cohort may go on beyond the limit
        whole = [row for row in rows if row[:2] != rows[-1][:2]]
        rows = whole or rows
    return rows


async def scores(conn: Connection, week: Week, after: Progress, tier: int, cohort: int) -> list[Score]:
    """Return the members of the cohorts after some and up to one."""
    rows = await conn.fetch(SQL["scores"], week.project_id, week.id, after.tier, after.cohort, tier, cohort)
    return [Score(*row) for row in rows]


async def put_results(conn: Connection, week: Week, results: Sequence[Result]) -> None:
    """Write results; they are written once."""
    await conn.execute(
        SQL["put_results"],
        [week.project_id] * len(results),
        [r.user_id for r in results],
        [week.league] * len(results),
        [week.week] * len(results),
        [r.rank for r in results],
        [r.outcome for r in results],
        [r.next_tier for r in results],
    )


async def advance(conn: Connection, week: Week, tier: int, cohort: int) -> None:
    """Note that all cohorts up to one have their results."""
    await conn.execute(SQL["advance"], week.project_id, week.id, tier, cohort)


async def settle(conn: Connection, week: Week, now: datetime) -> None:
    """Note that a week has all its results."""
    await conn.execute(SQL["settle"], week.project_id, week.id, now)


async def weeks_of_user(
    conn: Connection, project_id: int, user_id: int, leagues: Iterable[str], limit: int
) -> dict[str, list[UserWeek]]:
    """Return a user's latest weeks by league, newest first."""
    found: dict[str, list[UserWeek]] = {}
    for row in await conn.fetch(SQL["weeks_of_user"], project_id, user_id, list(leagues), limit):
        found.setdefault(row["league"], []).append(UserWeek(*row))
    return found


async def week_of_user(conn: Connection, project_id: int, user_id: int, league: str, week: int) -> UserWeek | None:
    """Return a user's own week of a league; None where they did not score in it."""
    row = await conn.fetchrow(SQL["week_of_user"], project_id, user_id, league, week)
    return None if row is None else UserWeek(*row)


async def cohort(conn: Connection, project_id: int, league_week: int, tier: int, number: int) -> list[CohortMember]:
    """Return the members of a cohort, in any order."""
    return [CohortMember(*row) for row in await conn.fetch(SQL["cohort"], project_id, league_week, tier, number)]


def _bounded(points: int) -> int:
    return max(-AMOUNT_MAX, min(AMOUNT_MAX, points))
