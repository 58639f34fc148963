"""Which worker works on which partitions, for how long."""

from uuid import UUID

from asyncpg import Connection

from questline.model.limits import PARTITIONS
from questline.store.statements import statements

SQL = statements("leases")


async def hold(conn: Connection, owner: UUID, lease_seconds: float, version: str) -> list[int]:
    """Announce the worker, renew and balance its leases, take free ones; return the partitions it may work on now.

    Each living worker ends with its fair share of the partitions, within one renewal of a worker's coming or going.
    """
    live = await conn.fetchval(SQL["announce"], owner, lease_seconds, version)
    share = -(-PARTITIONS // live)
    held = [row[0] for row in await conn.fetch(SQL["renew"], owner, lease_seconds, share)]
    if len(held) < share:
        rows = await conn.fetch(SQL["acquire"], owner, lease_seconds, share - len(held), PARTITIONS)
        held.extend(row[0] for row in rows)
    return sorted(held)


async def release(conn: Connection, owner: UUID) -> None:
    """Give back every lease of the worker, at a clean end."""
    await conn.execute(SQL["release"], owner)
