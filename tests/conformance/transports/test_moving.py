"""docs/how-to/carriers.md, followed to the letter while events come in: its steps are read from the page and done in order."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from carriages import Installation, installed, relaying
from conftest_api import App, Instance, until

from questline.settings import Settings
from tests.services.rabbitmq import RabbitMQ

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "carriers.md").read_text(encoding="utf-8")
USERS = [f"u{n}" for n in range(20)]


def steps_of(heading: str) -> list[str]:
    """The numbered steps below a heading of the page, each on one line."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [
        " ".join(step.split()) for step in re.findall(r"^\d\. (.*?)(?=^\d\. |\Z)", section, re.MULTILINE | re.DOTALL)
    ]


class Operator:
    """Does what a step says."""

    def __init__(self, installation: Installation, rabbitmq: RabbitMQ) -> None:
        self._questline = installation.questline
        self._rabbitmq = rabbitmq
        self._running: dict[str, AsyncExitStack] = {}
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {
            "Start one relay": self._start_relay,
            "Wait until its `/ready` answers 200": self._handed_over,
            "Start workers with the two settings, and stop the old ones": self._to_rabbitmq,
            "Start workers with `QUESTLINE_TRANSPORT=postgres`, and stop those of RabbitMQ": self._to_postgres,
            "Stop the relay": self._stop_relay,
            "Take the broker away": self._end_broker,
        }

    async def do(self, step: str) -> None:
        (action,) = [action for said, action in self._actions.items() if step.startswith(said)]
        await action()

    async def start(self, name: str, process: Any) -> None:
        stack = self._running[name] = AsyncExitStack()
        await stack.enter_async_context(process)

    async def stop(self, name: str) -> None:
        if name in self._running:
            await self._running.pop(name).aclose()

    async def stop_all(self) -> None:
        for name in list(self._running):
            await self.stop(name)

    def _settings(self) -> Settings:
        settings: Settings = self._questline.settings
        return msgspec.structs.replace(settings, transport="rabbitmq", rabbitmq_url=self._rabbitmq.url)

    async def _start_relay(self) -> None:
        await self.start("relay", relaying(self._settings()))

    async def _handed_over(self) -> None:
        states = "SELECT count(*) FROM outbox WHERE relay_state IS NOT NULL"

        async def works() -> bool:
            return await self._questline.owner.fetchval(states) > 0

        await until(works)

    async def _to_rabbitmq(self) -> None:
        over = Instance(self._settings(), self._questline.http, self._questline.owner)
        await self.start("worker of rabbitmq", over.worker())
        await self.stop("worker of postgres")

    async def _to_postgres(self) -> None:
        await self.start("worker of postgres", self._questline.worker())
        await self.stop("worker of rabbitmq")

    async def _stop_relay(self) -> None:
        await self.stop("relay")

    async def _end_broker(self) -> None:
        self._rabbitmq.freeze()  # whoever still needed it would hang


@pytest.fixture
async def installation(request: pytest.FixtureRequest, database: Any) -> AsyncIterator[Installation]:
    """One that begins with the postgres transport."""
    async with installed("postgres", request, database) as found:
        yield found


@asynccontextmanager
async def sending(app: App, rounds: list[int]) -> AsyncIterator[None]:
    """Send an event of every user again and again for as long as the block lasts; `rounds` says how often."""
    stop = asyncio.Event()

    async def send() -> None:
        while not stop.is_set():
            events = [
                {"type": "task", "userId": user, "eventId": f"{user}-{rounds[0]}", "payload": {"n": rounds[0]}}
                for user in USERS
            ]
            answer = await app.post("/v1/events/batch", json=events)
            assert answer.status_code == 202, answer.text
            rounds[0] += 1

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        stop.set()
        await task


async def test_moving_a_running_installation_there_and_back_loses_and_doubles_nothing(
    installation: Installation, rabbitmq: RabbitMQ
) -> None:
    app, rounds = await installation.app(), [0]
    operator = Operator(installation, rabbitmq)
    counts = []

    async def a_few_more_applied() -> None:
        await installation.until_ended(app, len(USERS) * (rounds[0] + 3))
        counts.append(rounds[0])

    try:
        async with sending(app, rounds):
            await operator.start("worker of postgres", installation.questline.worker())
            await a_few_more_applied()
            for heading in ("Move a running installation to RabbitMQ", "And back"):
                for step in steps_of(heading):
                    await operator.do(step)
                    await a_few_more_applied()
        await installation.until_ended(app, len(USERS) * rounds[0])
        applied = await installation.applied(app)
    finally:
        rabbitmq.thaw()
        await operator.stop_all()
    assert applied == {user: [f"{user}-{n}" for n in range(rounds[0])] for user in USERS}
    assert len(counts) == 7
