"""Whether the database can be used, and how it does."""

from datetime import datetime

import msgspec
from asyncpg import Connection, Pool

from questline.model.limits import BACKLOG_LINES_MAX, PARTITIONS
from questline.store.backlog import Waiting, measure
from questline.store.migrate import missing_partitions, pending
from questline.store.statements import statements

SQL = statements("health")

_COUNTED_MAX = 1_000_000
_PROJECTS_MAX = 1_000  # whose newest event is looked at


class Facts(msgspec.Struct, frozen=True):
    """What `questline doctor` looks at. Counts stop at a million; nothing is counted where migrations are missing."""

    server_version: int  # such as 180001
    server_time: datetime
    role: str
    role_is_unbound: bool
    migrations_missing: list[str]
    partitions_missing: list[str] = []
    fsync: str = "on"
    full_page_writes: str = "on"
    synchronous_commit: str = "on"
    connections: int = 0
    connections_max: int = 0
    database_bytes: int = 0
    backlog: Waiting | None = None
    parked_since: datetime | None = None
    workers: dict[str, int] = {}  # by version
    api_processes: int = 0  # that live
    stuck_partitions: list[int] = []
    newest_received: datetime | None = None
    newest_occurred: datetime | None = None


async def check(pool: Pool) -> dict[str, str]:
    """Return what is wrong with each dependency, "ok" where nothing is; raises when the server cannot be reached."""
    async with pool.acquire(timeout=2) as conn:
        read_only = await conn.fetchval(SQL["takes_no_writes"])
        missing = await pending(conn)
    postgres = "takes no writes: a standby, or default_transaction_read_only" if read_only else "ok"
    return {"postgres": postgres, "migrations": "ok" if not missing else f"missing: {', '.join(missing)}"}


async def facts(conn: Connection, now: datetime) -> Facts:
    """Return how the database does."""
    server = await conn.fetchrow(SQL["server"])
    missing = await pending(conn)
    if missing:
        return Facts(**server, migrations_missing=missing)
    configuration = dict(await conn.fetchrow(SQL["configuration"]))
    newest = await conn.fetchrow(SQL["newest"], _PROJECTS_MAX)
    return Facts(
        **server,
        migrations_missing=[],
        partitions_missing=await missing_partitions(conn, now),
        backlog=await measure(conn, _COUNTED_MAX, BACKLOG_LINES_MAX),
        parked_since=await conn.fetchval(SQL["parked_since"]),
        workers=dict(await conn.fetch(SQL["workers"])),
        stuck_partitions=[row[0] for row in await conn.fetch(SQL["stuck"], list(range(PARTITIONS)))],
        newest_received=newest["received_at"],
        newest_occurred=newest["occurred_at"],
        **configuration,
    )
