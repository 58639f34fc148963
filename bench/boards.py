"""Ranks: top 50, one user's rank and around-me on boards of a million users, in shapes of scores that hurt.

By PostgreSQL alone, and by copies of the same boards in Redis, in turn within one run.
"""

import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from prometheus_client import CollectorRegistry

from bench.frame import ROOT, Bench, Figure
from questline.cache.board_meters import BoardMeters
from questline.cache.meters import CacheMeters
from questline.cache.ranks import Ranks
from questline.cache.redis import RedisClient
from questline.control.boards import LeaderboardQuery, leaderboard
from questline.engine.compile import Program, compile_program
from questline.model.principal import Project
from questline.outward.board_copies import BoardCopies
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
READS = 1_000  # of each kind, on each shape, a run: ten of them are slower than the 99th percentile
READS_MS = 4_000  # after which so few are enough:
SLOW_READS = 60


async def run(bench: Bench) -> Sequence[Figure]:
    """Read as the API does, in the tenant's role, of random users; the figure is the worst shape's 99th percentile."""
    owner = bench.server.dsn(DATABASE)
    await ensure_database(bench.server.dsn("postgres"), DATABASE)
    await migrate(owner, datetime.now(UTC))
    await ensure_app_role(owner)
    conn = await asyncpg.connect(owner)
    if not await conn.fetchval("SELECT count(*) FROM board_periods"):
        await _fill(conn)
    await _warm(conn)
    await conn.close()
    pool = await open_pool(bench.server.dsn(DATABASE, APP_ROLE), max_size=1)
    project = Project(1, 1, "ranks", "Ranks", "UTC", 1)
    programs = {ties: _program(ties) for ties in TIES}
    figures = []
    async with _copies(bench.server.dsn(DATABASE, APP_ROLE), pool, project, programs["dense"]) as ranks:
        for what, query in (
            ("top 50", {"limit": 50}),
            ("rank", {"limit": 1, "user": ""}),
            ("around-me (5 above, 5 below)", {"limit": 1, "user": "", "around": 5}),
        ):
            for kind, reach in ((TIES[:2], 50.0), (TIES[2:], None)):
                if what == "top 50" and reach is None:
                    continue
                worst: dict[str, list[float]] = {by: [] for by in ranks}
                for _ in range(bench.repeats):
                    for by, copies in ranks.items():
                        times = [
                            await _p99(pool, project, programs[t], shape, query, copies)
                            for shape in SHAPES
                            for t in kind
                        ]
                        worst[by].append(max(times))
                figures += [_figure(what, kind, by, runs, reach) for by, runs in worst.items()]
    await pool.close()
    return figures


def _figure(what: str, kind: Sequence[str], by: str, runs: list[float], reach: float | None) -> Figure:
    by_redis = by == "Redis"
    note = "" if reach or by_redis else "counts the different scores above; see docs/explanation/boards.md"
    return Figure(
        name="ranks",
        what=f"{what} at {USERS:,} users, ties {' and '.join(kind)}, by {by}, p99 of the worst of 5 shapes",
        unit="ms",
        runs=runs,
        reach=5.0 if by_redis else reach,
        more_is_better=False,
        note=note,
    )


@asynccontextmanager
async def _copies(dsn: str, pool: Any, project: Project, program: Program) -> AsyncIterator[dict[str, Ranks | None]]:
    """Yield who ranks: PostgreSQL, and copies of all boards in a Redis of their own, where there is one."""
    sys.path.insert(0, str(ROOT))
    from tests.services.redis import RedisServer

    if lacks := RedisServer.lacks():
        print(f"without Redis: {lacks}", flush=True)
        yield {"PostgreSQL": None}
        return
    with tempfile.TemporaryDirectory(prefix="ql-redis-") as directory:
        server = RedisServer(Path(directory))
        server.start()
        server.wait_until_ready()
        client, meters = RedisClient(server.url, CacheMeters(CollectorRegistry())), BoardMeters(CollectorRegistry())
        ranks = Ranks(client, meters)
        keeper = BoardCopies(dsn, ranks, meters, lambda: datetime.now(UTC))
        try:
            started = time.perf_counter()
            for shape in SHAPES:
                await leaderboard(pool, project, program, LeaderboardQuery(metric=shape), NOW, ranks)
            await keeper.run_once()
            took = time.perf_counter() - started
            used = (await client.ask("bench", lambda redis: redis.info("memory")))["used_memory"]
            entries = USERS * len(SHAPES)
            print(
                f"copied {entries:,} entries in {took:.0f} s; {used / entries:.0f} bytes an entry, as dense", flush=True
            )
            yield {"PostgreSQL": None, "Redis": ranks}
            by = {kind: int(meters.reads.labels(kind)._value.get()) for kind in ("copy", "postgres")}
            print(f"of the reads by Redis, copies answered {by['copy']:,}, PostgreSQL {by['postgres'] - len(SHAPES):,}")
        finally:
            await keeper.close()
            await client.close()
            server.stop()


def _program(ties: str) -> Program:
    """All shapes as boards under one tie policy: the rows are the same for each."""
    boards_ = {shape: {"currency": "xp", "ties": ties} for shape in SHAPES}
    return compile_program({"currencies": {"xp": {"kind": "xp"}}, "boards": boards_}, 1)


async def _p99(
    pool: Any, project: Project, program: Program, shape: str, query: dict[str, Any], ranks: Ranks | None
) -> float:
    spent: list[float] = []
    while len(spent) < (READS if sum(spent) < READS_MS else SLOW_READS):
        asked = LeaderboardQuery(metric=shape, **query)
        if asked.user is not None:
            asked = msgspec.structs.replace(asked, user=f"user-{random.randint(1, USERS)}")
        started = time.perf_counter()
        await leaderboard(pool, project, program, asked, NOW, ranks)
        spent.append((time.perf_counter() - started) * 1000)
    return sorted(spent)[int(len(spent) * 0.99)]


async def _warm(conn: Any) -> None:
    """Read all once, through the indexes: a server in use holds it in memory, and this one has just been started."""
    await conn.execute("SET enable_seqscan = off")
    await conn.execute("SELECT count(display_name) FROM users WHERE project_id = 1 AND id > 0")
    await conn.execute("SELECT FROM users WHERE project_id = 1 ORDER BY external_id OFFSET 1000000000")
    for period in await conn.fetch("SELECT id FROM board_periods WHERE project_id = 1"):
        board = f"FROM board_entries WHERE project_id = 1 AND board_period = {period['id']}"
        await conn.execute(f"SELECT count(reached_at) {board}")
        await conn.execute(f"SELECT {board} ORDER BY lead, reached_at, user_id OFFSET 1000000000")
    await conn.execute("RESET enable_seqscan")


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
