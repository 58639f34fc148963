"""Whether the database can be used."""

from asyncpg import Pool

from questline.store.migrate import pending


async def check(pool: Pool) -> dict[str, str]:
    """Return what is wrong with each dependency, "ok" where nothing is; raises when the server cannot be reached."""
    async with pool.acquire(timeout=2) as conn:
        await conn.fetchval("SELECT 1")
        missing = await pending(conn)
    return {"postgres": "ok", "migrations": "ok" if not missing else f"missing: {', '.join(missing)}"}
