"""Rollover: a week of a league with a million users, from the end of the week to the last user who was told."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from bench.frame import Bench, Figure
from bench.processes import WORKERS, Processes
from bench.traffic import all_applied
from questline.model import calendar
from questline.processing.programs import ProgramCache
from questline.processing.rollover import Rollover
from questline.processing.room import Room
from questline.store.embedded import ensure_database
from questline.store.ids import EventIds
from questline.store.migrate import migrate
from questline.store.roles import APP_ROLE, ensure_app_role

DATABASE = "bench_rollover"
USERS = 1_000_000
COHORT = 30
TIERS = 10
MOVED = 5  # by which a cohort is promoted, and demoted
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_LEAGUE = {
    "currency": "xp",
    "tiers": [{"title": f"Tier {n}"} for n in range(1, TIERS + 1)],
    "cohorts": {"size": COHORT},
    "promote": MOVED,
    "demote": MOVED,
}
_LOOKED_SECONDS = 0.1
# $1 project, $2 week's number, $3 tiers, $4 moved up and down. What each score comes to, worked out by PostgreSQL.
_WRONG = """
WITH placed AS (
    SELECT *, row_number() OVER (in_order ORDER BY score DESC, reached_at, user_id) AS place, count(*) OVER in_order AS last
    FROM league_members WHERE project_id = $1 AND league_week = $2
    WINDOW in_order AS (PARTITION BY tier, cohort)
), expected AS (
    SELECT *, CASE WHEN tier < $3::integer AND place <= $4::integer THEN 1
                   WHEN tier > 1 AND place > last - $4::integer THEN -1 ELSE 0 END AS step
    FROM placed
)
SELECT count(*) FROM expected
WHERE (rank, next_tier, outcome) IS DISTINCT FROM
      (place, tier + step, CASE step WHEN 1 THEN 'promoted' WHEN -1 THEN 'demoted' ELSE 'stayed' END)
