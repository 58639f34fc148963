"""What Redis gives and costs accepting: duplicates and new events, single and over 64 connections, with and without it.

Redis runs on the same machine here and takes its part of the processors; where it has its own, it costs less.
"""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import psutil

from bench.accept import CONNECTIONS, single_events
from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.state import settle
from bench.wrk import Load, wrk
from tests.services import running
from tests.services.redis import RedisServer

_SENT_AGAIN = 2_000  # events, each of them a duplicate from the second time on
_DUPLICATES = """
local at = 0
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  at = at %% %d + 1
  local body = '{"type":"%s","userId":"user-' .. at .. '","occurredAt":"2026-01-05T12:00:00Z","eventId":"%s-' .. at .. '"}'
  return wrk.format("POST", "/v1/events", head, body)
end
"""


class Measured(msgspec.Struct, frozen=True):
    """A load, and what processors spent on it."""

    load: Load
    processor_seconds: float


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure both kinds of events without Redis and with it, in turn."""
    lacks = RedisServer.lacks()
    if lacks is not None:
        print(f"skip seen: {lacks} is missing")
        return []
    again: dict[bool, list[Measured]] = {False: [], True: []}
    new: dict[bool, list[Measured]] = {False: [], True: []}
    conn = await asyncpg.connect(bench.state.owner_dsn)
    try:
        async with _redis() as url:
            await settle(conn)
            for _ in range(bench.repeats + 1):
                for with_redis in (False, True):
                    async with bench.processes.api(redis_url=url if with_redis else "") as api:
                        watched = [api, psutil.Process(os.getpid())]
                        for loads, send in ((new, _new), (again, _duplicates)):
                            loads[with_redis].append(await _measured(send(bench), watched))
                    await conn.execute("TRUNCATE outbox")
    finally:
        await conn.close()
    for loads in (*new.values(), *again.values()):
        del loads[0]
    return [
        Figure(
            "seen", f"{what}, 64 connections, with Redis", "events/s", [run.load.per_second for run in loads[True]],
            floor_what="without it", floor_runs=[run.load.per_second for run in loads[False]],
            note=f"{_told(loads[True])}; without Redis {_told(loads[False])}",
        )
        for what, loads in (("single duplicates", again), ("single new events", new))
    ]  # fmt: skip


async def _duplicates(bench: Bench) -> Load:
    script = _DUPLICATES % (bench.state.key(1), _SENT_AGAIN, EVENT_TYPE, time.time_ns())
    await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=2)
    return await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=bench.seconds)


async def _new(bench: Bench) -> Load:
    return await single_events(bench, bench.processes.url)


async def _measured(sending: Awaitable[Load], watched: Sequence[psutil.Process]) -> Measured:
    """Return a load, and the processor time of these processes and all below them, PostgreSQL and Redis among them."""
    before = _processor_seconds(watched)
    load = await sending
    return Measured(load, _processor_seconds(watched) - before)


def _processor_seconds(watched: Sequence[psutil.Process]) -> float:
    """Sum up what servers have used; load generators are left out."""
    everybody = {below.pid: below for process in watched for below in (process, *process.children(recursive=True))}
    everybody.pop(os.getpid(), None)
    return sum(sum(process.cpu_times()[:2]) for process in everybody.values() if process.name() != "wrk")


def _told(runs: Sequence[Measured]) -> str:
    middle = sorted(runs, key=lambda run: run.processor_seconds / run.load.requests)[len(runs) // 2]
    # The second before, to get warm, is in the time and not in the requests, alike with Redis and without.
    return (
        f"p99 {middle.load.p99_ms:.1f} ms, {middle.processor_seconds / middle.load.requests * 1e6:.0f} µs of processors"
    )


@asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="questline-redis-", ignore_cleanup_errors=True) as directory,
        running(RedisServer(Path(directory))) as server,
    ):
        yield server.url
