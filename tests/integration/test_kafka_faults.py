"""Kafka as the carrier when something fails: brokers, PostgreSQL, an API, a worker that another one has replaced."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from conftest_api import DEADLINE_SECONDS, App, until
from conftest_kafka import TRAIL, Logged, in_order, logged_instance, order_of
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from questline.assembly import CannotStart, build_worker, running_api
from questline.cli.doctor import examine
from questline.model.limits import KAFKA_PARTITIONS
from questline.processing.log_lane import LogLane
from questline.settings import Settings
from questline.store import kafka_offsets
from questline.transport import kafka_feed, kafka_log, kafka_topic
from questline.transport.appending import Full
from questline.transport.kafka_topic import Topic, Unreachable, admin_of, declare
from tests.conftest import service
from tests.services.kafka import Kafka

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kafka.md"
USERS = [f"u{n}" for n in range(40)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A broker that these tests kill and freeze."""
    yield from service(Kafka, tmp_path_factory.mktemp("broker"))


@pytest.fixture(scope="module")
async def questline(database: Any, broker: Kafka) -> AsyncIterator[Logged]:
    async with logged_instance(database, broker.url) as instance:
        yield instance


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are noticed sooner than they need to be in earnest."""
    monkeypatch.setattr(kafka_log, "KAFKA_DELIVERY_SECONDS", 1.0)
    monkeypatch.setattr(kafka_feed, "KAFKA_HANDOVER_SECONDS", 0.2)
    monkeypatch.setattr(kafka_feed, "KAFKA_SESSION_SECONDS", 2.0)


async def send_steps(app: App, steps: int, first: int = 0) -> None:
    """Send steps of every user in one batch after the other, each user's in order."""
    for n in range(first, first + steps):
        body = [{"type": "step", "userId": user, "eventId": f"{user}-{n}", "payload": {"n": n}} for user in USERS]
        answer = await app.post("/v1/events/batch", json=body)
        assert answer.status_code == 202, answer.text


async def all_in_order(questline: Logged, app: App, steps: int) -> bool:
    """Whether each user's steps were applied once, in order."""
    return all([await order_of(questline, app, user) == in_order(steps) for user in USERS])


async def applied(questline: Logged, app: App) -> int:
    return await questline.owner.fetchval(
        "SELECT count(*) FROM decisions WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)", app.app_id
    )


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


