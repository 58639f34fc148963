"""What is simulated: workers and an API with the product's code, clients that repeat, and harm that the seed chooses."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

import asyncpg
import msgspec
import pytest
from asyncpg.pgproto import pgproto
from prometheus_client import CollectorRegistry

from questline import assembly_worker
from questline.model.event import SPEND, AcceptedEvent
from questline.model.hashing import content_hash, user_hash
from questline.processing import command_groups, commands, connected, lane, partitions
from questline.processing.commands import CommandResult, Commands, Overloaded, Unavailable, UserParked
from questline.processing.meters import ProcessingMeters
from questline.settings import Settings
from questline.store import accept, pool
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import connect
from questline.telemetry.projects import ProjectEvents
from questline.transport import gathering, stall

from .scheduler import BEGIN, Crashed, Process, Scheduler, current

USERS = 6
DAYS = 3
EVENTS = 36
WORKERS = 2
LANES = 2
CLIENTS = 3
PAID_A_DAY = 1

PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}, "coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {
        "task": {"on": "task", "award": {"XP": 10, "coins": 3}},
        # Which events are paid, and so how much, depends on the order in which a user's events are applied.
        "early": {"on": "task", "award": {"gems": {"field": "minutes"}}, "limit": {"times": PAID_A_DAY, "per": "day"}},
    },
    "streaks": {"daily": {"on": "task"}},
    "boards": {"xp": {"currency": "XP", "periods": ["daily", "all-time"]}, "tasks": {"metric": "tasks"}},
}  # fmt: skip

# The database reads the scheduler's clock, and throws no dice: ours come before PostgreSQL's own in the path. The trigger
# refuses what poisoned events do, with an error of choice, until their time is over.
INSTALL = """
    CREATE SCHEMA sim;
    GRANT USAGE ON SCHEMA sim TO public;
    CREATE TABLE sim.clock (at timestamptz NOT NULL, passed float8 NOT NULL);
    INSERT INTO sim.clock VALUES ('2026-03-02 12:00Z', 0);
    CREATE TABLE sim.poison (event_id uuid PRIMARY KEY, code text NOT NULL, until float8 NOT NULL);
    GRANT SELECT ON sim.clock, sim.poison TO public;
    CREATE FUNCTION sim.now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM sim.clock';
    CREATE FUNCTION sim.random() RETURNS float8 VOLATILE LANGUAGE sql AS 'SELECT 0.5::float8';
    CREATE FUNCTION sim.poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE found_code text := (SELECT p.code FROM sim.poison p, sim.clock c WHERE p.event_id = NEW.event_id AND c.passed < p.until);
    BEGIN
        IF found_code IS NOT NULL THEN RAISE EXCEPTION 'poison' USING ERRCODE = found_code; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER poisoned BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION sim.poisoned();
