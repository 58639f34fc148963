"""docs/how-to/kafka.md is followed to the letter while clients send: to Kafka, and back to PostgreSQL."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from conftest_api import App, until, within
from conftest_kafka import TRAIL, Logged, in_order, logged_instance, order_of

from questline.assembly import build_worker, now, running_api
from questline.settings import Settings, base_environment, environment_of
from questline.store.migrate import migrate
from questline.transport import kafka_feed
from tests.services.kafka import Kafka

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kafka.md"
USERS = 12
STEP_SECONDS = 90.0


def steps_of(heading: str) -> list[str]:
    """The steps of a procedure of the page, in its order."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. \*\*(.+?)\.\*\*", section, re.MULTILINE)


class Installation:
    """Two APIs and a worker that are stopped and started with other settings while clients send."""

    def __init__(self, kafka: Settings, owner_dsn: str, questline: Logged) -> None:
        self.kafka = kafka
        self.postgres = msgspec.structs.replace(kafka, transport="postgres")
        self.owner_dsn = owner_dsn
        self.questline = questline
        self.apis: list[httpx.AsyncClient] = []
        self.under_way = 0
        self._running = AsyncExitStack()
        self._stop = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def migrate(self) -> None:
        await migrate(self.owner_dsn, now())

    async def start_apis(self, settings: Settings) -> None:
        for _ in range(2):
            asgi = await self._running.enter_async_context(running_api(settings))
            transport = httpx.ASGITransport(app=asgi, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30)
            self.apis.append(await self._running.enter_async_context(http))

    async def stop_apis(self) -> None:
        """A server ends in this order: it takes no connection, answers what is under way, and closes."""
        self.apis = []
        await until(self._is_answered)
        await self._running.aclose()

    async def _is_answered(self) -> bool:
        return self.under_way == 0

    async def restart_worker(self, settings: Settings) -> None:
        await self.stop_worker()
        self._stop = asyncio.Event()
        self._worker = asyncio.create_task(build_worker(settings).run(self._stop))

    async def stop_worker(self) -> None:
        self._stop.set()
        if self._worker is not None:
            await self._worker

    async def wait_for_empty_log(self) -> None:
        command = [str(Path(sys.executable).parent / "questline"), "lag", "--wait", "60"]
        environment = base_environment() | environment_of(self.kafka)
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert (process.returncode, "0 records wait in the log" in output.decode()) == (0, True), output

    def actions(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "Migrate": self.migrate,
            "Stop the APIs": self.stop_apis,
            "Start the APIs with Kafka": lambda: self.start_apis(self.kafka),
            "Start the APIs with PostgreSQL": lambda: self.start_apis(self.postgres),
            "Restart the workers with Kafka": lambda: self.restart_worker(self.kafka),
            "Restart the workers with PostgreSQL": lambda: self.restart_worker(self.postgres),
            "Wait until the log is empty": self.wait_for_empty_log,
        }


class Client:
    """Sends a user's steps one after the other, each until it is acknowledged, and some of them again later."""

    def __init__(self, installation: Installation, key: str, user: str) -> None:
        self._installation = installation
        self._headers = {"X-API-Key": key}
        self._user = user
        self.acknowledged = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._send(self.acknowledged)
            self.acknowledged += 1
            if self.acknowledged % 5 == 0:
                await self._send(self.acknowledged - 5)
            await asyncio.sleep(0.005)

    async def _send(self, n: int) -> None:
        body = {"type": "step", "userId": self._user, "eventId": f"{self._user}-{n}", "payload": {"n": n}}
        while True:
            apis = self._installation.apis
            if apis:
                self._installation.under_way += 1
                try:
                    answer = await apis[n % len(apis)].post("/v1/events", json=body, headers=self._headers)
                finally:
                    self._installation.under_way -= 1
                if answer.status_code == 202:
                    return
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers hear sooner than they need to in earnest that another one has come or gone."""
    monkeypatch.setattr(kafka_feed, "KAFKA_SESSION_SECONDS", 2.0)


@pytest.fixture(scope="module")
async def questline(database: Any, kafka: Kafka) -> AsyncIterator[Logged]:
    async with logged_instance(database, kafka.url) as instance:
        yield instance


async def test_the_documented_moves_to_kafka_and_back_lose_and_double_nothing_and_keep_order(
    questline: Logged, database: Any
) -> None:
    app = await questline.app(TRAIL)
    installation = Installation(questline.settings, database.owner_dsn, questline)
    actions, followed = installation.actions(), set()
    stop = asyncio.Event()
    clients = [Client(installation, app.key, f"u{n}") for n in range(USERS)]
    try:
        await installation.start_apis(installation.postgres)
        await installation.restart_worker(installation.postgres)
        async with asyncio.TaskGroup() as sending:
            for client in clients:
                sending.create_task(client.run(stop))
            for heading in ("Move a running installation to Kafka", "Move back to PostgreSQL"):
                await _more(clients)
                for step in steps_of(heading):
                    async with within(STEP_SECONDS, f"{heading}: {step}"):
                        await actions[step]()
                    followed.add(step)
                await _more(clients)
            stop.set()
        assert followed == actions.keys()
        await until(lambda: _is_applied(questline, app, clients))
    finally:
        async with within(STEP_SECONDS, "the worker ends"):
            await installation.stop_worker()
        async with within(STEP_SECONDS, "the APIs end"):
            await installation.stop_apis()
    for client in clients:
        assert await order_of(questline, app, client._user) == in_order(client.acknowledged)


async def _more(clients: list[Client]) -> None:
    """Let every client get some more events acknowledged."""
    before = [client.acknowledged for client in clients]

    async def all_went_on() -> bool:
        return all(client.acknowledged > had + 20 for client, had in zip(clients, before, strict=True))

    await until(all_went_on)


async def _is_applied(questline: Logged, app: App, clients: list[Client]) -> bool:
    found = await questline.owner.fetchval(
        "SELECT count(*) FROM decisions WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)", app.app_id
    )
    return found >= sum(client.acknowledged for client in clients)
