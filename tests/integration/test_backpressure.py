"""What waits is bounded: in events, in bytes, in time. Turned away with 503 is what was not stored, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from conftest_api import App, Instance, until

from questline.assembly import running_api
from questline.settings import Settings
from questline.transport import stall

EVENT_BYTES = 100_000
QUEUE_BYTES = 1_000_000


@asynccontextmanager
async def serving(database: Any, **settings: Any) -> AsyncIterator[App]:
    """A project on an API with settings of its own."""
    chosen = Settings(dsn=database.app_dsn, dev=True, pool_connections=4, **settings)
    async with running_api(chosen) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            owner = await asyncpg.connect(database.owner_dsn)
            yield await Instance(chosen, http, owner).app()
            await owner.close()


def event_of(number: int, large: dict[str, Any]) -> dict[str, Any]:
    (field,) = large
    return {"type": f"big {field}", "userId": "ada", "eventId": f"{field} {number}", **large}


async def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    turned_away = [a for a in answers if a.status_code == 503]
    assert {(a.json()["code"], a.headers["retry-after"]) for a in turned_away} <= {("overloaded", "1")}
    return {code: sum(a.status_code == code for a in answers) for code in (202, 503)}


@pytest.mark.parametrize("field", ["payload", "context"])
async def test_what_waits_for_a_locked_table_is_bounded_in_bytes_and_what_is_turned_away_was_not_stored(
    database: Any, field: str
) -> None:
    async with serving(database, accept_queue_bytes=QUEUE_BYTES) as app:
        await app.send("warm", "ada")
        owner = app.instance.owner
        lock = owner.transaction()
        await lock.start()
        await owner.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        large = {field: {"text": "x" * EVENT_BYTES}}
        sent = [asyncio.create_task(app.post("/v1/events", json=event_of(n, large))) for n in range(80)]

        async def some_turned_away() -> bool:
            return sum(task.done() for task in sent) >= 20

        await until(some_turned_away)
        await lock.rollback()
        counted = await statuses(await asyncio.gather(*sent))
        stored = await owner.fetchval("SELECT count(*) FROM events WHERE type = $1", f"big {field}")
        assert stored == counted[202]
        assert 10 <= counted[202] <= 60  # the queue, and two groups of 2 MiB that wait for the lock
        for task in sent:
            number = sent.index(task)
            if task.result().status_code == 503:  # who obeys loses nothing
                assert (await app.post("/v1/events", json=event_of(number, large))).status_code == 202
        assert await owner.fetchval("SELECT count(*) FROM events WHERE type = $1", f"big {field}") == 80


async def test_a_request_waits_for_a_bounded_time_when_the_store_does_not_answer(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall.Stall.__init__, "__defaults__", (0.5,))
    async with serving(database) as app:
        await app.send("warm", "ada")
        await app.send("warm", "ada", headers={"Prefer": "wait=5"})
        owner = app.instance.owner
        lock = owner.transaction()
        await lock.start()
        await owner.execute("LOCK TABLE dedupe_keys IN ACCESS EXCLUSIVE MODE")
        sent = [asyncio.create_task(app.send("small", f"u{n}", eventId=str(n))) for n in range(1_500)]

        async def turned_away() -> bool:
            return any(task.done() for task in sent)

        await until(turned_away)
        at_once = await app.send("small", "ada", eventId="late")
        assert (at_once.status_code, at_once.json()["code"]) == (503, "overloaded")
        await lock.rollback()
        counted = await statuses(await asyncio.gather(*sent))
        assert counted[503] >= 400
        assert await owner.fetchval("SELECT count(*) FROM events WHERE type = 'small'") == counted[202]

        async def taken_again() -> bool:
            return (await app.send("small", "ada", eventId="late")).status_code == 202

        await until(taken_again)


async def test_a_backlog_beyond_the_setting_refuses_new_events_until_it_is_worked_off(database: Any) -> None:
    async with serving(database, backlog_events_max=5) as app:
        await app.post("/v1/events/batch", json=[{"type": "x", "userId": "ada", "eventId": str(n)} for n in range(20)])

        async def is_refused() -> bool:
            return (await app.send("x", "bob")).status_code == 503

        await until(is_refused)
        assert (await app.post("/v1/events/batch", json=[{"type": "x", "userId": "eve"}])).status_code == 503
        await app.instance.drain()

        async def is_taken() -> bool:
            return (await app.send("x", "bob")).status_code == 202

        await until(is_taken)
