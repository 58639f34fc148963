"""PostgreSQL takes no writes, as a standby or while it fails over: who sends is told to come again, and nothing is refused."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from conftest_api import PROGRAM, App, Instance, running_instance, until

from questline.model.limits import ACCEPT_LANE_EVENTS_MIN
from questline.store.roles import APP_ROLE

COUNT = 3 * ACCEPT_LANE_EVENTS_MIN
EVENTS = [{"type": "task", "userId": f"u{n % 9}", "eventId": f"e{n}", "idempotencyKey": f"k{n}"} for n in range(COUNT)]


@pytest.fixture
async def app(database: Any) -> AsyncIterator[App]:
    """A project on an instance whose connections end with the test."""
    async with running_instance(database) as instance:
        yield await instance.app(PROGRAM)


@asynccontextmanager
async def standby(instance: Instance) -> AsyncIterator[None]:
    """Have all connections lead to one that takes no writes. They go on leading there; new ones after the block do not."""
    owner = instance.owner
    role = f"ALTER ROLE {APP_ROLE} IN DATABASE {await owner.fetchval('SELECT current_database()')}"

    async def no_writes() -> bool:
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE usename = '{APP_ROLE}' AND datname = current_database() AND backend_start < $1",
            since,
        )
        ready = await instance.http.get("/ready")
        return ready.status_code == 503 and "takes no writes" in ready.json()["dependencies"]["postgres"]

    await owner.execute(f"{role} SET default_transaction_read_only = on")
    since = await owner.fetchval("SELECT clock_timestamp()")
    try:
        await until(no_writes)
        yield
    finally:
        await owner.execute(f"{role} RESET default_transaction_read_only")


async def single(app: App) -> httpx.Response:
    return await app.post("/v1/events", json=EVENTS[0])


async def waited_for(app: App) -> httpx.Response:
    return await app.post("/v1/events", json=EVENTS[0], headers={"Prefer": "wait=10"})


async def small_batch(app: App) -> httpx.Response:
    return await app.post("/v1/events/batch", json=EVENTS[:3])


async def large_batch(app: App) -> httpx.Response:
    return await app.post("/v1/events/batch", json=EVENTS)


async def stream(app: App) -> httpx.Response:
    lines = "\n".join(json.dumps(event) for event in EVENTS)
    return await app.post("/v1/ingest/stream", content=lines, headers={"content-type": "application/x-ndjson"})


async def visitor(app: App) -> httpx.Response:
    return await app.post("/v1/track", json={"event": "task", "anonymousId": "a visitor", "messageId": "m"})


async def program(app: App) -> httpx.Response:
    return await app.put(
        "/v1/program", json=PROGRAM | {"metrics": PROGRAM["metrics"] | {"all": {"on": "task", "count": True}}}
    )


@pytest.mark.parametrize("ask", [single, waited_for, small_batch, large_batch, stream, visitor, program])
async def test_what_cannot_be_written_is_answered_503_and_taken_as_soon_as_there_is_who_takes_it(
    app: App, ask: Callable[[App], Awaitable[httpx.Response]]
) -> None:
    async with standby(app.instance):
        answer = await ask(app)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text

    async def is_taken() -> bool:
        again = await ask(app)
        assert again.status_code in (200, 202, 503)
        assert '"status":"rejected"' not in again.text
        return again.status_code != 503

    async def is_ready() -> bool:
        return (await app.instance.http.get("/ready")).status_code == 200

    await until(is_taken)
    await until(is_ready)
