"""`questline deliver` as a process: what it shows, how it stops, and what is left when it is killed."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from conftest_api import Instance, until
from conftest_deliveries import (
    Receiver,
    Reply,
    delivering,
    due_now,
    fulfilments,
    receiving,
    redeem,
    shop,
    state,
    until_tried,
)

from questline.settings import base_environment, environment_of

Process = asyncio.subprocess.Process


@asynccontextmanager
async def process(questline: Instance) -> AsyncIterator[tuple[Process, str]]:
    """Yield `questline deliver` and where its page is."""
    settings = msgspec.structs.replace(questline.settings, worker_port=0)
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "questline.cli.main", "deliver",
        env={**base_environment(), **environment_of(settings)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stdout is not None
    try:
        line = json.loads(await started.stdout.readline())
        assert line["event"] == "deliverer.listening", line
        yield started, line["url"]
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


def heard(receiver: Receiver) -> Callable[[], Any]:
    async def is_heard() -> bool:
        return bool(receiver.heard)

    return is_heard


async def test_it_tells_how_it_does_and_finishes_what_is_under_way_on_a_signal(questline: Instance) -> None:
    go_on = asyncio.Event()
    async with receiving() as receiver, httpx.AsyncClient(timeout=60) as http:

        async def wait(_: dict[str, Any]) -> Reply:
            await go_on.wait()
            return 200, {}

        receiver.reply = wait
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with process(questline) as (started, url):
            await until(heard(receiver))
            assert [(await http.get(f"{url}{path}")).status_code for path in ("/health", "/ready")] == [200, 200]

            async def are_told() -> bool:
                told = (await http.get(f"{url}/metrics")).text.splitlines()
                return {"questline_deliveries_under_way 1.0", "questline_deliveries_waiting 1.0"} <= set(told)

            await until(are_told)
            started.send_signal(signal.SIGTERM)
            go_on.set()
            assert await started.wait() == 0
    await questline.drain()
    assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)


@pytest.mark.parametrize("moment", ["while it waits for the answer", "before it has noted the answer"])
async def test_a_killed_deliverer_sends_again_under_the_same_id_and_nothing_happens_twice(
    questline: Instance, moment: str
) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        lock = "SELECT pid FROM pg_locks WHERE NOT granted"
        async with _holding(questline) as held:

            async def first(_: dict[str, Any]) -> Reply:
                if moment == "while it waits for the answer":
                    await asyncio.Event().wait()
                await held.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", id_)
                return 200, {}

            async def waits_for_the_row() -> bool:
                return bool(await questline.owner.fetchval(lock))

            receiver.reply = first
            async with process(questline) as (started, _):
                noting = moment == "before it has noted the answer"
                await until(waits_for_the_row if noting else heard(receiver))
                started.kill()
                await started.wait()
        receiver.reply = receiver.agree
        await until(_nobody_waits(questline, lock))
        [before] = await fulfilments(app)
        assert (before["status"], before["delivery"]["status"]) == ("PENDING", "PENDING")
        await due_now(app)
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert receiver.ids == [id_, id_]
        assert receiver.heard[0] == receiver.heard[1]
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)
        burnt = "SELECT amount FROM transfers t JOIN projects p ON p.id = t.project_id WHERE p.app_id = $1 AND credit = 'burn'"
        assert [row["amount"] for row in await questline.owner.fetch(burnt, app.app_id)] == [10]


@asynccontextmanager
async def _holding(questline: Instance) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of somebody else's, which is rolled back."""
    conn = await asyncpg.connect(questline.settings.dsn)
    transaction = conn.transaction()
    await transaction.start()
    try:
        yield conn
    finally:
        await transaction.rollback()
        await conn.close()


def _nobody_waits(questline: Instance, lock: str) -> Callable[[], Any]:
    async def nobody() -> bool:
        return not await questline.owner.fetchval(lock)

    return nobody
