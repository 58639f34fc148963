"""Accept: single events over 64 connections, and streams of NDJSON. The worker stands still, so accepting is measured."""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import IO, Any

import asyncpg

from bench import floor
from bench.frame import ROOT, Bench, Figure
from bench.program import EVENT_TYPE
from bench.state import settle
from bench.traffic import accepted
from bench.wrk import Load, wrk
from questline.store.pool import connect

CONNECTIONS = 64
STREAM_EVENTS = 200_000
LARGE_BYTES = 1_000_000_000
LARGE_LINE_BYTES = 4_000
_SCRIPT = """
local at = 0
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  at = at + 1
  local body = '{"type":"%s","userId":"user-' .. math.random(%d) .. '","payload":{"difficulty":"hard","minutes":'
    .. math.random(60) .. '},"occurredAt":"' .. os.date("!%%Y-%%m-%%dT%%H:%%M:%%SZ") .. '","eventId":"'
    .. math.random(1000000000) .. '-%s-' .. at .. '"}'
  return wrk.format("POST", "/v1/events", head, body)
end
"""


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure single events, then streams, each beside its floor."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    try:
        figures = [*await _singles(bench, conn), *await _streams(bench, conn), await _large(bench, conn)]
        await conn.execute("DROP TABLE floor_events")
    finally:
        await conn.close()
    return figures


# ── single events


async def _singles(bench: Bench, conn: Any) -> list[Figure]:
    await conn.execute(floor.TABLE)
    await conn.execute(floor.FILL, bench.state.size.events)
    await conn.execute("GRANT ALL ON floor_events TO PUBLIC")
    await conn.execute("ANALYZE floor_events")
    ours: list[Load] = []
    bare: list[Load] = []
    await settle(conn)
    for _ in range(bench.repeats + 1):
        async with _floor_server(bench) as url:
            bare.append(await single_events(bench, url))
        async with bench.processes.api():
            ours.append(await single_events(bench, bench.processes.url))
        await empty_queue(conn)
    del ours[0], bare[0]
    return [
        Figure(
            "accept", "single events, 64 connections", "events/s", [load.per_second for load in ours], reach=10_000,
            floor_what="bare ASGI, one grouped insert", floor_runs=[load.per_second for load in bare], reach_ratio=0.4,
        ),
        Figure(
            "accept", "single events, time to the answer, p99", "ms", [load.p99_ms for load in ours], reach=15,
            more_is_better=False, floor_what="the same", floor_runs=[load.p99_ms for load in bare],
        ),
        Figure(
            "accept", "single events not answered 202", "", [float(load.refused) for load in ours], reach=0,
            more_is_better=False,
        ),
    ]  # fmt: skip


async def single_events(bench: Bench, url: str) -> Load:
    """Send new single events over 64 connections for a while, after a second to get warm."""

    def script() -> str:
        return _SCRIPT % (bench.state.key(1), EVENT_TYPE, bench.state.size.users, time.time_ns())

    await wrk(url, script(), connections=CONNECTIONS, seconds=1)
    return await wrk(url, script(), connections=CONNECTIONS, seconds=bench.seconds)


@asynccontextmanager
async def _floor_server(bench: Bench) -> AsyncIterator[str]:
    port = bench.processes.port
    command = [sys.executable, "-m", "bench.floor", bench.state.app_dsn, str(port)]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def empty_queue(conn: Any) -> None:
    """Forget what waits: the other benchmarks begin with an empty queue."""
    await conn.execute("TRUNCATE outbox")


# ── streams


