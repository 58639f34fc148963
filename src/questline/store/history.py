"""Which database this is: what a cache outside it may have learnt is true of this one alone."""

from asyncpg import Connection, Pool

from questline.store.statements import statements

SQL = statements("history")


async def installation_of(pool: Pool | Connection) -> str:
    """Return a name of the database that no other has, the same for as long as it lives."""
    rows = await pool.fetch(SQL["installation"])
    return str(rows[0][0])
