"""Apply: how fast a worker drains a backlog, and how fast the same rows are written bare."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import asyncpg

from bench.frame import Bench, Figure
from bench.traffic import fill_queue, waiting
from questline.model.limits import APPLY_BATCH_EVENTS, PARTITIONS
from questline.processing.apply import Applier
from questline.processing.programs import ProgramCache
from questline.store import boards, effects, outbox, users
from questline.store.pool import connect

EVENTS = 30_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Drain a backlog with a worker process; then write the same kind of rows with nothing else in the way."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    drained, bare = [], []
    for _ in range(bench.repeats):
        drained.append(await drain(bench, conn, EVENTS))
        bare.append(await write_bare(bench, conn, EVENTS // 3))
    await conn.close()
    return [
        Figure(
            name="apply",
            what="apply (rule, XP, coins, streak, metric, achievement, two boards), backlog drain",
            unit="events/s",
            runs=drained,
            reach=8_000,
            floor_what="the same rows by bare array statements, one connection",
            floor_runs=bare,
            reach_ratio=0.4,
        )
    ]


async def drain(bench: Bench, conn: Any, events: int) -> float:
    """Return events applied a second, from a tenth done to all done: a worker's start is no part of its speed."""
    await fill_queue(conn, bench.state, events)
    async with bench.processes.worker():
        begun, at_begin = 0.0, events
        while left := await waiting(conn):
            if not begun and left <= events * 0.9:
                begun, at_begin = time.perf_counter(), left
            await asyncio.sleep(0.01)
        return at_begin / (time.perf_counter() - begun)


async def write_bare(bench: Bench, conn: Any, events: int) -> float:
    """Return events a second, counting only the time in statements that write, and in commits."""
    await fill_queue(conn, bench.state, events)
    own = await connect(bench.state.app_dsn)
    applier = Applier(ProgramCache(), lambda: datetime.now(UTC))
    shard = await boards.claim_shard(own)
    spent = 0.0
    done = 0

    def timed(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            nonlocal spent
            started = time.perf_counter()
            try:
                return await function(*arguments)
            finally:
                spent += time.perf_counter() - started

        return call

    with (
        mock.patch.object(effects.Effects, "write", timed(effects.Effects.write)),
        mock.patch.object(boards, "add_points", timed(boards.add_points)),
    ):
        while batch := await outbox.claim(own, list(range(PARTITIONS)), APPLY_BATCH_EVENTS):
            transaction = own.transaction()
            await transaction.start()
            locked = await users.lock(own, {(e.project_id, e.user): None for e in batch})
            taken = await timed(outbox.take)(own, batch)
            await applier.apply(own, shard, taken, locked)
            await timed(transaction.commit)()
            done += len(taken)
    await own.close()
    return done / spent
