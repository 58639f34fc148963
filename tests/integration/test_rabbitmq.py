"""What is RabbitMQ's own: what the relay does with rows, and what becomes of messages that are late, doubled, lost or foreign."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import msgspec
import pytest
from conftest_api import App, Instance, running_instance, until
from poison import Poison
from prometheus_client import CollectorRegistry

from questline.assembly_carriers import build_relay
from questline.cli.doctor import examine
from questline.cli.processes import _page, new_registry, now
from questline.model.limits import RABBITMQ_PREFETCH
from questline.settings import CannotStart
from questline.store.ids import EventIds
from questline.transport import relay as relays
from questline.transport import unapplied
from questline.transport.rabbitmq_topology import DLQ, QUEUES, TopologyMismatch, declare
from tests.services.rabbitmq import RabbitMQ

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance" / "transports"))

from carriages import PROGRAM, process_of, relaying

_ALL_PUBLISHED = "SELECT bool_and(relay_state = 'published') FROM outbox"


@pytest.fixture(scope="module")
async def questline(database: Any, rabbitmq: RabbitMQ) -> AsyncIterator[Instance]:
    """An instance whose transport is RabbitMQ."""
    async with running_instance(database, transport="rabbitmq", rabbitmq_url=rabbitmq.url) as instance:
        yield instance


@pytest.fixture(autouse=True)
async def _clean(questline: Instance, rabbitmq: RabbitMQ) -> AsyncIterator[None]:
    """Take the queues away, others' of this broker too, so that a test sees its own messages alone."""
    await _without_queues(rabbitmq)
    yield
    await _without_queues(rabbitmq)
    await questline.owner.execute("DELETE FROM outbox")


async def _without_queues(rabbitmq: RabbitMQ) -> None:
    connection = await aio_pika.connect(rabbitmq.url)
    channel = await connection.channel()
    for name in (*QUEUES, DLQ):
        await channel.queue_delete(name)
    await connection.close()


@pytest.fixture
async def broker(rabbitmq: RabbitMQ) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A channel of the test's own."""
    connection = await aio_pika.connect(rabbitmq.url)
    yield await connection.channel()
    await connection.close()


async def send(app: App, user: str, numbers: range) -> None:
    events = [{"type": "task", "userId": user, "eventId": f"{user}-{n}", "payload": {"n": n}} for n in numbers]
    assert (await app.post("/v1/events/batch", json=events)).status_code == 202


async def carried(questline: Instance) -> None:
    """Run a relay until the broker has all that waits."""
    async with relaying(questline.settings):
        await until(lambda: questline.owner.fetchval(_ALL_PUBLISHED))


async def messages(broker: aio_pika.abc.AbstractChannel) -> int:
    """How many messages wait for workers."""
    counts = [(await broker.declare_queue(name, passive=True)).declaration_result.message_count for name in QUEUES]
    return sum(count or 0 for count in counts)


@asynccontextmanager
async def in_order(questline: Instance, app: App, user: str, events: int) -> AsyncIterator[None]:
    """Check afterwards that each event was applied once, the last one last."""
    yield
    assert await app.balance(user, "coins") == events
    metrics = await questline.owner.fetch(
        "SELECT metric, value::int FROM metrics m JOIN users u ON u.id = m.user_id AND u.project_id = m.project_id "
        "JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1 AND u.external_id = $2 ORDER BY metric",
        app.app_id,
        user,
    )
    assert [tuple(row) for row in metrics] == [("last", events - 1), ("tasks", events)]


async def test_rows_are_handed_over_in_few_messages_and_stay_until_they_are_applied(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(100))
    await carried(questline)
    assert (await questline.owner.fetchval("SELECT count(*) FROM outbox"), await messages(broker)) == (100, 1)
    async with in_order(questline, app, "ada", 100):
        await questline.drain()


async def test_messages_that_come_twice_are_applied_once(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(10))
    for _ in range(3):
        await questline.owner.execute("UPDATE outbox SET relay_state = NULL")
        await carried(questline)
    assert await messages(broker) == 3
    async with in_order(questline, app, "ada", 10), relaying(questline.settings):
        async with questline.worker():

            async def is_empty() -> bool:
                return await messages(broker) == 0 and await questline._is_drained()

            await until(is_empty)