"""  # fmt: skip


class Harm(msgspec.Struct, frozen=True):
    """How often each kind of harm comes, in a step."""

    kill: float = 0.004
    cut: float = 0.006
    jump: float = 0.004
    times: int = 25  # in all


class World:
    """One simulated installation, and what its clients were told."""

    def __init__(
        self, seed: int, dsn: str, observer: asyncpg.Connection, marks: asyncpg.Connection, project_id: int, harm: Harm
    ) -> None:
        self.scheduler = Scheduler(seed, observer)
        self.accepted: dict[str, list[AcceptedEvent]] = defaultdict(
            list
        )  # by user, in the order they were acknowledged
        self.spends: dict[str, tuple[str, int, CommandResult]] = {}
        self.deadly: set[str] = set()  # external ids of events that can never be applied
        self.fragile: set[str] = set()  # of those that cannot for a while
        self.deliveries = 0
        self.harms = 0
        self._dsn = dsn
        self._observer = observer
        self._marks = marks  # the clients' own, which is asked one thing at a time as all are
        self._project_id = project_id
        self._harm = harm
        self._ids = 0
        self._waiting = -1
        self._workers = [self._worker(n) for n in range(WORKERS)]
        self._api, self._commands = self._new_api()
        self._clients = [Process(f"client-{n}", self.scheduler) for n in range(CLIENTS)]
        self._sending: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Let the clients send all they have under harm, then let the workers finish without."""
        chance = self.scheduler.chance
        self.scheduler.harm = self._do_harm
        for number, client in enumerate(self._clients):
            users = [f"user-{n}" for n in range(USERS) if n % CLIENTS == number]
            self._sending.append(client.spawn(self._send(random.Random(chance.random()), users)))
        await self.scheduler.run(lambda: all(task.done() for task in self._sending))
        for task in self._sending:
            task.result()
        self.scheduler.harm = self._look
        await self.scheduler.run(lambda: self._waiting == 0)

    async def end(self) -> None:
        """End every process."""
        for process in (*self._clients, *self._workers, self._api):
            await self.scheduler.kill(process)

    def new_id(self) -> UUID:
        """Return ids that rise, as UUIDv7 of the scheduler's time."""
        self._ids += 1
        ms = int((BEGIN + timedelta(seconds=self.scheduler.now)).timestamp() * 1000)
        return pgproto.UUID(((ms << 16 | 0x7000) << 64 | 1 << 63 | self._ids).to_bytes(16, "big"))

    def _worker(self, number: int) -> Process:
        process = Process(f"worker-{number}.{self._ids}", self.scheduler)
        with mock.patch.multiple(assembly_worker, now=process.clock, EventIds=lambda: SimpleNamespace(new=self.new_id)):
            worker = assembly_worker.build_worker(Settings(dsn=self._dsn, lanes=LANES), CollectorRegistry())
        worker._services = worker._services[:1]  # the leases; the other services have nothing to do here
        process.spawn(worker.run(asyncio.Event()))
        return process

    def _new_api(self) -> tuple[Process, Commands]:
        process = Process(f"api.{self._ids}", self.scheduler)
        registry = CollectorRegistry()
        meters = ProcessingMeters(registry, ProjectEvents(registry))
        made = Commands(self._dsn, process.clock, self.new_id, meters)
        token = current.set(process)
        made.start()
        current.reset(token)
        return process, made

    async def _do_harm(self) -> None:
        chance, harm = self.scheduler.chance, self._harm
        drawn = chance.random()
        if drawn >= harm.kill + harm.cut + harm.jump or self.harms == harm.times:
            return
        self.harms += 1
        number = chance.randrange(WORKERS + 1)
        victim = self._api if number == WORKERS else self._workers[number]
        if drawn < harm.kill:
            await self.scheduler.kill(victim)
            if number == WORKERS:
                self._api, self._commands = self._new_api()
            else:
                self._workers[number] = self._worker(number)
        elif drawn < harm.kill + harm.cut:
            await self.scheduler.cut(victim)
        else:
            seconds = chance.choice((-5.0, -0.5, 0.5, 7.0, 60.0))
            await self.scheduler.jump(chance.choice((None, victim)), seconds)

    async def _look(self) -> None:
        self._waiting = await self._observer.fetchval(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM retries)"
        )

    async def _send(self, chance: random.Random, users: Sequence[str]) -> None:
        """Send the users' events, each some times over, in an order that has nothing to do with when they happened."""
        numbers = [(user, n) for user in users for n in range(EVENTS // USERS)]
        chance.shuffle(numbers)
        spends = 0
        while numbers:
            chosen, numbers = numbers[: (size := chance.choice((1, 1, 3, 6)))], numbers[size:]
            drafts = [self._draft(chance, user, f"{user}-{n}") for user, n in chosen]
            if len(drafts) == 1 and chance.random() < 0.3:
                await self._wait_for(drafts[0])
            else:
                await self._deliver(drafts)
            if chance.random() < 0.4:  # again, as a client does that missed the answer; and some of another delivery
                await self._deliver([*drafts, *chance.sample(drafts, chance.randrange(len(drafts) + 1))])
            if chance.random() < 0.5:
                spends += 1
                user = chance.choice(users)
                key, amount = f"spend-{user}-{spends}", chance.randrange(1, 6)
                for _ in range(chance.choice((1, 1, 2))):
                    await self._spend(key, user, amount)

    def _draft(self, chance: random.Random, user: str, external_id: str) -> dict[str, Any]:
        poison = chance.choices(("", "40001", "23514"), (0.78, 0.18, 0.04))[0]
        return {
            "user": user,
            "external_id": external_id,
            "day": chance.randrange(DAYS),
            "minutes": chance.randrange(1, 30),
            "poison": poison,
            "for": chance.uniform(0.2, 5.0),
        }

    async def _deliver(self, drafts: Sequence[dict[str, Any]]) -> None:
        """Store events, again and again until that is answered."""
        while True:
            events = [await self._event(draft) for draft in drafts]
            first_of = {event.key_hash: event for event in reversed(events)}
            distinct = [event for event in events if first_of[event.key_hash] is event]
            self.deliveries += 1

            async def store(distinct: list[AcceptedEvent] = distinct) -> None:
                conn = await connect(self._dsn)
                try:
                    await accept.accept(conn, distinct)
                finally:
                    conn.terminate()

            if await self._answered(store()) is not None:
                break
        self._acknowledge(distinct)

    async def _wait_for(self, draft: dict[str, Any]) -> None:
        """Send a waited event; of a parked user, it is stored to be applied later."""
        result = await self._command(lambda: self._event(draft))
        if result is None:
            await self._deliver([draft])
        else:
            self._acknowledge([self._unpoisoned(draft)])

    async def _spend(self, key: str, user: str, amount: int) -> None:
        payload = {"currency": "coins", "amount": amount}

        async def made() -> AcceptedEvent:
            return self._accepted(SPEND, user, key, payload, 0)

        result = await self._command(made)
        if result is None:
            return  # the user is parked: it was not stored, and this client does without
        before = self.spends.setdefault(key, (user, amount, result))[2]
        assert (result.status, result.event_id) == (before.status, before.event_id), "a repeat was answered otherwise"

    async def _command(self, make: Callable[[], Any]) -> CommandResult | None:
        """Run a command until it is answered; None: the user is parked."""
        while True:
            event = await make()
            try:
                result = await self._answered(self._commands.run(event))
            except UserParked:
                return None
            if result is not None:
                assert not result.reused
                return result

    async def _answered(self, work: Any) -> Any:
        """Return what the API of this moment answers, or True for nothing; None when it died over it or could not."""
        process = self._api
        task = process.spawn(work)
        died = asyncio.ensure_future(process.dead.wait())
        await asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        try:
            if task.done() and not task.cancelled():
                return task.result() or True
        except (Crashed, Overloaded, Unavailable, *TRANSIENT_FAULTS):
            pass  # whether it was stored is unknown
        await self.scheduler.sleep(0.5)
        return None

    def _acknowledge(self, events: Sequence[AcceptedEvent]) -> None:
        for event in events:
            if all(event.external_id != known.external_id for known in self.accepted[event.user]):
                self.accepted[event.user].append(event)

    async def _event(self, draft: dict[str, Any]) -> AcceptedEvent:
        event = self._unpoisoned(draft)
        if draft["poison"]:
            is_deadly = draft["poison"] == "23514"
            (self.deadly if is_deadly else self.fragile).add(draft["external_id"])
            until = float("inf") if is_deadly else draft.setdefault("until", self.scheduler.now + draft["for"])
            await self._marks.execute("INSERT INTO sim.poison VALUES ($1, $2, $3)", event.id, draft["poison"], until)
        return event

    def _unpoisoned(self, draft: dict[str, Any]) -> AcceptedEvent:
        payload = {"minutes": draft["minutes"]}
        return self._accepted("task", draft["user"], draft["external_id"], payload, draft["day"])

    def _accepted(self, type_: str, user: str, key: str, payload: dict[str, Any], day: int) -> AcceptedEvent:
        encoded, at = msgspec.json.encode(payload), BEGIN - timedelta(days=day)
        return AcceptedEvent(
            self.new_id(), self._project_id, type_, user, encoded.decode(), at, at, content_hash(key.encode()),
            content_hash(encoded), user_hash(self._project_id, user), key, external_id=key,
        )  # fmt: skip


def under(monkeypatch: pytest.MonkeyPatch, running: Callable[[], Scheduler]) -> None:
    """Put the product's statements, waits and stopwatches under the scheduler that runs; other tasks are left alone."""
    opened, execute, plain, closed = (
        asyncpg.connect,
        asyncpg.Connection._execute,
        asyncpg.Connection.execute,
        asyncpg.Connection.close,
    )

    async def connect_counted(*arguments: Any, **more: Any) -> Any:
        process = current.get()
        if process is None:
            return await opened(*arguments, **more)
        settings = {name: value for name, value in more["server_settings"].items() if name != "lock_timeout"}
        more = {**more, "server_settings": settings}  # it is PostgreSQL's clock, which no seed reproduces
        conn = await process.scheduler.gated(process, None, "CONNECT", lambda: opened(*arguments, **more))
        process.connections.append(conn)
        return conn

    async def execute_gated(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        process = current.get()
        if process is None:
            return await execute(self, query, *arguments, **more)
        return await process.scheduler.gated(process, self, query, lambda: execute(self, query, *arguments, **more))

    async def plain_gated(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        process = current.get()
        if process is None or arguments:
            return await plain(self, query, *arguments, **more)
        return await process.scheduler.gated(process, self, query, lambda: plain(self, query, **more))

    async def close_counted(self: Any, **more: Any) -> None:
        process = current.get()
        if process is None:
            await closed(self, **more)
        else:
            await process.scheduler.counted(None, lambda: closed(self, **more))

    monkeypatch.setattr(asyncpg, "connect", connect_counted)
    monkeypatch.setattr(asyncpg.Connection, "_execute", execute_gated)
    monkeypatch.setattr(asyncpg.Connection, "execute", plain_gated)
    monkeypatch.setattr(asyncpg.Connection, "close", close_counted)
    waits = SimpleNamespace(**{**vars(asyncio), "sleep": lambda seconds: running().sleep(seconds)})
    watch = SimpleNamespace(monotonic=lambda: running().now, perf_counter_ns=lambda: 0, perf_counter=lambda: 0.0)
    for module in (lane, partitions, stall, gathering, command_groups, commands):
        monkeypatch.setattr(module, "asyncio", waits)
    for module in (lane, partitions, stall, gathering, command_groups, pool):
        monkeypatch.setattr(module, "time", watch)
    for module in (connected, lane, partitions):
        monkeypatch.setattr(module, "pause", lambda stop, seconds: running().pause(stop, seconds))
    monkeypatch.setattr(gathering, "later", lambda seconds, call: running().later(seconds, call))
