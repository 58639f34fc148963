"""A worker's side of RabbitMQ: it consumes the queues of the partitions that the worker holds, and of no others."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity

from questline.model.event import WaitingEvent
from questline.model.limits import (
    BROKER_BACKOFF_SECONDS_MAX,
    RABBITMQ_ASSIGN_SECONDS,
    RABBITMQ_CONNECT_SECONDS,
    RABBITMQ_PREFETCH,
)
from questline.transport.carried import FORM, Unreadable, events_of
from questline.transport.pauses import backoff_seconds, pause
from questline.transport.rabbitmq_topology import BROKER_FAULTS, QUEUES, connect

log = structlog.get_logger(__name__)


class Delivery:
    """A message in a worker's hands; `left` of its events are not known to be committed.

    It is over when the broker has been told, or is to be told, what became of it.
    """

    __slots__ = ("connection", "events", "is_over", "left", "message", "partition")

    def __init__(
        self, partition: int, connection: int, message: AbstractIncomingMessage, events: Sequence[WaitingEvent]
    ) -> None:
        self.partition = partition
        self.connection = connection
        self.message = message
        self.events = events
        self.left = len(events)
        self.is_over = False


class Inbox:
    """Holds what the broker has brought, a bounded number of messages a queue, until lanes ask for it.

    Outlives the loss of the broker: what was not acknowledged comes again.
    """

    def __init__(self, url: str, partitions: Callable[[], Sequence[int]]) -> None:
        """`partitions` tells which partitions the worker holds now."""
        self._url = url
        self._partitions = partitions
        self._waiting: dict[int, deque[Delivery]] = {}  # by partition consumed
        self._out: dict[int, dict[Delivery, None]] = {}  # by partition, what lanes have in their hands
        self._done: deque[tuple[Delivery, bool]] = deque()  # to be acknowledged, or given back
        self._connection = 0  # counts connections: deliveries of an earlier one are void
        self._wake = asyncio.Event()

    def next(self, partitions: Iterable[int], wanted: int, bytes_wanted: int) -> list[Delivery]:
        """Return messages with about so many events, or bytes, of these partitions, which take turns; each's in order."""
        turns = deque(queue for partition in partitions if (queue := self._waiting.get(partition)))
        found: list[Delivery] = []
        while turns and wanted > 0 and bytes_wanted > 0:
            queue = turns.popleft()
            delivery = queue.popleft()
            found.append(delivery)
            self._out[delivery.partition][delivery] = None
            wanted -= len(delivery.events)
            bytes_wanted -= len(delivery.message.body)
            if queue:
                turns.append(queue)
        return found

    def put_back(self, delivery: Delivery) -> None:
        """Hold a message that a lane could not finish, before all others of its queue."""
        if not delivery.is_over and delivery.connection == self._connection:
            delivery.left = len(delivery.events)
            del self._out[delivery.partition][delivery]
            self._waiting[delivery.partition].appendleft(delivery)

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the broker forget a message."""
        if delivery.connection == self._connection:
            self._out.get(delivery.partition, {}).pop(delivery, None)
            self._end(delivery, True)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; a broker that is gone, or whose queues no relay has made yet, is waited for."""
        tries = 0
        while not stop.is_set():
            try:
                connection = await connect(self._url)
                try:
                    await self._consume(connection, stop)
                    tries = 0
                finally:
                    self._drop_all()
                    await _close(connection)
            except BROKER_FAULTS as fault:
                tries += 1
                waits = "a relay to make the queues" if isinstance(fault, ChannelNotFoundEntity) else "the broker"
                log.warning("inbox.waiting", waits_for=waits, fault=repr(fault), tries=tries)
                await pause(stop, backoff_seconds(tries, BROKER_BACKOFF_SECONDS_MAX))
            except Exception:  # a defect of ours must not end the worker: it is logged, and work goes on
                tries += 1
                log.exception("inbox.failed", tries=tries)
                await pause(stop, backoff_seconds(tries, BROKER_BACKOFF_SECONDS_MAX))

    async def _consume(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=RABBITMQ_PREFETCH)
        consuming: dict[int, tuple[AbstractQueue, str]] = {}
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set() and not (channel.is_closed or connection.is_closed):
                await self._assign(channel, consuming)
                await self._settle()
                await self._pause()
        finally:
            stopping.cancel()
        await self._settle()

    async def _assign(self, channel: AbstractChannel, consuming: dict[int, tuple[AbstractQueue, str]]) -> None:
        """Consume the queues of what the worker holds, and leave the others to whoever holds them."""
        underlay: Any = await channel.get_underlay_channel()  # its type does not tell of the consumers that it has
        held, known = set(self._partitions()), underlay.consumers
        for partition, (queue, tag) in list(consuming.items()):
            if tag not in known:  # somebody deleted the queue: a relay makes it anew
                log.warning("inbox.cancelled", queue=QUEUES[partition])
            elif partition not in held:
                async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
                    await queue.cancel(tag)
            else:
                continue
            del consuming[partition]
            # Lanes may be applying what they hold of it. Whoever gets it next waits for their users, and finds it done.
            for delivery in (*self._out.pop(partition), *self._waiting.pop(partition)):
                self._end(delivery, False)
        for partition in sorted(held - consuming.keys()):
            async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
                queue = await channel.get_queue(QUEUES[partition], ensure=False)
                self._waiting[partition], self._out[partition] = deque(), {}
                consuming[partition] = queue, await queue.consume(self._receiver(partition))

    def _receiver(self, partition: int) -> Callable[[AbstractIncomingMessage], Coroutine[Any, Any, None]]:
        connection = self._connection

        async def receive(message: AbstractIncomingMessage) -> None:  # must not wait: the order of messages hangs on it
            try:
                if message.type != FORM:
                    raise Unreadable(f"its type is {message.type!r}, and not {FORM!r}")
                events = events_of(message.body)
            except Unreadable as fault:  # nothing is lost: events of ours are handed over again
                log.error("inbox.unreadable", queue=QUEUES[partition], fault=str(fault), bytes=len(message.body))
                events = []
            delivery = Delivery(partition, connection, message, events)
            if events and partition in self._waiting and connection == self._connection:
                self._waiting[partition].append(delivery)
            else:
                self._end(delivery, not events)

        return receive

    async def _settle(self) -> None:
        """Tell the broker of messages that lanes are through with."""
        async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
            while self._done:
                delivery, applied = self._done.popleft()
                if delivery.connection == self._connection:
                    await (delivery.message.ack() if applied else delivery.message.nack(requeue=True))

    async def _pause(self) -> None:
        """Wait until there is something to settle, or for a moment."""
        if not self._done:
            try:
                async with asyncio.timeout(RABBITMQ_ASSIGN_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._wake.clear()

    def _end(self, delivery: Delivery, applied: bool) -> None:
        if not delivery.is_over:
            delivery.is_over = True
            self._done.append((delivery, applied))
            self._wake.set()

    def _drop_all(self) -> None:
        """Forget what came over a connection that is over: it comes again."""
        self._connection += 1
        self._waiting.clear()
        self._out.clear()
        self._done.clear()


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
            await connection.close()
    except BROKER_FAULTS:
        return