async def test_a_message_never_overtakes_events_that_were_not_handed_over(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(8))
    held = await questline.owner.fetch(
        "UPDATE outbox SET relay_state = 'in_flight', relay_at = now() + interval '1 hour' WHERE seq IN "
        "(SELECT seq FROM outbox ORDER BY seq LIMIT 5) RETURNING seq"
    )
    async with relaying(questline.settings):
        await until(
            lambda: questline.owner.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE relay_state = 'published')")
        )
        async with in_order(questline, app, "ada", 8):
            await questline.drain()
    assert len(held) == 5


async def test_what_a_dead_relay_had_in_flight_is_handed_over_by_another(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(3))
    await questline.owner.execute("""
        UPDATE outbox SET relay_state = 'in_flight', relay_owner = gen_random_uuid(), relay_at = now() - interval '1 minute'""")
    await carried(questline)
    assert await messages(broker) == 1


async def test_a_relay_that_is_killed_while_it_hands_over_loses_and_doubles_nothing(
    questline: Instance, rabbitmq: RabbitMQ
) -> None:
    app, owner = await questline.app(PROGRAM), questline.owner
    async with in_order(questline, app, "ada", 40), questline.worker():
        with process_of("relay", questline.settings) as relay:
            await send(app, "ada", range(10))
            await until(questline._is_drained)
            rabbitmq.freeze()
            await send(app, "ada", range(10, 40))
            await until(lambda: owner.fetchval("SELECT bool_or(relay_state = 'in_flight') FROM outbox"))
            relay.kill()
        rabbitmq.thaw()
        await owner.execute("UPDATE outbox SET relay_at = relay_at - interval '1 minute'")
        async with relaying(questline.settings):
            await until(questline._is_drained)


async def test_what_was_handed_over_long_ago_and_is_not_applied_is_handed_over_again(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(3))
    await carried(questline)
    for name in QUEUES:
        await (await broker.get_queue(name)).purge()
    await questline.owner.execute("UPDATE outbox SET relay_at = relay_at - interval '1 hour'")
    async with relaying(questline.settings), in_order(questline, app, "ada", 3):
        await questline.drain()


_LONG_AGO = "UPDATE outbox SET relay_at = now() - interval '1 day' WHERE relay_state = 'published'"


class Looks:
    """Lets a relay look for what is not applied: the queue of one partition is purged, and what it held is waited for."""

    def __init__(self, questline: Instance, broker: aio_pika.abc.AbstractChannel) -> None:
        self._questline = questline
        self._broker = broker
        self._queue = ""

    async def begin(self, app: App) -> None:
        """Send an event whose partition is purged; before all others."""
        await send(app, "probe", range(1))
        self._queue = QUEUES[await self._questline.owner.fetchval("SELECT partition FROM outbox")]

    async def look(self) -> None:
        """Return when a relay has looked at rows that were handed over long ago."""
        await until(lambda: self._questline.owner.fetchval(_ALL_PUBLISHED))
        await (await self._broker.get_queue(self._queue)).purge()
        await self._questline.owner.execute(_LONG_AGO)

        async def is_there_again() -> bool:
            queue = await self._broker.declare_queue(self._queue, passive=True)
            return queue.declaration_result.message_count == 1

        await until(is_there_again)


@pytest.fixture
async def looks(questline: Instance, broker: aio_pika.abc.AbstractChannel, monkeypatch: pytest.MonkeyPatch) -> Looks:
    """A relay that looks often."""
    monkeypatch.setattr(relays, "RELAY_LOOKED_SECONDS", 0.05)
    monkeypatch.setattr(relays, "MIRROR_POLL_SECONDS", 0.05)
    return Looks(questline, broker)


async def test_queues_do_not_grow_by_time_while_no_worker_reads_them(
    questline: Instance, broker: aio_pika.abc.AbstractChannel, looks: Looks
) -> None:
    app = await questline.app(PROGRAM)
    await looks.begin(app)
    for user in range(10):
        await send(app, f"u{user}", range(100))
    await carried(questline)
    depths = [await messages(broker)]
    async with relaying(questline.settings):
        for _ in range(6):
            await looks.look()
            depths.append(await messages(broker))
    assert depths == depths[:1] * 7
    async with relaying(questline.settings), in_order(questline, app, "u9", 100):
        await questline.drain()


