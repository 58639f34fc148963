"""What waits, as far as it is counted."""

from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.limits import PARTITIONS
from questline.store.ids import received_at
from questline.store.statements import statements

SQL = statements("backlog")


class Waiting(msgspec.Struct, frozen=True):
    """How much waits; counts stop at a bound. The oldest is the one received first of all that are first in line."""

    waiting: int
    dead_letters: int
    parked_users: int
    oldest_received_at: datetime | None


async def measure(conn: Connection, counted_max: int, lines_max: int) -> Waiting:
    """Return what waits in all projects, for the operator."""
    counts = dict(await conn.fetchrow(SQL["counts"], counted_max))
    oldest = None
    if counts["waiting"]:
        oldest = await conn.fetchval(SQL["oldest"], list(range(PARTITIONS)), lines_max)
    return Waiting(**counts, oldest_received_at=None if oldest is None else received_at(oldest))
