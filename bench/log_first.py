"""Kafka: how fast a backlog in its log is applied, and single events accepted, beside the postgres transport in one run."""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.accept import empty_queue, single_events
from bench.drain import STARTED, Drained, busy_seconds, watch_queue
from bench.frame import Bench, Figure
from bench.state import settle
from bench.traffic import accepted, fill_queue
from bench.wrk import Load
from questline.model.limits import ACCEPT_QUEUE_BYTES_MAX, EVENT_BYTES_MAX
from questline.store import kafka_offsets
from questline.transport.kafka_log import KafkaLog
from questline.transport.kafka_topic import Topic
from tests.services import running
from tests.services.kafka import Kafka

EVENTS = 150_000
WARM_UPS = 4  # rounds before the first that counts: the broker is compiled while it runs
_topics = itertools.count(1)


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure both carriers in turn, so that the machine's slow minutes meet both."""
    lacks = Kafka.lacks()
    if lacks is not None:
        print(f"skip kafka: {lacks} is missing")
        return []
    conn = await asyncpg.connect(bench.state.owner_dsn)
    try:
        async with _broker() as broker:
            return [await _applied(bench, conn, broker), await _accepted(bench, conn, broker)]
    finally:
        await conn.close()


async def _applied(bench: Bench, conn: Any, broker: Kafka) -> Figure:
    straight: list[Drained] = []
    logged: list[Drained] = []
    for _ in range(bench.repeats):
        await fill_queue(conn, bench.state, EVENTS)
        straight.append(await watch_queue(bench, conn, EVENTS))
        topic = await _fill_log(bench, broker)
        logged.append(await _watch_log(bench, conn, topic))
    own = sorted(drained.processor_us for drained in logged)[len(logged) // 2]
    return Figure(
        name="apply through kafka",
        what="store and apply out of Kafka's log on the same machine, backlog drain",
        unit="events/s",
        runs=[drained.per_second for drained in logged],
        floor_what="the postgres transport, whose events are stored before",
        floor_runs=[drained.per_second for drained in straight],
        reach_ratio=0.6,
        note=f"processor time of workers and their backends: {own:.0f} µs an event, without the broker",
    )


async def _accepted(bench: Bench, conn: Any, broker: Kafka) -> Figure:
    straight: list[Load] = []
    logged: list[Load] = []
    topic = _topic(broker)
    await settle(conn)
    for _ in range(WARM_UPS + bench.repeats):
        async with bench.processes.api():
            straight.append(await single_events(bench, bench.processes.url))
        await empty_queue(conn)
        async with bench.processes.api(**_settings(topic)):
            logged.append(await single_events(bench, bench.processes.url))
    del straight[:WARM_UPS], logged[:WARM_UPS]
    p99 = sorted(load.p99_ms for load in logged)[len(logged) // 2]
    refused = sum(load.refused for load in logged)
    return Figure(
        name="accept by kafka",
        what="single events, 64 connections, acknowledged by Kafka on the same machine",
        unit="events/s",
        runs=[load.per_second for load in logged],
        floor_what="the postgres transport",
        floor_runs=[load.per_second for load in straight],
        reach_ratio=1.0,
        note=f"p99 {p99:.1f} ms" + (f"; {refused} refused" if refused else ""),
    )


async def _fill_log(bench: Bench, broker: Kafka) -> Topic:
    topic = _topic(broker)
    log = KafkaLog(topic, ACCEPT_QUEUE_BYTES_MAX)
    await log.open()
    for _ in range(EVENTS // 1_000):
        await log.append_all([accepted(random.randint(1, bench.state.size.users)) for _ in range(1_000)])
    await log.close()
    return topic


async def _watch_log(bench: Bench, conn: Any, topic: Topic) -> Drained:
    async def left() -> int:
        return EVENTS - sum((await kafka_offsets.read(conn, topic.name)).values())

    async with bench.processes.workers(**_settings(topic)) as workers:
        while (begin := await left()) > EVENTS * (1 - STARTED):  # noqa: ASYNC110 - the log is other processes'
            await asyncio.sleep(0.02)
        begun, busy = time.perf_counter(), await busy_seconds(conn, workers)
        while await left():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - begun
        return Drained(begin / seconds, (await busy_seconds(conn, workers) - busy) / begin * 1e6)


def _topic(broker: Kafka) -> Topic:
    return Topic(broker.url, f"bench.{next(_topics)}", event_bytes_max=EVENT_BYTES_MAX)


def _settings(topic: Topic) -> dict[str, Any]:
    return {"transport": "kafka", "kafka_servers": topic.servers, "kafka_topic": topic.name}


@asynccontextmanager
async def _broker() -> AsyncIterator[Kafka]:
    with (
        tempfile.TemporaryDirectory(prefix="questline-kafka-", ignore_cleanup_errors=True) as directory,
        running(Kafka(Path(directory), quick=False)) as broker,
    ):
        yield broker