async def test_a_worker_that_applies_nothing_is_brought_so_much_and_no_more(
    questline: Instance, broker: aio_pika.abc.AbstractChannel, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unapplied, "RELAY_UNAPPLIED_MESSAGES_MAX", 4)
    app = await questline.app(PROGRAM)
    await looks.begin(app)
    for user in range(10):
        await send(app, f"u{user}", range(1))
    await carried(questline)
    elsewhere = "SELECT partition FROM outbox WHERE partition <> (SELECT partition FROM outbox ORDER BY seq LIMIT 1)"
    queue = QUEUES[await questline.owner.fetchval(elsewhere)]
    held: list[aio_pika.abc.AbstractIncomingMessage] = []
    await broker.set_qos(prefetch_count=RABBITMQ_PREFETCH)

    async def hold(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        held.append(message)

    await (await broker.get_queue(queue)).consume(hold)
    async with relaying(questline.settings):
        for _ in range(RABBITMQ_PREFETCH + 4 + 6):
            await looks.look()
    waiting = (await broker.declare_queue(queue, passive=True)).declaration_result.message_count
    assert (len(held), waiting) == (RABBITMQ_PREFETCH, 4 + 1)


async def test_two_relays_share_the_rows(questline: Instance, broker: aio_pika.abc.AbstractChannel) -> None:
    app = await questline.app(PROGRAM)
    for start in range(0, 3_000, 500):
        await send(app, "ada", range(start, start + 500))
    registries = [CollectorRegistry(), CollectorRegistry()]
    stop = asyncio.Event()
    relays = [
        asyncio.create_task(build_relay(questline.settings, registry, now, EventIds().new).run(stop))
        for registry in registries
    ]
    await until(lambda: questline.owner.fetchval(_ALL_PUBLISHED))
    stop.set()
    await asyncio.gather(*relays)
    published = sum(registry.get_sample_value("questline_relay_published_total") or 0 for registry in registries)
    # What is not confirmed in time, or goes to a queue that is just being made, is handed over again; the rest is not.
    assert 3_000 <= published < 2 * 3_000 - 1_000


async def test_a_broker_that_lost_everything_is_given_it_again_at_once(questline: Instance, rabbitmq: RabbitMQ) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(6))
    await carried(questline)
    rabbitmq.kill()
    rabbitmq.forget()
    rabbitmq.start()
    rabbitmq.wait_until_ready()
    async with relaying(questline.settings), in_order(questline, app, "ada", 6):
        await questline.drain()


async def test_queues_that_somebody_deletes_while_work_goes_on_are_made_anew(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    async with relaying(questline.settings), questline.worker(), in_order(questline, app, "ada", 20):
        await send(app, "ada", range(10))
        await until(questline._is_drained)
        for name in QUEUES:
            await broker.queue_delete(name)
        await send(app, "ada", range(10, 20))
        await until(questline._is_drained)


async def test_a_frozen_broker_delays_and_loses_nothing(questline: Instance, rabbitmq: RabbitMQ) -> None:
    app = await questline.app(PROGRAM)
    async with relaying(questline.settings), questline.worker(), in_order(questline, app, "ada", 20):
        await send(app, "ada", range(10))
        await until(questline._is_drained)
        rabbitmq.freeze()
        try:
            await send(app, "ada", range(10, 20))
            await until(lambda: questline.owner.fetchval("SELECT bool_and(relay_state IS NOT NULL) FROM outbox"))
        finally:
            rabbitmq.thaw()
        await until(questline._is_drained)


async def test_a_message_that_is_none_of_ours_is_dropped_and_holds_up_nobody(
    questline: Instance, broker: aio_pika.abc.AbstractChannel
) -> None:
    app = await questline.app(PROGRAM)
    await carried_nothing(questline)
    for name in QUEUES:
        for form in ("questline.events.1", "something"):
            await broker.default_exchange.publish(aio_pika.Message(b"garbage", type=form), name)
    async with relaying(questline.settings), in_order(questline, app, "ada", 5):
        await send(app, "ada", range(5))
        await questline.drain()


async def carried_nothing(questline: Instance) -> None:
    """Let a relay make the queues."""
    registry = CollectorRegistry()
    relay, stop = build_relay(questline.settings, registry, now, EventIds().new), asyncio.Event()
    task = asyncio.create_task(relay.run(stop))

    async def works() -> bool:
        return relay.idle_seconds() < 60

    await until(works)
    stop.set()
    await task


async def test_a_message_of_a_database_that_was_restored_does_no_harm(questline: Instance) -> None:
    """Its places in the queue may be others' by now: the event's id is looked at too."""
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(1))
    await carried(questline)
    place = await questline.owner.fetchval("DELETE FROM outbox RETURNING seq")
    await send(app, "ada", range(1, 2))
    await questline.owner.execute(
        """WITH later AS (DELETE FROM outbox RETURNING *)
           INSERT INTO outbox (partition, project_id, seq, event_id, user_hash) OVERRIDING SYSTEM VALUE
           SELECT partition, project_id, $1, event_id, user_hash FROM later""",
        place,
    )
    async with relaying(questline.settings):
        await questline.drain()
    states = [(await app.get(f"/v1/events/ada-{n}")).json()["status"] for n in range(2)]
    assert states == ["pending", "processed"]


