"""Reminders of streaks at risk: how far each day of each zone has come, and whom it concerns."""

from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("reminders")


async def projects(conn: Connection) -> list[int]:
    """Return the projects whose program in force has reminders."""
    return [row[0] for row in await conn.fetch(SQL["projects"])]


async def zones(conn: Connection, project_id: int) -> list[str]:
    """Return the zones that users of a project have chosen."""
    return [row[0] for row in await conn.fetch(SQL["zones"], project_id)]


async def hold(conn: Connection, project_id: int, streak: str, zone: str, day: int) -> int | None:
    """Return the last user done of a day, held until the transaction ends; None: it is done, or another worker has it."""
    await conn.execute(SQL["begin"], project_id, streak, zone, day)
    found: int | None = await conn.fetchval(SQL["hold"], project_id, streak, zone, day)
    return found


async def users_at_risk(
    conn: Connection, project_id: int, streak: str, zone: str, day: int, length: int, after: int, limit: int
) -> list[tuple[int, str]]:
    """Return (internal id, customer's id) of the next users who have not kept up a run yet, by internal id."""
    rows = await conn.fetch(SQL["users_at_risk"], project_id, streak, zone, day, length, after, limit)
    return [(row[0], row[1]) for row in rows]


async def advance(conn: Connection, project_id: int, streak: str, zone: str, after: int, *, done: bool) -> None:
    """Note how far a day has come."""
    await conn.execute(SQL["advance"], project_id, streak, zone, after, done)
