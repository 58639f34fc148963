"""Apply: how fast a worker drains a backlog, and how fast the same rows are written bare."""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import asyncpg
import msgspec
import psutil

from bench.frame import Bench, Figure
from bench.processes import WORKERS
from bench.traffic import Drawn, a_task, all_applied, fill_queue, waiting
from questline.model.limits import APPLY_BATCH_BYTES, APPLY_BATCH_EVENTS, PARTITIONS
from questline.processing.apply import Applier
from questline.processing.programs import ProgramCache
from questline.store import boards, effects, outbox, users
from questline.store.ids import EventIds
from questline.store.pool import connect
from questline.store.roles import APP_ROLE

EVENTS = 100_000
PROCESSORS = os.cpu_count() or 1
ROOM_FOR_TWO = 4  # processors: a worker computes on one, and PostgreSQL for it on another
STARTED = 0.2  # of the backlog is done before the clock starts: by then the workers have dealt the partitions


async def run(bench: Bench) -> Sequence[Figure]:
    """Drain a backlog with two workers, as `questline dev` has them, and with one; then write the same kind of rows bare."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    drained, bare = [], []
    alone: list[Drained] = []
    for _ in range(bench.repeats):
        drained.append((await watch_drain(bench, conn, EVENTS)).per_second)
        await fill_queue(conn, bench.state, EVENTS)
        alone.append(await watch_queue(bench, conn, EVENTS, count=1))
        bare.append(await write_bare(bench, conn, EVENTS // 5))
    await conn.close()
    busy = statistics.median(one.per_second * one.processor_us / 1e6 for one in alone)
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
        ),
        Figure(
            name="apply",
            what=f"apply by {WORKERS} workers",
            unit="events/s",
            runs=drained,
            floor_what="by one worker",
            floor_runs=[one.per_second for one in alone],
            reach_ratio=1.5 if PROCESSORS >= ROOM_FOR_TWO else None,
            note=f"one worker and its PostgreSQL keep {busy:.1f} of {PROCESSORS} processors busy, so the second finds"
            f" {'room' if PROCESSORS >= ROOM_FOR_TWO else 'little room'}",
        ),
    ]


class Drained(msgspec.Struct, frozen=True):
    """A backlog drained: how fast, and what processors spent on an event in the workers and their PostgreSQL backends."""

    per_second: float
    processor_us: float


async def watch_drain(
    bench: Bench, conn: Any, events: int, active: int | None = None, draw: Callable[[], Drawn] = a_task
) -> Drained:
    """Drain a backlog; measured from a fifth done to all done, because a worker's start is no part of its speed.

    `active`: only the first so many users have events. `draw` makes what an event says.
    """
    await fill_queue(conn, bench.state, events, active, draw)
    return await watch_queue(bench, conn, events)


async def watch_queue(bench: Bench, conn: Any, events: int, **settings: Any) -> Drained:
    """Drain what waits, `events` in all, by workers with such settings."""
    async with bench.processes.workers(**settings) as workers:
        while (left := await waiting(conn)) > events * (1 - STARTED):  # noqa: ASYNC110 - the queue is another process's
            await asyncio.sleep(0.05)
        begun, busy = time.perf_counter(), await busy_seconds(conn, workers)
        await all_applied(conn)
        seconds = time.perf_counter() - begun
        busy = await busy_seconds(conn, workers) - busy
        return Drained(left / seconds, busy / left * 1e6)


async def busy_seconds(conn: Any, workers: Sequence[psutil.Process]) -> float:
    """Processor time of the workers and of the backends that serve them."""
    rows = await conn.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = $1", APP_ROLE
    )
    spent = 0.0
    for process in (*workers, *(psutil.Process(row["pid"]) for row in rows)):
        times = process.cpu_times()
        spent += times.user + times.system
    return spent


async def write_bare(bench: Bench, conn: Any, events: int) -> float:
    """Return events a second, counting only the time in statements that write, and in commits."""
    await fill_queue(conn, bench.state, events)
    own = await connect(bench.state.app_dsn)
    applier = Applier(ProgramCache(), lambda: datetime.now(UTC), EventIds().new)
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
        while batch := await outbox.claim(own, list(range(PARTITIONS)), APPLY_BATCH_EVENTS, APPLY_BATCH_BYTES):
            transaction = own.transaction()
            await transaction.start()
            locked = await users.lock(own, {(e.project_id, e.user): None for e in batch})
            taken = await timed(outbox.take)(own, batch)
            await applier.apply(own, shard, taken, locked)
            await timed(transaction.commit)()
            done += len(taken)
    await own.close()
    return done / spent
