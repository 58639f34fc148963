"""Steady state: a thousand single events a second, and how soon one shows in its user's profile."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.traffic import project_of, waiting

RATE = 1_000
CONNECTIONS = 16
WARM_UP_SECONDS = 5.0  # each connection plans each of its statements once
WATCHED_EVERY = 40  # of the events, one is watched until it shows


class Client:
    """One kept-alive connection; a request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, key: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request and return the status and body of its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        return int(head[9:12]), await reader.readexactly(length)

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def run(bench: Bench) -> Sequence[Figure]:
    """Send at an even pace for the time of a run and watch some events until they show."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    slowest, middle, left = [], [], []
    async with bench.processes.api(), bench.processes.workers():
        await _play(bench, WARM_UP_SECONDS)
        for _ in range(bench.repeats):
            seen = sorted(await _play(bench, max(bench.seconds, 5.0)))
            left.append(float(await waiting(conn)))
            middle.append(seen[len(seen) // 2])
            slowest.append(seen[min(len(seen) - 1, int(len(seen) * 0.99))])
    await conn.close()
    return [
        Figure(
            "steady", "1,000 single events/s: event to profile, p99", "ms", slowest, reach=250, more_is_better=False,
            note=f"p50 {sorted(middle)[len(middle) // 2]:.0f} ms",
        ),
        Figure(
            "steady", "events waiting at the end of a run at 1,000/s", "events", left, reach=RATE / 4,
            more_is_better=False,
        ),
    ]  # fmt: skip


async def _play(bench: Bench, seconds: float) -> list[float]:
    """Return the times to visibility, in milliseconds, of the events watched."""
    clients = [Client(bench.processes.port) for _ in range(CONNECTIONS)]
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    seen: list[float] = []
    tasks = []
    started = time.perf_counter()
    for number in range(int(RATE * seconds)):
        due = started + number / RATE
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        watched = seen if number % WATCHED_EVERY == 0 else None
        tasks.append(asyncio.create_task(_send(bench, free, watched)))
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    return seen


async def _send(bench: Bench, free: "asyncio.Queue[Client]", seen: list[float] | None) -> None:
    number = random.randint(1, bench.state.size.users)
    key, user = bench.state.key(project_of(number)), f"user-{number}"
    body = {"type": EVENT_TYPE, "userId": user, "payload": {"difficulty": "hard", "minutes": random.randint(1, 60)}}
    before = await _tasks_done(free, key, user) if seen is not None else 0
    started = time.perf_counter()
    client = await free.get()
    status, answer = await client.ask("POST", "/v1/events", key, json.dumps(body).encode())
    free.put_nowait(client)
    if status != 202:
        raise RuntimeError(f"an event was answered {status}: {answer[:200]!r}")
    while seen is not None:
        if await _tasks_done(free, key, user) > before:
            seen.append((time.perf_counter() - started) * 1000)
            return
        await asyncio.sleep(0.005)


async def _tasks_done(free: "asyncio.Queue[Client]", key: str, user: str) -> int:
    """The user's coins, which each task raises."""
    client = await free.get()
    status, answer = await client.ask("GET", f"/v1/users/{user}/profile", key)
    free.put_nowait(client)
    if status == 404:
        return 0
    balances: Any = json.loads(answer)["balances"]
    entries = balances.items() if isinstance(balances, dict) else ((b["currency"], b["amount"]) for b in balances)
    amounts = dict(entries)
    coins = amounts.get("coins", 0)
    return int(coins["amount"] if isinstance(coins, dict) else coins)
