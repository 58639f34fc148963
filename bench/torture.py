"""Torture: what a held horizon, a heap of dead letters and a poisoned tenant cost the others, beside the calm of the same run."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bench.drain import watch_drain
from bench.frame import Bench, Figure
from bench.traffic import accepted, all_applied, project_of
from questline.store import accept

EVENTS = 30_000
DEAD_LETTERS = 100_000
SICK_PROJECT = 3
SICK_EVENTS = 300  # each of a user of its own, and each tried again and again

_DEAD = """
    INSERT INTO dead_letters (project_id, event_id, user_hash, reason, message, attempts, failed_at)
    SELECT 1, ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, n, 'ENGINE_ERROR', 'of old', 1, $2
    FROM generate_series(1, $1::integer) AS n"""
_POISON = f"""
    CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '40001'; END $$;
    CREATE TRIGGER poisoned BEFORE INSERT ON transfers FOR EACH ROW WHEN (NEW.project_id = {SICK_PROJECT})
        EXECUTE FUNCTION poisoned()"""
_HEALTHY_WAIT = f"SELECT count(*) FROM outbox WHERE project_id <> {SICK_PROJECT}"


async def run(bench: Bench) -> Sequence[Figure]:
    """Drain a backlog calmly and tortured, in turn."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    calm, held, heaped, healthy, beside = [], [], [], [], []
    for _ in range(bench.repeats):
        calm.append((await watch_drain(bench, conn, EVENTS)).per_second)
        async with _held_horizon(bench):
            held.append((await watch_drain(bench, conn, EVENTS)).per_second)
        await conn.execute(_DEAD, DEAD_LETTERS, datetime.now(UTC))
        heaped.append((await watch_drain(bench, conn, EVENTS)).per_second)
        await conn.execute("DELETE FROM dead_letters WHERE message = 'of old'")
        healthy.append(await _drain_healthy(bench, conn))
        await conn.execute(_POISON)
        try:
            beside.append(await _drain_healthy(bench, conn))
        finally:
            await conn.execute("DROP TRIGGER poisoned ON transfers; DROP FUNCTION poisoned")
            await conn.execute("UPDATE parked_users SET due_at = now()")
            async with bench.processes.workers():
                await all_applied(conn)
    await conn.close()

    def figure(what: str, runs: list[float], floor: list[float], ratio: float) -> Figure:
        return Figure("torture", what, "events/s", runs, floor_what="calm", floor_runs=floor, reach_ratio=ratio)

    return [
        figure("backlog drain while a transaction holds the horizon", held, calm, 0.7),
        figure(f"backlog drain beside {DEAD_LETTERS:,} dead letters", heaped, calm, 0.8),
        figure(f"healthy projects' drain beside {SICK_EVENTS} poisoned events of another", beside, healthy, 0.3),
    ]


@asynccontextmanager
async def _held_horizon(bench: Bench) -> AsyncIterator[None]:
    """Keep a snapshot open, so that nothing that dies meanwhile can be cleaned away."""
    holder = await asyncpg.connect(bench.state.owner_dsn)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    try:
        yield
    finally:
        await holder.close()


async def _drain_healthy(bench: Bench, conn: Any) -> float:
    """Return how many events a second of the healthy projects are applied, with some of the sick one among them."""
    numbers = [n for n in range(1, bench.state.size.users) if project_of(n) != SICK_PROJECT]
    sick = [n for n in range(1, bench.state.size.users) if project_of(n) == SICK_PROJECT]
    drawn = [*random.choices(numbers, k=EVENTS), *random.sample(sick, SICK_EVENTS)]
    random.shuffle(drawn)
    for start in range(0, len(drawn), 1_000):
        await accept.accept(conn, [accepted(number) for number in drawn[start : start + 1_000]])
    async with bench.processes.workers():
        started: float | None = None
        left = EVENTS
        while waiting := int(await conn.fetchval(_HEALTHY_WAIT)):
            await asyncio.sleep(0.05)
            if started is None and waiting < EVENTS * 0.8:
                started, left = time.perf_counter(), waiting
        if started is None:
            raise RuntimeError("the queue was empty before it was looked at: give it more events")
        return left / (time.perf_counter() - started)
