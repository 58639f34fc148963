"""Ranks on a board of a million users: top 50, one user's rank, around-me; in shapes of scores that hurt.

`python -m bench.boards DSN [--users N]` fills a scratch database (it must hold the schema and no boards) and measures.
"""

import argparse
import asyncio
import random
import time
from typing import Any

import asyncpg

from questline.store import boards

SHAPES = {
    "heavy tail": "(100 / (1 - random()) ^ 1.2)::bigint",
    "uniform to a million": "(random() * 1000000)::bigint",
    "few values": "(random() * 20)::bigint",
    "all the same": "1000",
    "below zero": "-(100 / (1 - random()) ^ 1.2)::bigint",
}
TIES = ("first", "competition", "dense")


async def fill(conn: Any, board: str, formula: str, users: int) -> None:
    """One all-time board of `users` entries, its counts as writers leave them, its crowds split."""
    period = await conn.fetchval(
        "INSERT INTO board_periods (project_id, board, period) VALUES (1, $1, 'all-time') RETURNING id", board
    )
    await conn.execute(
        f"""INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at)
        SELECT 1, {period}, n, -({formula}), timestamptz '2026-01-01' + random() * interval '300 days'
        FROM generate_series(1, {users}) AS n"""
    )
    await conn.execute(
        f"""WITH counted AS (
            INSERT INTO board_counts (project_id, board_period, bucket, part, shard, entries)
            SELECT 1, {period}, board_bucket(-lead), 0, 0, count(*) FROM board_entries
            WHERE board_period = {period} GROUP BY 3 RETURNING *)
        INSERT INTO board_crowds SELECT project_id, board_period, bucket, part FROM counted WHERE entries > 4096"""
    )
    started = time.perf_counter()
    splits = await boards.split_crowds(conn, 10_000)
    print(f"  {board}: split {splits} ranges in {time.perf_counter() - started:.1f} s")


async def measure(conn: Any, board: str, users: int, rounds: int) -> None:
    """Print the 50th and 99th percentile in milliseconds of each read, on random users."""
    sources = await boards.find_sources(conn, [1], board, "all-time")

    async def timed(read: Any) -> str:
        spent = []
        for _ in range(rounds):
            user = f"user-{random.randint(1, users)}"
            started = time.perf_counter()
            await read(user)
            spent.append((time.perf_counter() - started) * 1000)
        spent.sort()
        return f"{spent[len(spent) // 2]:7.1f} {spent[int(len(spent) * 0.99)]:7.1f}"

    for ties in TIES:
        top = await timed(lambda user, ties=ties: boards.page_after(conn, sources, ties, None, 50))
        rank = await timed(lambda user, ties=ties: boards.page_around(conn, sources, ties, 1, user, 0))
        around = await timed(lambda user, ties=ties: boards.page_around(conn, sources, ties, 1, user, 5))
        print(f"  {board:22} {ties:12} top 50 {top}   rank {rank}   around {around}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    conn = await asyncpg.connect(options.dsn)
    await conn.execute("SET jit = off; SET plan_cache_mode = force_generic_plan")
    if not await conn.fetchval("SELECT count(*) FROM users"):
        await conn.execute(
            f"""INSERT INTO users (id, project_id, external_id) OVERRIDING SYSTEM VALUE
            SELECT n, 1, 'user-' || n FROM generate_series(1, {options.users}) AS n"""
        )
    for board, formula in SHAPES.items():
        if not await boards.find_sources(conn, [1], board, "all-time"):
            await fill(conn, board, formula, options.users)
    await conn.execute("VACUUM ANALYZE")
    await conn.execute(
        "SELECT set_config('role', 'questline_tenant', false), set_config('questline.project_id', '1', false)"
    )
    for board in SHAPES:
        await measure(conn, board, options.users, options.rounds)


if __name__ == "__main__":
    asyncio.run(main())
