"""Ranks: top 50, one user's rank and around-me on boards of a million users, in shapes of scores that hurt."""

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from bench.frame import Bench, Figure
from questline.control.boards import LeaderboardQuery, leaderboard
from questline.engine.compile import Program, compile_program
from questline.model.principal import Project
from questline.store import boards
from questline.store.embedded import ensure_database
from questline.store.migrate import migrate
from questline.store.pool import open_pool
from questline.store.roles import APP_ROLE, ensure_app_role

DATABASE = "bench_ranks"
USERS = 1_000_000
SHAPES = {
    "heavy-tail": "(100 / (1 - random()) ^ 1.2)::bigint",
    "uniform": "(random() * 1000000)::bigint",
    "few-values": "(random() * 20)::bigint",
    "all-the-same": "1000",
    "below-zero": "-(100 / (1 - random()) ^ 1.2)::bigint",
}
TIES = ("first", "competition", "dense")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
READS = 60  # of each kind, on each shape, a run


async def run(bench: Bench) -> Sequence[Figure]:
    """Read as the API does, in the tenant's role, of random users; the figure is the worst shape's 99th percentile."""
    owner = bench.server.dsn(DATABASE)
    await ensure_database(bench.server.dsn("postgres"), DATABASE)
    await migrate(owner, datetime.now(UTC))
    await ensure_app_role(owner)
    conn = await asyncpg.connect(owner)
    if not await conn.fetchval("SELECT count(*) FROM board_periods"):
        await _fill(conn)
    await conn.close()
    pool = await open_pool(bench.server.dsn(DATABASE, APP_ROLE), max_size=1)
    project = Project(1, 1, "ranks", "Ranks", "UTC", 1)
    programs = {ties: _program(ties) for ties in TIES}
    figures = []
    for what, query in (
        ("top 50", {"limit": 50}),
        ("rank", {"limit": 1, "user": ""}),
        ("around-me (5 above, 5 below)", {"limit": 1, "user": "", "around": 5}),
    ):
        for kind, reach in ((TIES[:2], 50.0), (TIES[2:], None)):
            if what == "top 50" and reach is None:
                continue
            worst = [
                max([await _p99(pool, project, programs[ties], shape, query) for shape in SHAPES for ties in kind])
                for _ in range(bench.repeats)
            ]
            figures.append(
                Figure(
                    name="ranks",
                    what=f"{what} at {USERS:,} users, ties {' and '.join(kind)}, p99 of the worst of 5 shapes",
                    unit="ms",
                    runs=worst,
                    reach=reach,
                    more_is_better=False,
                    note="" if reach else "counts the different scores above; see docs/explanation/boards.md",
                )
            )
    await pool.close()
    return figures


def _program(ties: str) -> Program:
    """All shapes as boards under one tie policy: the rows are the same for each."""
    boards_ = {shape: {"currency": "xp", "ties": ties} for shape in SHAPES}
    return compile_program({"currencies": {"xp": {"kind": "xp"}}, "boards": boards_}, 1)


async def _p99(pool: Any, project: Project, program: Program, shape: str, query: dict[str, Any]) -> float:
    spent = []
    for _ in range(READS):
        asked = LeaderboardQuery(metric=shape, **query)
        if asked.user is not None:
            asked = msgspec.structs.replace(asked, user=f"user-{random.randint(1, USERS)}")
        started = time.perf_counter()
        await leaderboard(pool, project, program, asked, NOW)
        spent.append((time.perf_counter() - started) * 1000)
    return sorted(spent)[int(READS * 0.99)]


async def _fill(conn: Any) -> None:
    started = time.perf_counter()
    print(f"filling boards of {USERS:,} users ...", flush=True)
    await conn.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
    await conn.execute(
        f"""INSERT INTO organizations (id, slug, name) OVERRIDING SYSTEM VALUE VALUES (1, 'ranks', 'Ranks');
        INSERT INTO projects (id, organization_id, app_id, name) OVERRIDING SYSTEM VALUE VALUES (1, 1, 'ranks', 'Ranks');
        INSERT INTO users (project_id, external_id) SELECT 1, 'user-' || n FROM generate_series(1, {USERS}) AS n"""
    )
    for shape, formula in SHAPES.items():
        period = await conn.fetchval(
            "INSERT INTO board_periods (project_id, board, period) VALUES (1, $1, 'all-time') RETURNING id", shape
        )
        await conn.execute(
            f"""INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at)
            SELECT 1, {period}, n, -({formula}), timestamptz '2026-01-01' + random() * interval '300 days'
            FROM generate_series(1, {USERS}) AS n"""
        )
    await conn.execute(
        """INSERT INTO board_counts (project_id, board_period, bucket, part, shard, entries)
        SELECT 1, board_period, board_bucket(-lead), 0, 0, count(*) FROM board_entries GROUP BY 2, 3;
        INSERT INTO board_crowds SELECT project_id, board_period, bucket, part FROM board_counts WHERE entries > 4096"""
    )
    await boards.split_crowds(conn, 10_000)
    await conn.execute("VACUUM (ANALYZE)")
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
