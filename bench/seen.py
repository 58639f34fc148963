"""What Redis gives and costs accepting: duplicates and new events, single and over 64 connections, with and without it.

Redis runs on the same machine here and takes its part of the processors; where it has its own, it costs less.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.accept import CONNECTIONS, single_events
from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.state import settle
from bench.wrk import Load, wrk
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


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure both kinds of events without Redis and with it, in turn."""
    lacks = RedisServer.lacks()
    if lacks is not None:
        print(f"skip seen: {lacks} is missing")
        return []
    again: dict[bool, list[Load]] = {False: [], True: []}
    new: dict[bool, list[Load]] = {False: [], True: []}
    conn = await asyncpg.connect(bench.state.owner_dsn)
    try:
        async with _redis() as url:
            for _ in range(bench.repeats):
                for with_redis in (False, True):
                    await settle(conn)
                    async with bench.processes.api(redis_url=url if with_redis else ""):
                        new[with_redis].append(await single_events(bench, bench.processes.url))
                        again[with_redis].append(await _duplicates(bench))
                    await conn.execute("TRUNCATE outbox")
    finally:
        await conn.close()
    return [
        Figure(
            "seen", f"{what}, 64 connections, with Redis", "events/s", [load.per_second for load in loads[True]],
            floor_what="without it", floor_runs=[load.per_second for load in loads[False]],
            note=f"p99 {_p99(loads[True]):.1f} ms, without Redis {_p99(loads[False]):.1f}",
        )
        for what, loads in (("single duplicates", again), ("single new events", new))
    ]  # fmt: skip


async def _duplicates(bench: Bench) -> Load:
    script = _DUPLICATES % (bench.state.key(1), _SENT_AGAIN, EVENT_TYPE, time.time_ns())
    await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=2)
    return await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=bench.seconds)


def _p99(loads: Sequence[Load]) -> float:
    return sorted(load.p99_ms for load in loads)[len(loads) // 2]


@asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="questline-redis-", ignore_cleanup_errors=True) as directory:
        server = RedisServer(Path(directory))
        server.start()
        try:
            server.wait_until_ready()
            yield server.url
        finally:
            server.stop()
