"""The floor of accepting: bare ASGI on uvicorn, and one grouped insert into one table. `python -m bench.floor DSN PORT`.

It does what no server can leave out (read the body, decode it, make it durable) and nothing else: no key, no
validation, no hash, no queue.
"""

import asyncio
import sys
from collections import deque
from typing import Any

import asyncpg
import msgspec
import uvicorn

WRITERS = 2
GROUP_MAX = 500

TABLE = """
CREATE TABLE IF NOT EXISTS floor_events (
    key text COLLATE "C" PRIMARY KEY, type text NOT NULL, user_id text NOT NULL, payload json NOT NULL)
"""
FILL = """
INSERT INTO floor_events SELECT gen_random_uuid(), 'task_completed', 'user-' || n, '{"difficulty":"hard","minutes":12}'
FROM generate_series(1, $1 - (SELECT count(*) FROM floor_events)) AS n
"""
INSERT = """
INSERT INTO floor_events SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::json[]) ON CONFLICT DO NOTHING
"""


class _Event(msgspec.Struct, gc=False):
    type: str
    user: str = msgspec.field(name="userId")
    key: str = msgspec.field(name="eventId")
    payload: msgspec.Raw


_decode = msgspec.json.Decoder(_Event).decode
_HEADERS = [(b"content-type", b"application/json")]


class Floor:
    """The ASGI application."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._queue: deque[tuple[_Event, asyncio.Future[None]]] = deque()
        self._arrived = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Store one event and answer."""
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        future = asyncio.get_running_loop().create_future()
        self._queue.append((_decode(body), future))
        self._arrived.set()
        await future
        await send({"type": "http.response.start", "status": 202, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b'{"status":"accepted"}'})

    async def _write(self) -> None:
        while True:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MAX))]
            await self._pool.execute(
                INSERT,
                [e.key for e, _ in group],
                [e.type for e, _ in group],
                [e.user for e, _ in group],
                [bytes(e.payload).decode() for e, _ in group],
            )
            for _, future in group:
                future.set_result(None)


async def _serve(dsn: str, port: int) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=WRITERS, max_size=WRITERS)
    config = uvicorn.Config(Floor(pool), port=port, access_log=False, log_config=None, lifespan="off")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
