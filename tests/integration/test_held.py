"""What one project holds for long, its users, keys or boards, keeps nobody else waiting, and no event is to blame for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from conftest_api import PROGRAM, App, Instance, until, within

from questline.store import boards

MANY = [f"u{n}" for n in range(8)]


@asynccontextmanager
async def holding(database: Any, statement: str, *arguments: Any) -> AsyncIterator[None]:
    """A transaction of somebody else that has done this, for as long as the block lasts."""
    conn = await asyncpg.connect(database.owner_dsn)
    try:
        async with conn.transaction():
            await conn.fetch(statement, *arguments)
            yield
    finally:
        await conn.close()


def holding_users(database: Any, app: App) -> Any:
    users = "SELECT FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1 FOR NO KEY UPDATE OF u"
    return holding(database, users, app.app_id)


async def two_projects(questline: Instance) -> tuple[App, App]:
    """One with users, and another; their boards lie in different stripes."""
    first, second = await questline.app(PROGRAM), await questline.app(PROGRAM)
    for user in MANY:
        await first.send("task", user)
    await questline.drain()
    return first, second


async def number_of(app: App) -> int:
    found: int = await app.instance.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    return found


async def applied(app: App) -> dict[str, int]:
    """How many attempts of the project's events ended how."""
    rows = await app.instance.owner.fetch(
        "SELECT status, count(*) FROM attempts WHERE project_id = $1 GROUP BY 1", await number_of(app)
    )
    return dict(rows)


async def test_waited_events_of_held_users_are_stored_and_nobody_elses_are_turned_away(
    questline: Instance, database: Any
) -> None:
    first, second = await two_projects(questline)
    async with holding_users(database, first), within(60, "the waited events"):
        waited = [asyncio.create_task(first.send("task", user, headers={"Prefer": "wait=1"})) for user in MANY]
        others = []
        while not all(task.done() for task in waited):
            others.append((await second.send("task", "x")).status_code)
    assert set(others) == {202}
    assert [(answer.status_code, answer.json()["status"]) for answer in map(asyncio.Task.result, waited)] == [
        (202, "accepted")
    ] * len(MANY)
    await questline.drain()
    assert [await first.balance(user, "coins") for user in MANY] == [30] * len(MANY)


async def test_commands_of_held_users_are_turned_away_unstored_and_nobody_elses_wait(
    questline: Instance, database: Any
) -> None:
    first, second = await two_projects(questline)
    await second.send("task", "x")

    async def spend(app: App, user: str, key: str) -> tuple[int, str | None]:
        body = {"userId": user, "currency": "coins", "amount": 1}
        answer = await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": key})
        return answer.status_code, answer.json().get("code")

    async with holding_users(database, first), within(60, "the spends"):
        held = [asyncio.create_task(spend(first, user, user)) for user in MANY]
        others = []
        while not all(task.done() for task in held):
            others.append(await spend(second, "x", f"k{len(others)}"))
            if len(others) == 15:  # as much as there is
                break
        assert {await task for task in held} == {(503, "overloaded")}
    assert set(others) == {(201, None)}
    assert [await spend(first, user, user) for user in MANY] == [(201, None)] * len(MANY)


async def test_lanes_leave_events_of_held_users_where_they_wait_and_go_on(questline: Instance, database: Any) -> None:
    first, second = await two_projects(questline)
    async with holding_users(database, first):
        for n in range(30):
            await first.send("task", MANY[n % len(MANY)])
            await first.send("task", "free")
            await second.send("task", f"x{n}")
        async with questline.worker():

            async def all_others_are_applied() -> bool:
                done = await applied(second), await questline.owner.fetchval("SELECT count(*) FROM outbox")
                return done == ({"processed": 30}, 30)

            async with within(60, "the others' events"):
                await until(all_others_are_applied)
    await questline.drain()
    assert await applied(first) == {"processed": len(MANY) + 60}  # no try failed, and nobody was parked


async def test_lanes_leave_a_project_whose_boards_are_held_and_go_on(questline: Instance, database: Any) -> None:
    first, second = await two_projects(questline)
    holder = await asyncpg.connect(database.owner_dsn)
    async with holder.transaction():
        await boards.lock_alone(holder, await number_of(first))
        for n in range(30):
            await first.send("task", MANY[n % len(MANY)])
            await second.send("task", f"x{n}")
        async with questline.worker():

            async def all_others_are_applied() -> bool:
                return await applied(second) == {"processed": 30}

            async with within(60, "the others' events"):
                await until(all_others_are_applied)
    await holder.close()
    await questline.drain()
    assert await applied(first) == {"processed": len(MANY) + 30}


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=9"}], ids=["plain", "waited"])
async def test_only_who_brings_a_key_that_is_held_is_turned_away(
    questline: Instance, database: Any, prefer: dict[str, str]
) -> None:
    first, second = await two_projects(questline)
    await first.send("task", "u1", eventId="held")
    row = await questline.owner.fetchrow(
        "DELETE FROM dedupe_keys WHERE event_id = (SELECT id FROM events WHERE external_id = 'held' AND project_id = $1)"
        " RETURNING project_id, key_hash, event_id, content_hash",
        await number_of(first),
    )
    insert = "INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash) VALUES ($1, $2, $3, $4)"
    async with holding(database, insert, *row), within(60, "the events"):
        held = asyncio.create_task(first.send("task", "u1", eventId="held", headers=prefer))
        others = await asyncio.gather(
            *(app.send("task", f"x{n}", headers=prefer) for app in (first, second) for n in range(10))
        )
        answer = await held
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert {other.status_code for other in others} == {200 if prefer else 202}
