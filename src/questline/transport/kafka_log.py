"""Writing to the log: an event is durable when the brokers that hold its partition have acknowledged it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from questline.model.event import AcceptedEvent
from questline.model.limits import (
    ACCEPT_QUEUE_EVENTS_MAX,
    KAFKA_DELIVERY_SECONDS,
    KAFKA_LINGER_MS,
    KAFKA_POLL_SECONDS,
    KAFKA_PROBES_MAX,
)
from questline.transport.appending import Failed, Full
from questline.transport.kafka_records import encoded, key_of
from questline.transport.kafka_topic import Topic, Unreachable, WrongTopic, declare

log = structlog.get_logger(__name__)

_DECLARE_AGAIN_SECONDS = 1.0


class KafkaLog:
    """Appends the events of one process. It lives on one event loop, which also looks for acknowledgements."""

    def __init__(self, topic: Topic, bytes_max: int, records_max: int = ACCEPT_QUEUE_EVENTS_MAX) -> None:
        """`bytes_max` bounds what waits to be acknowledged, and `records_max` its number."""
        self._topic = topic
        self._bytes_max = bytes_max
        self._records_max = records_max
        self._producer: Producer | None = None
        self._retired: list[Producer] = []  # whose last records are still to be settled
        self._waiting = 0
        self._waiting_bytes = 0
        self._is_known = False  # whether the topic was seen, and is of our number of partitions
        self._is_away = True
        self.unusable: WrongTopic | None = None
        self._looking = False  # whether a timer is set to look for acknowledgements
        self._looking_soon = False
        self._emptied = asyncio.Event()
        self._declaring: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to serve. Brokers that do not answer are waited for beside; raises WrongTopic, or ValueError for options.

        Nothing is appended before the topic was seen. If it turns out then to be a wrong one, `unusable` says why.
        """
        try:
            self._producer = self._new_producer()
        except KafkaException as error:
            raise ValueError(error.args[0].str()) from error
        try:
            await asyncio.to_thread(declare, self._topic)
            self._is_known, self._is_away = True, False
        except Unreachable as fault:
            log.warning("kafka.unreachable", fault=str(fault))
            self._declaring = asyncio.create_task(self._keep_declaring())

    async def close(self) -> None:
        """Wait for what was taken to be acknowledged, for a bounded time."""
        if self._declaring is not None:
            self._declaring.cancel()
        self._emptied.clear()
        if self._waiting:
            try:
                await asyncio.wait_for(self._emptied.wait(), 2 * KAFKA_DELIVERY_SECONDS)
            except TimeoutError:
                log.error("kafka.closed_early", records=self._waiting)

    @property
    def waiting(self) -> int:
        """How many records wait to be acknowledged."""
        return self._waiting

    @property
    def is_full(self) -> bool:
        """Whether another record would be refused now."""
        if not self._is_known:
            return True
        if self._is_away and self._waiting >= KAFKA_PROBES_MAX:
            return True
        return self._waiting >= self._records_max or self._waiting_bytes >= self._bytes_max

    async def append(self, event: AcceptedEvent) -> None:
        """Append one event; returns when it is durable. Raises Full or Failed."""
        if self.is_full:
            raise Full
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        producer, value = self._producer, encoded(event)
        size = len(value)

        def told(error: KafkaError | None, _: Any) -> None:
            self._settled(producer, size, error)
            if future.done():  # its caller may have gone away
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(Failed(error.str()))

        self._produce(event, value, told)
        await future

    async def append_all(self, events: Sequence[AcceptedEvent]) -> None:
        """Append events, each user's in order; returns when all are durable. Raises Full, or Failed for one of them."""
        if self.is_full or self._waiting + len(events) > self._records_max:
            raise Full
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        producer, left = self._producer, len(events)

        def told_of(size: int) -> Callable[[KafkaError | None, Any], None]:
            def told(error: KafkaError | None, _: Any) -> None:
                nonlocal left
                self._settled(producer, size, error)
                left -= 1
                if error is not None and not future.done():
                    future.set_exception(Failed(error.str()))
                elif left == 0 and not future.done():
                    future.set_result(None)

            return told

        try:
            for event in events:
                value = encoded(event)
                self._produce(event, value, told_of(len(value)))
        except Failed:
            future.cancel()  # those before it may yet be acknowledged, and nobody waits for that
            raise
        await future

    def _produce(self, event: AcceptedEvent, value: bytes, told: Callable[[KafkaError | None, Any], None]) -> None:
        assert self._producer is not None
        partition = event.user_hash % self._topic.partitions
        try:
            self._producer.produce(self._topic.name, value, key_of(event), partition, told)
        except (BufferError, KafkaException) as fault:
            if isinstance(fault, KafkaException) and fault.args[0].code() == KafkaError._FATAL:
                self._replace()
            raise Failed(str(fault)) from fault
        self._waiting += 1
        self._waiting_bytes += len(value)
        loop = asyncio.get_running_loop()
        if not self._looking_soon:  # a timer comes late on a busy loop: callers would wait for the look
            self._looking_soon = True
            loop.call_soon(self._look_soon)
        if not self._looking:
            self._looking = True
            loop.call_later(KAFKA_POLL_SECONDS, self._look)

    def _settled(self, producer: Producer | None, size: int, error: KafkaError | None) -> None:
        """Count a record that was acknowledged, or was not."""
        self._waiting -= 1
        self._waiting_bytes -= size
        if error is None:
            self._is_away = False
            return
        if not self._is_away:
            log.warning("kafka.not_acknowledged", fault=error.str())
        self._is_away = True
        if error.fatal() and producer is self._producer:
            self._replace()

    def _look_soon(self) -> None:
        self._looking_soon = False
        self._settle()

    def _look(self) -> None:
        """Settle what was acknowledged, and look again while something waits."""
        self._settle()
        self._looking = self._waiting > 0
        if not self._looking:
            self._emptied.set()
        else:
            asyncio.get_running_loop().call_later(KAFKA_POLL_SECONDS, self._look)

    def _settle(self) -> None:
        assert self._producer is not None
        try:
            self._producer.poll(0)
            for retired in self._retired:
                retired.poll(0)
            self._retired = [producer for producer in self._retired if len(producer)]
        except Exception:
            log.exception("kafka.look_failed")

    def _replace(self) -> None:
        """Go on with a new producer: one that met a fatal error writes nothing any more."""
        if self._producer is not None:
            log.error("kafka.producer_replaced")
            self._retired.append(self._producer)
        self._producer = self._new_producer()

    async def _keep_declaring(self) -> None:
        while not self._is_known:
            await asyncio.sleep(_DECLARE_AGAIN_SECONDS)
            try:
                await asyncio.to_thread(declare, self._topic)
            except Unreachable:
                continue
            except WrongTopic as fault:
                if str(fault) != str(self.unusable):
                    log.error("kafka.topic_unusable", fault=str(fault))
                self.unusable = fault
            except Exception:
                log.exception("kafka.topic_not_seen")
            else:
                self._is_known, self._is_away, self.unusable = True, False, None

    def _new_producer(self) -> Producer:
        return Producer(
            self._topic.client(
                acks="all",
                enable_idempotence=True,
                linger_ms=KAFKA_LINGER_MS,
                message_timeout_ms=int(KAFKA_DELIVERY_SECONDS * 1000),
                message_max_bytes=max(self._topic.record_bytes_max, 1_000_000),
                queue_buffering_max_messages=2 * self._records_max,
                queue_buffering_max_kbytes=max(4 * self._bytes_max // 1024, 65_536),
                compression_type="lz4",
            )
        )
