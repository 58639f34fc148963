"""A whole Questline over a log: the API that writes to it, workers that read it, a real broker and real PostgreSQL."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from confluent_kafka import Producer
from conftest_api import SECRET_KEYS, TOKEN_KEYS, App, Instance, until

from questline.assembly import running_api
from questline.settings import Settings
from questline.store import kafka_offsets
from questline.transport.kafka_topic import Standing, Topic, Unreachable, standing

# A step gives one coin, so that the balance after each tells which step it was.
TRAIL: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {"step": {"on": "step", "award": {"coins": 1}}},
}
_topics = itertools.count(1)


class Logged(Instance):
    """An instance whose events go through a topic of its own."""

    @property
    def topic(self) -> Topic:
        return Topic(self.settings.kafka_servers, self.settings.kafka_topic)

    async def standing(self) -> Standing:
        return await asyncio.to_thread(standing, self.topic)

    async def is_settled(self) -> bool:
        """Whether all that was written so far is taken in, and nothing is queued."""
        taken = await kafka_offsets.read(self.owner, self.topic.name)
        try:
            ends = (await self.standing()).ends
        except Unreachable:  # a topic's first moments
            return False
        return all(taken.get(number, 0) >= end for number, end in ends.items()) and await self._is_drained()

    async def settle(self) -> None:
        """Run a worker until nothing waits."""
        async with self.worker():
            await until(self.is_settled)

    def write(self, value: bytes | None, partition: int = 0, key: bytes | None = None) -> None:
        """Write a record past the API."""
        producer = Producer({"bootstrap.servers": self.topic.servers})
        producer.produce(self.topic.name, value, key, partition)
        assert producer.flush(10) == 0


@asynccontextmanager
async def logged_instance(database: Any, servers: str, **settings: Any) -> AsyncIterator[Logged]:
    """Run the API over a topic of its own."""
    given = {"transport": "kafka", "kafka_topic": f"questline.events.{next(_topics)}", **settings}
    chosen = Settings(
        dsn=database.app_dsn,
        dev=True,
        secret_keys=SECRET_KEYS,
        token_keys=TOKEN_KEYS,
        admin_token="operator-of-the-tests",
        pool_connections=8,
        kafka_servers=servers,
        **given,
    )
    async with running_api(chosen) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            owner = await asyncpg.connect(database.owner_dsn)
            yield Logged(chosen, http, owner, app)
            await owner.close()


async def order_of(questline: Logged, app: App, user: str) -> list[tuple[int, int]]:
    """What a user had after each step, and the step's number, in the order of what they had."""
    rows = await questline.owner.fetch(
        """SELECT (d.trace #>> '{balances,coins}')::integer AS had, (e.payload ->> 'n')::integer AS n
           FROM projects p JOIN events e ON e.project_id = p.id AND e.type = 'step' AND e.external_user = $2
           JOIN decisions d ON d.project_id = e.project_id AND d.event_id = e.id
           WHERE p.app_id = $1 ORDER BY had""", app.app_id, user,
    )  # fmt: skip
    return [(row["had"], row["n"]) for row in rows]


def in_order(steps: int) -> list[tuple[int, int]]:
    """What order_of says where each step was applied once, in the order of their numbers."""
    return [(n + 1, n) for n in range(steps)]
