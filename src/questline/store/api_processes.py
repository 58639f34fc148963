"""API processes that live: each announces itself, so that all know how many share a limit."""

from uuid import UUID

from asyncpg import Pool

from questline.store.statements import statements

SQL = statements("api_processes")


async def announce(pool: Pool, process: UUID, seconds: float) -> int:
    """Say that a process lives for so many seconds more; return how many live."""
    live: int = await pool.fetchval(SQL["announce"], process, seconds)
    return live


async def leave(pool: Pool, process: UUID) -> None:
    """Take a process out at its clean end."""
    await pool.execute(SQL["leave"], process)
