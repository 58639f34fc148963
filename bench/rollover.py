"""Rollover: a week of a league with a million users, from the end of the week to the last result in the queue."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from bench.frame import Bench, Figure
from questline.model import calendar
from questline.processing.programs import ProgramCache
from questline.processing.rollover import Rollover
from questline.store.embedded import ensure_database
from questline.store.ids import EventIds
from questline.store.migrate import migrate
from questline.store.roles import APP_ROLE, ensure_app_role

DATABASE = "bench_rollover"
USERS = 1_000_000
COHORT = 30
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_LEAGUE = {
    "currency": "xp",
    "tiers": [{"title": f"Tier {n}"} for n in range(1, 11)],
    "cohorts": {"size": COHORT},
    "promote": 5,
    "demote": 5,
}


async def run(bench: Bench, users: int = USERS) -> Sequence[Figure]:
    """Settle a week in one worker; then settle it again, which must find nothing to do."""
    owner = bench.server.dsn(DATABASE)
    await ensure_database(bench.server.dsn("postgres"), DATABASE)
    await migrate(owner, datetime.now(UTC))
    await ensure_app_role(owner)
    conn = await asyncpg.connect(owner)
    project = await _project(conn, users)
    ids = EventIds()
    spent = []
    for number in range(bench.repeats):
        monday = MONDAY + timedelta(weeks=number)
        await _fill(conn, project, users, monday)
        ended = monday + timedelta(weeks=1, minutes=1)
        rollover = Rollover(
            bench.server.dsn(DATABASE, APP_ROLE), ProgramCache(), lambda at=ended: at, ids.new  # type: ignore[misc]
        )  # fmt: skip
        started = time.perf_counter()
        settled = await rollover.run_once()
        spent.append(time.perf_counter() - started)
        if settled != users or await rollover.run_once() != 0:
            raise RuntimeError(f"{settled} of {users} users got a result, or some got two")
    await conn.close()
    return [
        Figure(
            name="rollover",
            what=f"settle a league's week of {users:,} users in cohorts of {COHORT}, one worker",
            unit="users/s",
            runs=[users / seconds for seconds in spent],
            note=f"{min(spent):.0f} s; results are then applied like other events",
        )
    ]


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


async def _fill(conn: Any, project: int, users: int, monday: datetime) -> None:
    """Seat everybody in a week, spread over ten tiers, with scores in a heavy tail."""
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
        SELECT {project}, id, 'weekly', {week}, {number}, place % 10 + 1, place / 10 / {COHORT},
            (100 / (1 - random()) ^ 1.2)::bigint, $1::timestamptz + random() * interval '6 days'
        FROM (SELECT id, (row_number() OVER ())::integer AS place FROM users WHERE project_id = {project}) AS u
        LIMIT {users}""",
        monday,
    )
    await conn.execute("ANALYZE league_members")
