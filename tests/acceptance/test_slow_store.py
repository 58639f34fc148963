"""A store that does not answer: PostgreSQL is stopped for real under load, and goes on later."""

import asyncio
import json
import os
import signal
from typing import Any

import asyncpg
import psutil

from questline.store.embedded import EmbeddedPostgres

from .conftest import Instance, eventually

CLIENTS = 500
EVENT_BYTES = 200_000  # 95 MiB in all
BETWEEN_SECONDS = 0.005
STOPPED_SECONDS = 6.5
MEGABYTE = 1024 * 1024
QUEUE_BYTES = 4 * MEGABYTE
# More than 250 MiB are sent meanwhile. Beside the queue there is a body for each connection that is just being read.
GROWTH_BYTES_MAX = 200 * MEGABYTE
PROGRAM = "metrics:\n  tasks: {on: task, count: true}\n"


class Sender:
    """A client that obeys: told 503, it waits as long as it is told; not answered, it sends the same event again."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self.acknowledged = 0
        self.refused = 0
        self.unsaid = 0

    async def send(self, number: int) -> None:
        body = json.dumps(
            {
                "type": "task",
                "userId": f"u{number % 50}",
                "eventId": f"e{number}",
                "payload": {"text": "x" * EVENT_BYTES},
            }
        ).encode()
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: q\r\nX-API-Key: {self._key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        wait_seconds = number * BETWEEN_SECONDS
        while True:
            await asyncio.sleep(wait_seconds)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(head + body)
                answer = await reader.read()
            except ConnectionError:  # answered before its body was read to the end: as good as no answer
                wait_seconds = 1.0
                continue
            finally:
                writer.close()
            status, headers = _parsed(answer)
            if status == 202:
                self.acknowledged += 1
                return
            assert status == 503, answer
            self.refused += 1
            self.unsaid += "retry-after" not in headers
            wait_seconds = float(headers.get("retry-after", "1"))


def _parsed(answer: bytes) -> tuple[int, dict[str, str]]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(lines[0].split()[1]), {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:])}


def tell_postgres(instance: Instance, number: int) -> None:
    postmaster = instance.pids()["postgres"]
    for pid in [postmaster, *(child.pid for child in psutil.Process(postmaster).children(recursive=True))]:
        os.kill(pid, number)


async def overload(instance: Instance, sender: Sender) -> tuple[int, int]:
    """Send everything while PostgreSQL stands still for a while; return the API's memory before, and at its highest."""
    api = psutil.Process(instance.pids()["api"])
    before = most = api.memory_info().rss
    tell_postgres(instance, signal.SIGSTOP)
    senders = [asyncio.create_task(sender.send(number)) for number in range(1, CLIENTS + 1)]
    loop = asyncio.get_running_loop()
    goes_on_at = loop.time() + STOPPED_SECONDS
    stopped = True
    try:
        while not all(task.done() for task in senders):
            most = max(most, api.memory_info().rss)
            if stopped and loop.time() > goes_on_at:
                stopped = False
                tell_postgres(instance, signal.SIGCONT)
            await asyncio.wait(senders, timeout=0.05)
    finally:
        if stopped:
            tell_postgres(instance, signal.SIGCONT)
    await asyncio.gather(*senders)
    return before, most


async def counted(instance: Instance) -> Any:
    conn = await asyncpg.connect(EmbeddedPostgres(instance.data / "postgres").dsn())
    try:
        events = await conn.fetchval("SELECT count(*) FROM events WHERE type = 'task'")
        return events, int(await conn.fetchval("SELECT coalesce(sum(value), 0) FROM metrics"))
    finally:
        await conn.close()


def test_memory_stays_bounded_and_nothing_is_lost_while_postgresql_stands_still(instance: Instance) -> None:
    instance.environment["QUESTLINE_ACCEPT_QUEUE_BYTES"] = str(QUEUE_BYTES)
    instance.start()
    (instance.directory / "program.yaml").write_text(PROGRAM)
    assert instance.run("apply", "program.yaml").returncode == 0
    sender = Sender(int(instance.dev_file["url"].rpartition(":")[2]), instance.dev_file["secretKey"])
    asyncio.run(sender.send(0))  # so that the key is known
    before, most = asyncio.run(overload(instance, sender))
    grown = (most - before) // MEGABYTE
    assert most - before < GROWTH_BYTES_MAX, f"grown by {grown} MiB"
    assert sender.refused > CLIENTS / 10
    assert sender.unsaid == 0
    assert sender.acknowledged == CLIENTS + 1
    assert eventually(lambda: asyncio.run(counted(instance)) == (CLIENTS + 1, CLIENTS + 1))