"""


async def run(bench: Bench, users: int = USERS) -> Sequence[Figure]:
    """Settle a week, broken off once and gone on with by two services at once; then let workers apply what it sent.

    Before the results are applied each is looked at: ranks, promotions and demotions cohort by cohort, one event a user.
    """
    owner = bench.server.dsn(DATABASE)
    await ensure_database(bench.server.dsn("postgres"), DATABASE)
    await migrate(owner, datetime.now(UTC))
    await ensure_app_role(owner)
    conn = await asyncpg.connect(owner)
    project = await _project(conn, users)
    processes = Processes(bench.server.dsn(DATABASE, APP_ROLE), bench.server.directory / "logs")
    settling, applying = [], []
    for number in range(bench.repeats):
        monday = MONDAY + timedelta(weeks=number)
        week = await _fill(conn, project, users, monday)
        started = time.perf_counter()
        await _settle(bench, conn, week, monday + timedelta(weeks=1, minutes=1))
        settling.append(time.perf_counter() - started)
        await _check(conn, project, week, users)
        started = time.perf_counter()
        async with processes.workers():
            await all_applied(conn)
        applying.append(time.perf_counter() - started)
        await _check_told(conn, project, monday, users)
    await conn.close()
    what = f"a league's week of {users:,} users in cohorts of {COHORT}"
    broken = f"{min(settling):.0f} s; broken off once, then gone on with by two at once; the result of every cohort was checked"
    return [
        Figure("rollover", f"settle {what}", "users/s", [users / seconds for seconds in settling], note=broken),
        Figure(
            "rollover", f"apply the results of {what}", "users/s", [users / seconds for seconds in applying],
            note=f"{min(applying):.0f} s, by {WORKERS} workers; each user was told once",
        ),
    ]  # fmt: skip


class _Endless(Room):
    """Room for all results: nobody applies them meanwhile."""

    async def has(self, project_id: int) -> bool:
        return True


async def _settle(bench: Bench, conn: Any, week: int, ended: datetime) -> None:
    """Settle a week; the service that begins dies in the middle of a batch, and two go on."""
    ids = EventIds()

    def service() -> Rollover:
        return Rollover(bench.server.dsn(DATABASE, APP_ROLE), ProgramCache(), lambda: ended, ids.new, room=_Endless)

    first = asyncio.create_task(service().run_once())
    while not await conn.fetchval("SELECT done_tier >= $2 FROM league_weeks WHERE id = $1", week, TIERS // 3):
        if first.done():
            raise RuntimeError(f"the service ended early: {first.exception()!r}")
        await asyncio.sleep(_LOOKED_SECONDS)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    while not await conn.fetchval("SELECT settled_at IS NOT NULL FROM league_weeks WHERE id = $1", week):
        await asyncio.gather(service().run_once(), service().run_once())


async def _check(conn: Any, project: int, week: int, users: int) -> None:
    """Raise RuntimeError unless every cohort has the results that its scores say, and every user one event."""
    wrong = await conn.fetchval(_WRONG, project, week, TIERS, MOVED)
    told = await conn.fetchrow(
        """SELECT count(*), count(DISTINCT e.external_user) FROM outbox o
        JOIN events e ON e.project_id = o.project_id AND e.id = o.event_id AND e.type = '$league_result'
        WHERE o.project_id = $1""",
        project,
    )
    if wrong or tuple(told) != (users, users):
        raise RuntimeError(f"{wrong} users have a wrong result; {told[0]} events tell {told[1]} of {users} users")


async def _check_told(conn: Any, project: int, monday: datetime, users: int) -> None:
    """Raise RuntimeError unless every user was told of this week once."""
    told = await conn.fetchrow(
        """SELECT count(*), count(DISTINCT user_id) FROM notices
        WHERE project_id = $1 AND type LIKE 'league.%' AND data->>'week' = $2""",
        project,
        calendar.week_key(calendar.period_number("week", monday, UTC)),
    )
    if tuple(told) != (users, users):
        raise RuntimeError(f"{told[0]} notices tell {told[1]} of {users} users")


async def _project(conn: Any, users: int) -> int:
    """Make a project with so many users; whatever was there stays."""
    document = {"currencies": {"xp": {"kind": "xp"}}, "leagues": {"weekly": _LEAGUE}}
    name = f"rollover-{time.time_ns()}"
    organization = await conn.fetchval(
        "INSERT INTO organizations (slug, name) VALUES ($1, 'Rollover') RETURNING id", name
    )
    project = await conn.fetchval(
        """INSERT INTO projects (organization_id, app_id, name, program_version) VALUES ($1, $2, 'Rollover', 1)
        RETURNING id""",
        organization,
        name,
    )
    await conn.execute(
        "INSERT INTO program_versions (project_id, version, document) VALUES ($1, 1, $2)",
        project,
        msgspec.json.encode(document).decode(),
    )
    await conn.execute(
        "INSERT INTO users (project_id, external_id) SELECT $1, 'user-' || n FROM generate_series(1, $2::integer) AS n",
        project,
        users,
    )
    return int(project)


async def _fill(conn: Any, project: int, users: int, monday: datetime) -> int:
    """Seat everybody in a week, spread over the tiers, with scores in a heavy tail; return the number of its row."""
    week = calendar.period_number("week", monday, UTC)
    number = await conn.fetchval(
        """INSERT INTO league_weeks (project_id, league, week, zone, closes_at) VALUES ($1, 'weekly', $2, 'UTC', $3)
        RETURNING id""",
        project,
        week,
        monday + timedelta(weeks=1),
    )
    await conn.execute("SET synchronous_commit = off")
    await conn.execute(
        f"""INSERT INTO league_members (project_id, user_id, league, week, league_week, tier, cohort, score, reached_at)
        SELECT {project}, id, 'weekly', {week}, {number}, place % {TIERS} + 1, place / {TIERS} / {COHORT},
            (100 / (1 - random()) ^ 1.2)::bigint, $1::timestamptz + random() * interval '6 days'
        FROM (SELECT id, (row_number() OVER ())::integer AS place FROM users WHERE project_id = {project}) AS u
        LIMIT {users}""",
        monday,
    )
    await conn.execute("ANALYZE league_members")
    return int(number)