async def _streams(bench: Bench, conn: Any) -> list[Figure]:
    ours, terse, bare = [], [], []
    await settle(conn)
    for _ in range(bench.repeats + 1):
        bare.append(await _bare(bench, STREAM_EVENTS // 4))
        async with bench.processes.api():
            for rates, query in ((ours, ""), (terse, "?results=errors")):
                with tempfile.TemporaryFile() as file:
                    _write_lines(file, STREAM_EVENTS, bench.state.size.users, 0)
                    seconds = await _send(bench, file, query, STREAM_EVENTS)
                rates.append(STREAM_EVENTS / seconds)
        await empty_queue(conn)
    del ours[0], terse[0], bare[0]
    what = "bare unnest insert of the same rows of the same tables, 1,000 a statement, one connection"
    return [
        Figure(
            "accept", "NDJSON stream, a result for each event", "events/s", ours, reach=40_000, floor_what=what,
            floor_runs=bare, reach_ratio=0.35,
        ),
        Figure(
            "accept", "NDJSON stream, ?results=errors", "events/s", terse, floor_what=what, floor_runs=bare,
        ),
    ]  # fmt: skip


async def _large(bench: Bench, conn: Any) -> Figure:
    """How much the API's memory grows while it takes a gigabyte."""
    async with bench.processes.api(stream_bytes_max=2 * LARGE_BYTES) as process:
        with tempfile.TemporaryFile() as file:
            _write_lines(file, 10_000, bench.state.size.users, 0)
            await _send(bench, file, "", 10_000)
        with tempfile.TemporaryFile() as file:
            events = LARGE_BYTES // LARGE_LINE_BYTES
            _write_lines(file, events, bench.state.size.users, LARGE_LINE_BYTES - 170)
            size = file.tell()
            before = peak = process.memory_info().rss
            sending = asyncio.create_task(_send(bench, file, "", events))
            while not sending.done():
                peak = max(peak, process.memory_info().rss)
                await asyncio.sleep(0.02)
            seconds = sending.result()
    await empty_queue(conn)
    note = f"{size / 1e9:.2f} GB of {events:,} events in {seconds:.0f} s"
    return Figure(
        "accept", "memory growth of the API on a stream of 1 GB", "MB", [(peak - before) / 1e6], reach=64,
        more_is_better=False, note=note,
    )  # fmt: skip


def _write_lines(file: IO[bytes], events: int, users: int, padding: int) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    run = random.randbytes(4).hex()
    filler = f',"note":"{random.randbytes(padding // 2).hex()}"' if padding else ""
    for number in range(events):
        line = (
            f'{{"type":"{EVENT_TYPE}","userId":"user-{random.randint(1, users)}","payload":{{"difficulty":"hard",'
            f'"minutes":{number % 60}{filler}}},"occurredAt":"{stamp}","eventId":"{random.getrandbits(32)}-{run}-{number}"}}\n'
        )
        file.write(line.encode())
    file.flush()


async def _send(bench: Bench, file: IO[bytes], query: str, events: int) -> float:
    """Send the file and return the seconds until the summary came; all its events must have been accepted."""
    return await asyncio.to_thread(_post, bench.processes.port, bench.state.key(1), query, file, events)


def _post(port: int, key: str, query: str, file: IO[bytes], events: int) -> float:
    import socket

    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            f"POST /v1/ingest/stream{query} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\nConnection: close\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        connection.sendfile(file)
        tail = b""
        while piece := connection.recv(1 << 20):
            tail = (tail + piece)[-4096:]
    seconds = time.perf_counter() - started
    summary = json.loads(tail.splitlines()[-1])["summary"]
    if summary["accepted"] != events:
        raise RuntimeError(f"of {events} events not all were accepted: {summary}")
    return seconds


async def _bare(bench: Bench, events: int) -> float:
    """Return events a second of the rows alone: columns made beforehand, no key looked up, one transaction a thousand."""
    batches = [_columns(1_000) for _ in range(events // 1_000)]
    conn = await connect(bench.state.app_dsn)
    started = time.perf_counter()
    for keys, rows, queue in batches:
        async with conn.transaction():
            await conn.execute(_KEYS, *keys)
            await conn.execute(_EVENTS, *rows)
            await conn.execute(_QUEUE, *queue)
    seconds = time.perf_counter() - started
    await conn.close()
    return len(batches) * 1_000 / seconds


_KEYS = "INSERT INTO dedupe_keys SELECT * FROM unnest($1::integer[], $2::bytea[], $3::uuid[], $4::bytea[])"
_EVENTS = """
INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::json[], $6::timestamptz[], $7::timestamptz[],
                     $8::text[])
"""
_QUEUE = """
INSERT INTO outbox (partition, project_id, event_id, user_hash)
SELECT * FROM unnest($1::smallint[], $2::integer[], $3::uuid[], $4::bigint[])
"""


def _columns(count: int) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    events = [accepted(random.randint(1, 100_000)) for _ in range(count)]

    def of(value: Callable[[Any], Any]) -> list[Any]:
        return [value(e) for e in events]

    ids, projects, hashes = of(lambda e: e.id), of(lambda e: e.project_id), of(lambda e: e.user_hash)
    return (
        (projects, of(lambda e: e.key_hash), ids, of(lambda e: e.content_hash)),
        (
            ids,
            projects,
            of(lambda e: e.type),
            of(lambda e: e.user),
            of(lambda e: e.payload),
            of(lambda e: e.occurred_at),
            of(lambda e: e.received_at),
            of(lambda e: e.idempotency_key),
        ),
        ([h & 63 for h in hashes], projects, ids, hashes),
    )