async def test_workers_that_come_and_go_leave_every_event_applied_once_and_in_order(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await send_steps(app, 20)
    async with questline.worker():
        await until(lambda: _at_least(questline, app, 1))
        async with questline.worker():
            await send_steps(app, 10, first=20)
            async with questline.worker():
                await send_steps(app, 10, first=30)
            await send_steps(app, 10, first=40)
        await until(questline.is_settled)
    assert await all_in_order(questline, app, 50)


async def test_a_worker_that_was_replaced_while_it_worked_changes_nothing(
    questline: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(TRAIL)
    held, go_on, replaced = asyncio.Event(), asyncio.Event(), CollectorRegistry()
    advance = LogLane._advance
    zombies: list[LogLane] = []

    async def slow(self: LogLane, conn: Any, batch: Any) -> None:
        if not zombies or self._feed is zombies[0]._feed:
            zombies.append(self)
            held.set()
            await go_on.wait()
        await advance(self, conn, batch)

    monkeypatch.setattr(LogLane, "_advance", slow)
    stop = asyncio.Event()
    first = asyncio.create_task(build_worker(questline.settings, replaced).run(stop))
    try:
        await send_steps(app, 10)
        await asyncio.wait_for(held.wait(), DEADLINE_SECONDS)
        async with questline.worker():
            # The newcomer gets half of the partitions, and settles what the first one has in hand of them.
            await until(lambda: _has_lost_some(zombies[0]))
            await until(lambda: _others_are_settled(questline, zombies[0]))
            go_on.set()
            await until(questline.is_settled)
    finally:
        go_on.set()
        stop.set()
        await first
    assert await all_in_order(questline, app, 10)
    assert sample(replaced, "questline_kafka_batches_superseded_total") >= 1


async def test_connections_to_postgres_cut_in_mid_batch_double_nothing(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await send_steps(app, 40)

    async def cut_off() -> bool:
        return await questline.owner.fetchval(
            """SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_locks
               WHERE NOT granted AND relation = 'transfers'::regclass"""
        )

    async with questline.worker():
        async with questline.owner.transaction():
            await questline.owner.execute("LOCK TABLE transfers IN EXCLUSIVE MODE")  # batches wait in their middle
            await until(cut_off)
        while not await questline.is_settled():
            await questline.owner.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE usename = 'questline_app' AND datname = current_database() AND xact_start IS NOT NULL"""
            )
            await until(lambda: _is_connected(questline))
    assert await all_in_order(questline, app, 40)


async def test_while_postgres_does_not_answer_events_are_accepted(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await send_steps(app, 1)  # the key is known
    await questline.owner.execute("BEGIN; LOCK TABLE events, dedupe_keys, outbox, api_keys IN ACCESS EXCLUSIVE MODE")
    try:
        await asyncio.wait_for(send_steps(app, 4, first=1), DEADLINE_SECONDS)
    finally:
        await questline.owner.execute("ROLLBACK")
    await questline.settle()
    assert await all_in_order(questline, app, 5)


async def test_an_answer_that_was_lost_after_the_event_was_written_doubles_nothing(
    questline: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(TRAIL)
    append = kafka_log.KafkaLog.append

    written = asyncio.Event()

    async def unanswered(self: kafka_log.KafkaLog, event: Any) -> None:
        await append(self, event)
        written.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(kafka_log.KafkaLog, "append", unanswered)
    sending = asyncio.create_task(app.send("step", "ada", {"n": 0}, eventId="0"))
    await asyncio.wait_for(written.wait(), DEADLINE_SECONDS)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    monkeypatch.undo()
    assert (await app.send("step", "ada", {"n": 0}, eventId="0")).status_code == 202
    registry = CollectorRegistry()
    stop = asyncio.Event()
    worker = asyncio.create_task(build_worker(questline.settings, registry).run(stop))
    await until(questline.is_settled)
    stop.set()
    await worker
    assert await order_of(questline, app, "ada") == in_order(1)
    assert sample(registry, "questline_kafka_records_total", end="duplicate") == 1


async def test_without_a_broker_events_are_turned_away_at_once_and_taken_again_when_it_is_back(
    database: Any, questline: Logged, broker: Kafka
) -> None:
    async with logged_instance(database, broker.url) as fresh:
        app = await fresh.app(TRAIL)
        await until(lambda: _is_accepted(app, "ada", 0))
        async with fresh.worker():
            await until(fresh.is_settled)
            broker.kill()
            for codes in ({"unavailable"}, {"unavailable", "overloaded"}):  # few try then whether it is back
                answers = await asyncio.gather(*(app.send("step", "x", {"n": n}, eventId=f"x{n}") for n in range(100)))
                assert {(a.status_code, a.headers["retry-after"]) for a in answers} == {(503, "1")}
                assert {a.json()["code"] for a in answers} == codes
            broker.start()
            await until(lambda: _is_accepted(app, "ada", 1))
            broker.wait_until_ready()
            await until(fresh.is_settled)
        assert await order_of(fresh, app, "ada") == in_order(2)


async def test_a_frozen_broker_loses_and_doubles_nothing(questline: Logged, broker: Kafka) -> None:
    app = await questline.app(TRAIL)
    async with questline.worker():
        await send_steps(app, 5)
        broker.freeze()
        doubtful = await app.send("step", "ada", {"n": 0}, eventId="0")
        broker.thaw()
        assert doubtful.status_code == 503
        await until(lambda: _is_accepted(app, "ada", 0, "0"))
        await until(questline.is_settled)
    assert await all_in_order(questline, app, 5)
    assert await order_of(questline, app, "ada") == in_order(1)


async def test_a_client_that_fetches_no_more_and_names_no_fault_is_replaced(
    questline: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_feed, "KAFKA_STUCK_SECONDS", 1.0)
    monkeypatch.setattr(kafka_feed, "KAFKA_LOOKED_SECONDS", 0.2)
    clients: list[Consumer] = []
    new_consumer = kafka_feed.Feed._new_consumer

    def remembered(feed: kafka_feed.Feed) -> Consumer:
        clients.append(new_consumer(feed))
        return clients[-1]

    monkeypatch.setattr(kafka_feed.Feed, "_new_consumer", remembered)
    app = await questline.app(TRAIL)
    async with questline.worker():
        await send_steps(app, 5)
        await until(questline.is_settled)
        before = len(clients)  # a slow broker makes a worker take a new one too
        clients[-1].pause(clients[-1].assignment())
        await send_steps(app, 5, first=5)
        await until(questline.is_settled)
    assert len(clients) > before
    assert await all_in_order(questline, app, 10)


async def test_records_that_kafka_deleted_before_they_were_read_are_told_of(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await questline.settle()
    questline.write(b"{}", 7)
    questline.write(b"{}", 7)
    end = (await questline.standing()).ends[7]
    admin = admin_of(questline.topic)
    for future in admin.delete_records([TopicPartition(questline.topic.name, 7, end)]).values():
        future.result(60)
    questline.write(b"{}", 7)
    registry, stop = CollectorRegistry(), asyncio.Event()
    worker = asyncio.create_task(build_worker(questline.settings, registry).run(stop))
    await until(questline.is_settled)
    stop.set()
    await worker
    assert sample(registry, "questline_kafka_records_missing_total") == 2
    await send_steps(app, 1)
    await questline.settle()
    assert await all_in_order(questline, app, 1)


@pytest.mark.parametrize("while_a_worker_runs", [False, True])
async def test_a_topic_that_was_made_anew_is_not_read_on_from_the_old_one_s_offsets(
    database: Any, broker: Kafka, monkeypatch: pytest.MonkeyPatch, while_a_worker_runs: bool
) -> None:
    monkeypatch.setattr(kafka_feed, "KAFKA_LOOKED_SECONDS", 0.2)
    async with logged_instance(database, broker.url) as questline, AsyncExitStack() as running:
        app = await questline.app(TRAIL)
        await app.send("step", "ada", {"n": 0}, eventId="0")
        await questline.settle()
        if while_a_worker_runs:
            await running.enter_async_context(questline.worker())
        with capture_logs() as logs:
            await _make_anew(questline.topic)
            for n in range(1, 4):
                await until(lambda n=n: _is_accepted(app, "ada", n, str(n)))
            if not while_a_worker_runs:
                await running.enter_async_context(questline.worker())
            await until(lambda: _is_logged(logs, "kafka.topic_replaced"))
        findings = {finding.state: finding.text for finding in await examine(questline.settings)}
        assert "was deleted and made anew" in findings["wrong"]
        (statements,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        await questline.owner.execute(statements.replace("questline.events", questline.topic.name))
        await running.enter_async_context(questline.worker())
        await until(questline.is_settled)
        assert await order_of(questline, app, "ada") == in_order(4)


async def test_offsets_of_a_topic_whose_id_nobody_had_noted_are_of_the_one_that_is_seen_first(
    questline: Logged,
) -> None:
    app, topic = await questline.app(TRAIL), questline.topic.name
    await send_steps(app, 1)
    await questline.settle()
    await questline.owner.execute("UPDATE kafka_offsets SET topic_id = NULL WHERE topic = $1", topic)
    await send_steps(app, 1, first=1)
    await questline.settle()
    ids = await questline.owner.fetch("SELECT DISTINCT topic_id FROM kafka_offsets WHERE topic = $1", topic)
    assert [id_ for (id_,) in ids] == [(await questline.standing()).topic_id]


async def test_contests_wait_until_the_log_was_taken_in_up_to_their_end(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await questline.settle()
    await send_steps(app, 1)
    ended = await questline.owner.fetchval("SELECT clock_timestamp()")
    assert not await _is_past(questline, ended)
    async with questline.worker():
        await until(lambda: _is_past(questline, ended))
    assert await all_in_order(questline, app, 1)


async def test_contests_wait_for_a_log_that_nobody_has_begun_to_read(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await send_steps(app, 1)
    ended = await questline.owner.fetchval("SELECT clock_timestamp()")
    await questline.owner.execute("DELETE FROM kafka_offsets WHERE topic = $1", questline.topic.name)
    assert not await _is_past(questline, ended)
    async with questline.worker():
        await until(lambda: _is_past(questline, ended))
    assert await all_in_order(questline, app, 1)


async def test_a_topic_of_another_shape_stops_a_process_with_what_to_do(
    questline: Logged, database: Any, broker: Kafka
) -> None:
    admin = admin_of(questline.topic)
    for future in admin.create_topics([kafka_topic_of("odd", 3)]).values():
        future.result(60)
    settings = Settings(dsn=database.app_dsn, dev=True, transport="kafka", kafka_servers=broker.url, kafka_topic="odd")
    with pytest.raises(CannotStart, match="KAFKA_PARTITIONS cannot be used together: the topic 'odd' has 3 partitions"):
        async with running_api(settings):
            pass


async def test_a_topic_of_another_shape_that_is_seen_late_gets_nothing(
    questline: Logged, broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = admin_of(questline.topic)
    for future in admin.create_topics([kafka_topic_of("seen-late", 3)]).values():
        future.result(60)
    monkeypatch.setattr(kafka_topic, "KAFKA_REACH_SECONDS", 0.5)
    opened = kafka_log.KafkaLog(msgspec.structs.replace(questline.topic, name="seen-late"), 1_000_000)
    broker.freeze()
    try:
        await opened.open()
        assert opened.is_full
    finally:
        broker.thaw()
    await until(lambda: _is_told(opened))
    assert "has 3 partitions" in str(opened.unusable)
    with pytest.raises(Full):
        await opened.append_all([])
    await opened.close()


async def _is_told(opened: kafka_log.KafkaLog) -> bool:
    return opened.unusable is not None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "QUESTLINE_KAFKA_SERVERS is not set"),
        (
            {"kafka_servers": "x:1", "kafka_options": "nonsense"},
            "QUESTLINE_KAFKA_OPTIONS cannot be used: use name=value",
        ),
        ({"kafka_servers": "x:1", "kafka_options": "no.such=1"}, "QUESTLINE_KAFKA_OPTIONS cannot be used: No such"),
    ],
)
async def test_settings_that_cannot_be_are_named(database: Any, settings: dict[str, str], told: str) -> None:
    with pytest.raises(CannotStart, match=told):
        async with running_api(Settings(dsn=database.app_dsn, dev=True, transport="kafka", **settings)):  # type: ignore[arg-type]
            pass


def kafka_topic_of(name: str, partitions: int) -> Any:
    from confluent_kafka.admin import NewTopic

    return NewTopic(name, partitions, 1)


async def _at_least(questline: Logged, app: App, events: int) -> bool:
    return await applied(questline, app) >= events


async def _has_lost_some(lane: LogLane) -> bool:
    return len(lane._feed._positions) == KAFKA_PARTITIONS // 2


async def _others_are_settled(questline: Logged, lane: LogLane) -> bool:
    """Whether the newcomer has settled all partitions that it got."""
    taken, ends = await kafka_offsets.read(questline.owner, questline.topic.name), (await questline.standing()).ends
    return all(taken[number] >= ends[number] for number in ends.keys() - lane._feed._positions.keys())


async def _is_connected(questline: Logged) -> bool:
    return (
        await questline.owner.fetchval(
            """SELECT EXISTS (SELECT FROM pg_stat_activity
           WHERE usename = 'questline_app' AND datname = current_database() AND xact_start IS NOT NULL)"""
        )
        or await questline.is_settled()
    )


async def _is_accepted(app: App, user: str, n: int, event_id: str | None = None) -> bool:
    given = {} if event_id is None else {"eventId": event_id}
    return (await app.send("step", user, {"n": n}, **given)).status_code == 202


async def _make_anew(topic: Topic) -> None:
    """Delete a topic, and make it again."""
    admin = admin_of(topic)
    admin.delete_topics([topic.name])[topic.name].result(60)

    async def is_made() -> bool:
        try:
            await asyncio.to_thread(declare, topic)
        except Unreachable:  # the old one is not wholly gone
            return False
        return True

    await until(is_made)


async def _is_logged(logs: Any, event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


async def _is_past(questline: Logged, at: Any) -> bool:
    topic = questline.topic
    return not await kafka_offsets.waits_from_before(questline.owner, topic.name, topic.partitions, at)
