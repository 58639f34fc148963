"""Reading the log: one consumer of a worker, whose records its lanes take up partition by partition.

The group deals the partitions out. Where to go on in each is asked of PostgreSQL, where the lanes move it on in the
transaction that applies a batch. After any fault of a batch its partitions are read anew from there: what is in memory
is never believed.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from questline.model.limits import (
    KAFKA_BUFFERED_BYTES,
    KAFKA_BUFFERED_RECORDS,
    KAFKA_FETCH_RECORDS,
    KAFKA_FETCHED_KILOBYTES,
    KAFKA_HANDOVER_SECONDS,
    KAFKA_LOOKED_SECONDS,
    KAFKA_ROUND_SECONDS_MAX,
    KAFKA_SESSION_SECONDS,
    KAFKA_STUCK_BESIDE_OTHERS_SECONDS,
    KAFKA_STUCK_SECONDS,
    KAFKA_TOLD_SECONDS,
)
from questline.store.kafka_offsets import TopicReplaced
from questline.transport.kafka_meters import FeedMeters
from questline.transport.kafka_places import Places
from questline.transport.kafka_slices import Position, Record, Slice
from questline.transport.kafka_topic import Topic, admin_of, declare, ends_of, id_of
from questline.transport.pauses import pause

log = structlog.get_logger(__name__)

_FETCH_SECONDS = 0.2  # until it is looked whether to stop
_ROOM_SECONDS = 0.5  # until the group is heard even though there is no room
_AGAIN_SECONDS = 1.0  # after a fault of the consumer


class Stuck(Exception):
    """The client brings nothing of partitions that have more, and names no fault."""


class OtherTopic(Exception):
    """The topic was deleted while it was read, and made anew under its name."""


class Feed:
    """Reads what the group deals out to this worker, until told to stop; outlives the loss of brokers and of PostgreSQL."""

    def __init__(self, topic: Topic, places: Places, lanes: int, registry: CollectorRegistry) -> None:
        """Partition p is lane p mod `lanes`'s."""
        self._topic = topic
        self._places = places
        self._lanes = lanes
        self._meters = FeedMeters(registry)
        self._positions: dict[int, Position] = {}
        self._changed = asyncio.Condition()
        self._arrived = asyncio.Event()
        self._first = 0  # the partition that comes first in the next batch
        self._came_at = 0.0
        self._behind: dict[int, tuple[int, float]] = {}  # partitions of which nothing has come: from where, since when
        self._given_up_at: dict[int, int] = {}  # the offsets that a client was given up for: once each
        self._topic_id: str | None = None  # of the topic that is read
        self._topic_now: str | None = None  # of the one that has its name
        self._told_at = 0.0
        self._told: dict[int, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")  # the client is asked by one thread at a time

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._topic.name

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._topic.partitions

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set."""
        while not stop.is_set():
            try:
                await self._consume(stop)
            except Exception as fault:
                if isinstance(fault, TopicReplaced):
                    log.error("kafka.topic_replaced", fault=str(fault))
                elif isinstance(fault, KafkaException):
                    log.warning("kafka.lost", fault=str(fault))
                else:
                    log.warning("kafka.reading_again", fault=repr(fault))
                await pause(stop, _AGAIN_SECONDS)
        self._thread.shutdown(wait=False)

    def take(self, lane: int, wanted: int, bytes_max: int) -> list[Slice]:
        """Return the next records of a lane's partitions, a share of each, in order; nobody else gets them meanwhile.

        A slice has one record at least, and after the bytes are used up there is no further slice.
        """
        mine = [
            position
            for position in self._positions.values()
            if position.partition % self._lanes == lane and position.records and not position.is_stale
        ]
        if not mine:
            return []
        mine.sort(key=lambda position: (position.partition < self._first, position.partition))
        share, share_bytes = max(1, wanted // len(mine)), bytes_max // len(mine)
        slices: list[Slice] = []
        for position in mine:
            if wanted <= 0 or bytes_max <= 0:
                self._first = position.partition
                break
            records = position.first(min(share, wanted), min(share_bytes, bytes_max))
            wanted -= len(records)
            bytes_max -= sum(record.size for record in records)
            position.is_busy = True
            slices.append(Slice(position, position.next_offset, records))
        return slices

    async def arrived(self, seconds: float) -> None:
        """Wait until records have come, but no longer than so long."""
        self._arrived.clear()
        await _wait(self._arrived.wait(), seconds)

    async def applied(self, slices: Iterable[Slice]) -> None:
        """Go on behind slices whose transaction has committed."""
        async with self._changed:
            for slice_ in slices:
                position = slice_.position
                position.is_busy = False
                position.go_on(slice_)
            self._changed.notify_all()

    async def failed(self, slices: Iterable[Slice]) -> None:
        """Read partitions anew from where PostgreSQL says: their transaction has not committed, or nobody knows."""
        async with self._changed:
            for slice_ in slices:
                slice_.position.is_busy = False
                slice_.position.is_stale = True
            self._changed.notify_all()

    async def _consume(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(declare, self._topic)
        admin = await asyncio.to_thread(admin_of, self._topic)
        self._topic_id = self._topic_now = await asyncio.to_thread(id_of, admin, self._topic.name)
        await self._places.of([], self._topic_id)  # before a group is joined that could not be served
        consumer = self._new_consumer()
        looking = asyncio.create_task(self._keep_looking(admin))
        try:
            consumer.subscribe(
                [self._topic.name],
                on_assign=partial(self._on_assign, loop, admin),
                on_revoke=partial(self._on_revoke, loop),
                on_lost=partial(self._on_revoke, loop),
            )
            while not stop.is_set():
                await self._make_room(stop)
                await self._read_anew(consumer)
                if self._topic_now != self._topic_id:
                    raise OtherTopic(f"the topic's id was {self._topic_id}, and is {self._topic_now}")
                self._give_up_if_stuck()
                messages = await loop.run_in_executor(self._thread, _fetch, consumer)
                if messages:
                    self._take_in(messages)
                self._tell(consumer)
        finally:
            looking.cancel()
            await loop.run_in_executor(self._thread, consumer.close)
            self._positions.clear()

    async def _make_room(self, stop: asyncio.Event) -> None:
        def has_room() -> bool:
            return stop.is_set() or (
                sum(len(p.records) for p in self._positions.values()) < KAFKA_BUFFERED_RECORDS
                and sum(p.bytes for p in self._positions.values()) < KAFKA_BUFFERED_BYTES
            )

        deadline = time.monotonic() + KAFKA_ROUND_SECONDS_MAX / 2
        while not has_room() and time.monotonic() < deadline:
            async with self._changed:
                await _wait(self._changed.wait_for(has_room), _ROOM_SECONDS)

    async def _read_anew(self, consumer: Consumer) -> None:
        """Go back, or on, to where PostgreSQL says in partitions that a lane failed at."""
        stale = [position for position in self._positions.values() if position.is_stale]
        if not stale:
            return
        offsets = await self._places.of([position.partition for position in stale], self._topic_id)
        for position in stale:
            offset = offsets[position.partition]
            place = TopicPartition(self._topic.name, position.partition, offset)
            await asyncio.get_running_loop().run_in_executor(self._thread, consumer.seek, place)
            position.go_to(offset)
            position.is_stale = False
        self._meters.rereads.inc(len(stale))

    def _note_behind(self, ends: Mapping[int, int]) -> None:
        """Note of which partitions nothing is here though the log has more, and since when that is so."""
        at = time.monotonic()
        behind = {
            n: (p.next_offset, at)
            for n, p in self._positions.items()
            if not (p.records or p.is_busy or p.is_stale) and p.next_offset < ends.get(n, 0)
        }
        for number, (offset, since) in self._behind.items():
            if number in behind and behind[number][0] == offset:
                behind[number] = (offset, since)
        self._behind = behind

    def _give_up_if_stuck(self) -> None:
        """Raise Stuck where the client stopped to fetch. librdkafka does at times, when a partition got a new leader.

        A new client is tried once for an offset: it may be that the brokers have nothing more of what was there.
        """
        at = time.monotonic()
        stuck = {
            number: offset
            for number, (offset, since) in self._behind.items()
            if self._given_up_at.get(number) != offset
            and (at - max(since, self._came_at) > KAFKA_STUCK_SECONDS or at - since > KAFKA_STUCK_BESIDE_OTHERS_SECONDS)
        }
        if stuck:
            self._behind = {}
            self._given_up_at |= stuck
            raise Stuck(f"nothing comes of partitions {sorted(stuck)}")

    def _take_in(self, messages: Sequence[Message]) -> None:
        self._came_at = time.monotonic()
        for message in messages:
            if (error := message.error()) is not None:
                if error.fatal():
                    raise KafkaException(error)
                log.warning("kafka.read_failed", fault=error.str())
                continue
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            position = self._positions.get(number)
            if position is None or position.is_stale:
                continue  # another worker's now, or read anew in a moment
            expected = position.records[-1].offset + 1 if position.records else position.next_offset
            if offset != expected:
                self._missing(number, expected, offset)
            written_at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            position.add(Record(offset, written_at, message.key(), message.value()))
        self._arrived.set()

    def _missing(self, partition: int, expected: int, offset: int) -> None:
        """Tell of records that the brokers have no more, or of a log that began anew."""
        if offset > expected:
            log.error("kafka.records_missing", partition=partition, expected=expected, found=offset)
            self._meters.missing.inc(offset - expected)
        else:
            log.error("kafka.log_began_anew", partition=partition, expected=expected, found=offset)

    def _tell(self, consumer: Consumer) -> None:
        """Let Kafka's own tools see how far the log was taken in. Nobody goes on from there."""
        if time.monotonic() < self._told_at + KAFKA_TOLD_SECONDS:
            return
        self._told_at = time.monotonic()
        moved = {n: p.next_offset for n, p in self._positions.items() if self._told.get(n) != p.next_offset}
        if moved:
            offsets = [TopicPartition(self._topic.name, number, offset) for number, offset in moved.items()]
            try:
                consumer.commit(offsets=offsets, asynchronous=True)
                self._told |= moved
            except KafkaException as fault:
                log.debug("kafka.not_told", fault=str(fault))

    async def _keep_looking(self, admin: AdminClient) -> None:
        """Measure the lag now and then, note which partitions were taken in to their end, and see which topic it is."""
        while True:
            await asyncio.sleep(KAFKA_LOOKED_SECONDS)
            at, places = self._places.now(), {n: p.next_offset for n, p in self._positions.items()}
            try:
                self._topic_now = await asyncio.to_thread(id_of, admin, self._topic.name)
                ends = await asyncio.to_thread(ends_of, admin, self._topic.name, places)
                self._note_behind(ends)
                current = {n: offset for n, offset in places.items() if offset >= ends[n]}
                if current:
                    await self._places.note_current(current, at)
            except Exception as fault:
                log.warning("kafka.lag_unknown", fault=str(fault))
                continue
            self._meters.lag.set(sum(max(0, ends[n] - offset) for n, offset in places.items()))
            self._meters.partitions.set(len(places))

    def _on_assign(
        self, loop: asyncio.AbstractEventLoop, admin: AdminClient, consumer: Consumer, partitions: list[TopicPartition]
    ) -> None:
        """Called by the client's thread: go on in the new partitions where PostgreSQL says."""
        numbers = [place.partition for place in partitions]
        if numbers:
            found = asyncio.run_coroutine_threadsafe(self._begin(numbers, admin), loop).result(
                KAFKA_ROUND_SECONDS_MAX / 2
            )
            partitions = [TopicPartition(self._topic.name, number, found[number]) for number in numbers]
        consumer.incremental_assign(partitions)

    def _on_revoke(self, loop: asyncio.AbstractEventLoop, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client's thread: let batches under way end, so that the next worker need not repeat them."""
        ending = self._end([place.partition for place in partitions])
        try:
            asyncio.run_coroutine_threadsafe(ending, loop).result(KAFKA_HANDOVER_SECONDS + 1)
        except TimeoutError:
            log.warning("kafka.handed_over_late", partitions=len(partitions))
        consumer.incremental_unassign(partitions)

    async def _begin(self, numbers: Sequence[int], admin: AdminClient) -> dict[int, int]:
        self._topic_now = await asyncio.to_thread(id_of, admin, self._topic.name)
        offsets = await self._places.of(numbers, self._topic_now)
        for number in numbers:
            self._positions[number] = Position(number, offsets[number])
            self._told.pop(number, None)
        return offsets

    async def _end(self, numbers: Sequence[int]) -> None:
        ended = [self._positions.pop(number) for number in numbers if number in self._positions]
        for position in ended:
            position.is_stale = True  # nothing further of it is taken up
        async with self._changed:
            done = self._changed.wait_for(lambda: not any(position.is_busy for position in ended))
            await _wait(done, KAFKA_HANDOVER_SECONDS)

    def _new_consumer(self) -> Consumer:
        return Consumer(
            self._topic.client(
                group_id=self._topic.name,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=int(KAFKA_SESSION_SECONDS * 1000),
                heartbeat_interval_ms=int(KAFKA_SESSION_SECONDS * 1000 / 4),
                max_poll_interval_ms=int(KAFKA_ROUND_SECONDS_MAX * 1000),
                queued_max_messages_kbytes=KAFKA_FETCHED_KILOBYTES,
                fetch_queue_backoff_ms=10,
                fetch_error_backoff_ms=100,
                fetch_wait_max_ms=250,
            )
        )


def _fetch(consumer: Consumer) -> list[Message]:
    """Wait for a record, and take whatever else is there with it."""
    first = consumer.consume(1, _FETCH_SECONDS)
    return first + consumer.consume(KAFKA_FETCH_RECORDS, 0) if first else first


async def _wait(done: Awaitable[object], seconds: float) -> None:
    try:
        await asyncio.wait_for(done, seconds)
    except TimeoutError:
        return
