"""Carriers: how fast a backlog is applied when a broker carries it, beside the postgres transport in the same run."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.drain import Drained, watch_queue
from bench.frame import Bench, Figure
from bench.traffic import fill_queue
from tests.services import running
from tests.services.rabbitmq import RabbitMQ

EVENTS = 60_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Drain the same backlog through each carrier in turn, so that the machine's slow minutes meet all of them."""
    lacks = RabbitMQ.lacks()
    if lacks is not None:
        print(f"skip carriers: {lacks} is missing")
        return []
    conn = await asyncpg.connect(bench.state.owner_dsn)
    straight: list[Drained] = []
    carried: list[Drained] = []
    async with _broker() as broker:
        for _ in range(bench.repeats):
            await fill_queue(conn, bench.state, EVENTS)
            straight.append(await watch_queue(bench, conn, EVENTS))
            await fill_queue(conn, bench.state, EVENTS)
            carried.append(await _through_rabbitmq(bench, conn, broker))
    await conn.close()
    own = sorted(drained.processor_us for drained in carried)[len(carried) // 2]
    return [
        Figure(
            name="apply through rabbitmq",
            what="apply through a relay and RabbitMQ on the same machine, backlog drain",
            unit="events/s",
            runs=[drained.per_second for drained in carried],
            floor_what="the postgres transport",
            floor_runs=[drained.per_second for drained in straight],
            reach_ratio=0.6,
            note=f"processor time of workers and their backends: {own:.0f} µs an event, without relay and broker",
        )
    ]


async def _through_rabbitmq(bench: Bench, conn: Any, broker: RabbitMQ) -> Drained:
    settings = {"transport": "rabbitmq", "rabbitmq_url": broker.url}
    async with bench.processes.relay(**settings):
        return await watch_queue(bench, conn, EVENTS, **settings)


@asynccontextmanager
async def _broker() -> AsyncIterator[RabbitMQ]:
    with (
        tempfile.TemporaryDirectory(prefix="questline-rabbitmq-", ignore_cleanup_errors=True) as directory,
        running(RabbitMQ(Path(directory))) as broker,
    ):
        yield broker
