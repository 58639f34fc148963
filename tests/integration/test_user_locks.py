"""Users are locked, and created, by many at once; no two transactions wait for each other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from conftest_api import Instance, several_wait_for

from questline.store import users


class Interrupted:
    """A connection between whose first two statements something else happens."""

    def __init__(self, conn: asyncpg.Connection, happens: Callable[[], Awaitable[Any]]) -> None:
        self._conn = conn
        self._happens = happens
        self._statements = 0

    async def fetch(self, *args: Any) -> Any:
        """Ask as a connection does."""
        rows = await self._conn.fetch(*args)
        self._statements += 1
        if self._statements == 1:
            await self._happens()
        return rows


async def test_who_meets_a_user_that_was_created_in_between_gives_way(questline: Instance, database: Any) -> None:
    await questline.app()
    project: int = await questline.owner.fetchval("SELECT max(id) FROM projects")
    ada, bob = (project, "ada"), (project, "bob")
    first, second = [await asyncpg.connect(database.owner_dsn) for _ in range(2)]

    async def ada_is_created_and_locked() -> None:
        await questline.owner.execute("INSERT INTO users (project_id, external_id) VALUES ($1, 'ada')", project)
        await users.lock(second, [ada])

    begun, holding = first.transaction(), second.transaction()
    await begun.start()
    await holding.start()
    try:
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with asyncio.timeout(60):
                await users.lock(Interrupted(first, ada_is_created_and_locked), [ada, bob])  # type: ignore[arg-type]
        wants_bob = asyncio.create_task(users.lock(second, [ada, bob]))  # whom the first had created
        await begun.rollback()
        assert set(await wants_bob) == {ada, bob}
        await holding.commit()
        async with first.transaction():
            assert set(await users.lock(first, [ada, bob])) == {ada, bob}
    finally:
        await first.close()
        await second.close()


async def test_who_is_not_waited_for_is_locked_last_so_that_nobody_waits_in_a_circle(
    questline: Instance, database: Any
) -> None:
    await questline.app()
    project: int = await questline.owner.fetchval("SELECT max(id) FROM projects")
    ada, bob = (project, "ada"), (project, "bob")
    first, second = [await asyncpg.connect(database.owner_dsn) for _ in range(2)]
    try:
        async with first.transaction():
            await users.lock(first, [ada, bob])

        async def lock_some() -> set[Any]:
            async with first.transaction():
                return set(await users.lock(first, [ada, bob], [bob]))

        async with second.transaction():
            await users.lock(second, [ada])
            async with several_wait_for(questline.owner, "SELECT 1", 1):
                waiting = asyncio.create_task(lock_some())
            assert set(await users.lock(second, [ada, bob])) == {ada, bob}  # the first has not taken bob yet
        assert await waiting == {ada, bob}
    finally:
        await first.close()
        await second.close()
