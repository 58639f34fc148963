"""The transports under test, each with what must run beside the API and the workers."""

import asyncio
import itertools
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import msgspec
import pytest
from conftest_api import App, Instance, running_instance, until

from questline.assembly import new_registry, now
from questline.assembly_carriers import build_relay
from questline.settings import Settings, base_environment, environment_of
from questline.store.ids import EventIds
from tests.services import Service

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "metrics": {"tasks": {"on": "task", "count": True}, "last": {"on": "task", "last": "n"}},
    "rules": {"task": {"on": "task", "award": {"coins": 1}}},
}

_RECORD = """
    CREATE TABLE applied (position bigint GENERATED ALWAYS AS IDENTITY, project_id integer, event_id uuid);
    GRANT INSERT ON applied TO public;
    CREATE FUNCTION note_applied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO applied (project_id, event_id) VALUES (NEW.project_id, NEW.event_id);
        RETURN NEW;
    END $$;
    CREATE TRIGGER note_applied BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION note_applied()"""
_APPLIED = """
    SELECT e.external_user, e.external_id FROM applied a
    JOIN events e ON e.project_id = a.project_id AND e.id = a.event_id JOIN projects p ON p.id = a.project_id
    WHERE p.app_id = $1 AND e.type = 'task' ORDER BY a.position"""
_ENDED = """
    SELECT count(*) FROM events e JOIN projects p ON p.id = e.project_id
    WHERE p.app_id = $1 AND e.type = 'task' AND (
        EXISTS (SELECT FROM decisions d WHERE d.project_id = e.project_id AND d.event_id = e.id)
        OR EXISTS (SELECT FROM dead_letters d WHERE d.project_id = e.project_id AND d.event_id = e.id))"""


class Carriage(msgspec.Struct, frozen=True):
    """One transport: the fixture of its broker, its settings, and what runs beside the workers."""

    broker: str = ""  # the name of a session's fixture, which gives a Service
    settings: Callable[[Service], dict[str, Any]] = lambda _: {}
    beside: Callable[[Settings], AbstractAsyncContextManager[None]] = lambda _: nullcontext()


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[None]:
    """A relay for as long as the block lasts."""
    stop = asyncio.Event()
    task = asyncio.create_task(build_relay(settings, new_registry(), now, EventIds().new).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


_topics = itertools.count(1)

CARRIAGES = {
    "postgres": Carriage(),
    "rabbitmq": Carriage(
        "rabbitmq", lambda broker: {"transport": "rabbitmq", "rabbitmq_url": broker.url}, relaying
    ),
    "kafka": Carriage(
        "kafka", lambda broker: {"transport": "kafka", "kafka_servers": broker.url, "kafka_topic": f"suite.{next(_topics)}"}
    ),
}  # fmt: skip

QUEUED = [name for name in CARRIAGES if name != "kafka"]  # a command finds there what was acknowledged before it
BROKERS = [name for name, carriage in CARRIAGES.items() if carriage.broker]


class Installation:
    """An API, workers as they are asked for, and what the transport needs beside them."""

    def __init__(self, questline: Instance, broker: Service | None) -> None:
        self.questline = questline
        self._broker = broker

    @property
    def broker(self) -> Service:
        assert self._broker is not None
        return self._broker

    async def app(self) -> App:
        """A new project with the suite's program."""
        return await self.questline.app(PROGRAM)

    async def until_ended(self, app: App, events: int) -> None:
        """Wait until so many events of a project are applied or dead letters."""

        async def ended() -> bool:
            return await self.questline.owner.fetchval(_ENDED, app.app_id) >= events

        await until(ended)

    async def applied(self, app: App) -> dict[str, list[str]]:
        """Return what was applied of each user, in the order in which it was; what was applied twice stands there twice."""
        found: dict[str, list[str]] = defaultdict(list)
        for user, id_ in await self.questline.owner.fetch(_APPLIED, app.app_id):
            found[user].append(id_)
        return dict(found)

    async def free_partitions(self) -> None:
        """Let the leases of workers that are gone run out now."""
        await self.questline.owner.execute(
            "UPDATE partition_leases SET expires_at = now() - interval '1 s'; UPDATE workers SET expires_at = now() - interval '1 s'"
        )

    @contextmanager
    def worker_to_be_killed(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A worker in a process of its own."""
        with process_of("work", self.questline.settings) as process:
            yield process


@contextmanager
def process_of(command: str, settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command of ours as a process; on leaving it is killed if it lives."""
    quiet = subprocess.DEVNULL
    environment = {**base_environment(), **environment_of(settings)}
    whole = [sys.executable, "-m", "questline.cli.main", command]
    process = subprocess.Popen(whole, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def installed(name: str, request: pytest.FixtureRequest, database: Any) -> AsyncIterator[Installation]:
    """Yield an installation with a transport, which is ready."""
    carriage = CARRIAGES[name]
    broker = request.getfixturevalue(carriage.broker) if carriage.broker else None
    async with running_instance(database, **(carriage.settings(broker) if broker else {})) as questline:
        await questline.owner.execute(_RECORD)
        async with carriage.beside(questline.settings):
            yield Installation(questline, broker)
        await questline.owner.execute(
            "DROP TRIGGER note_applied ON decisions; DROP FUNCTION note_applied; DROP TABLE applied"
        )
