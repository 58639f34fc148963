"""Whether the database can be used, and how it does."""

from datetime import datetime

import msgspec
from asyncpg import Connection, Pool

from questline.store.ids import received_at
from questline.store.migrate import missing_partitions, pending
from questline.store.statements import statements

SQL = statements("health")

_COUNTED_MAX = 1_000_000


class Facts(msgspec.Struct, frozen=True):
    """What `questline doctor` looks at. Counts stop at a million; nothing is counted where migrations are missing."""

    server_version: int  # such as 180001
    server_time: datetime
    role: str
    role_is_unbound: bool
    migrations_missing: list[str]
    partitions_missing: list[str] = []
    waiting: int = 0
    oldest_waiting: datetime | None = None  # when it was received
    dead_letters: int = 0
    workers: int = 0


async def check(pool: Pool) -> dict[str, str]:
    """Return what is wrong with each dependency, "ok" where nothing is; raises when the server cannot be reached."""
    async with pool.acquire(timeout=2) as conn:
        await conn.fetchval("SELECT 1")
        missing = await pending(conn)
    return {"postgres": "ok", "migrations": "ok" if not missing else f"missing: {', '.join(missing)}"}


async def facts(conn: Connection, now: datetime) -> Facts:
    """Return how the database does."""
    server = await conn.fetchrow(SQL["server"])
    missing = await pending(conn)
    if missing:
        return Facts(**server, migrations_missing=missing)
    queue = dict(await conn.fetchrow(SQL["queue"], _COUNTED_MAX))
    oldest = queue.pop("oldest_waiting")
    return Facts(
        **server,
        migrations_missing=[],
        partitions_missing=await missing_partitions(conn, now),
        oldest_waiting=None if oldest is None else received_at(oldest),
        **queue,
    )