async def test_dead_letters_are_mirrored_once_they_are_committed(
    questline: Instance, broker: aio_pika.abc.AbstractChannel, poison: Poison
) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(1))
    id_ = await event_id(questline, app)
    await poison.give(id_, "23514")
    async with relaying(questline.settings):
        await questline.drain()
        await until(
            lambda: questline.owner.fetchval("SELECT EXISTS (SELECT FROM dead_letters WHERE mirrored_at IS NOT NULL)")
        )
    message = await (await broker.get_queue(DLQ)).get(no_ack=True)
    assert message is not None
    told = json.loads(message.body)
    assert (message.type, message.content_type) == ("questline.dead-letter.1", "application/json")
    assert {name: told[name] for name in ("app", "eventId", "type", "userId", "payload", "attempts")} == {
        "app": app.app_id, "eventId": id_, "type": "task", "userId": "ada", "payload": {"n": 0}, "attempts": 1,
    }  # fmt: skip


async def event_id(questline: Instance, app: App) -> str:
    return str(
        await questline.owner.fetchval(
            "SELECT e.id FROM events e JOIN projects p ON p.id = e.project_id WHERE p.app_id = $1", app.app_id
        )
    )


async def test_a_queue_that_was_declared_otherwise_is_named_with_what_to_do(
    broker: aio_pika.abc.AbstractChannel, rabbitmq: RabbitMQ
) -> None:
    await broker.declare_queue(QUEUES[3], durable=True)
    connection = await aio_pika.connect(rabbitmq.url)
    with pytest.raises(TopologyMismatch, match=r"questline\.events\.03 exists with other properties .* Delete it"):
        await declare(connection)
    await connection.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"transport": "postgres"}, "needs no relay"),
        ({"rabbitmq_url": ""}, "QUESTLINE_RABBITMQ_URL is not set"),
    ],
)
def test_a_relay_that_cannot_work_says_why(questline: Instance, settings: dict[str, str], told: str) -> None:
    with pytest.raises(CannotStart, match=told):
        build_relay(msgspec.structs.replace(questline.settings, **settings), new_registry(), now, EventIds().new)


async def test_the_doctor_tells_of_the_broker_and_of_what_waits_for_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await send(app, "ada", range(2))
    texts = [f"{finding.state}: {finding.text}" for finding in await examine(questline.settings)]
    assert any(text.startswith("good: RabbitMQ at 127.0.0.1") for text in texts), texts
    assert "good: 0 waiting events were handed to the broker and 2 were not, 0 failed" in texts
    assert not any("guest" in text for text in texts)


async def test_a_relay_has_a_page_of_health(questline: Instance) -> None:
    registry = CollectorRegistry()
    relay, stop = build_relay(questline.settings, registry, now, EventIds().new), asyncio.Event()
    transport = httpx.ASGITransport(app=_page(relay, registry, "nothing is handed over"))
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as http:
        before = (await http.get("/ready")).status_code
        task = asyncio.create_task(relay.run(stop))

        async def is_ready() -> bool:
            return (await http.get("/ready")).status_code == 200

        await until(is_ready)
        metrics = (await http.get("/metrics")).text
        stop.set()
        await task
    assert before == 503
    assert "questline_relay_oldest_seconds 0.0" in metrics
