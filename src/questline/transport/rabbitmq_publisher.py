"""The relay's side of RabbitMQ: messages go out side by side, and each is confirmed by the broker or counts as failed."""

import asyncio
from collections.abc import Sequence

from aio_pika import DeliveryMode
from aio_pika import Message as Envelope
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError

from questline.model.limits import RABBITMQ_CONNECT_SECONDS, RELAY_CONFIRM_SECONDS
from questline.transport.carried import FORM, Message
from questline.transport.rabbitmq_topology import BROKER_FAULTS, DLQ, QUEUES, connect, declare
from questline.transport.relay import Refusal
from questline.transport.unapplied import Depth


class RabbitPublisher:
    """One connection of a relay to the broker."""

    faults: tuple[type[Exception], ...] = BROKER_FAULTS

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel, lost: Sequence[int]) -> None:
        self.lost = lost
        self._connection = connection
        self._channel = channel

    @classmethod
    async def open(cls, url: str) -> "RabbitPublisher":
        """Connect and declare what is missing; raises one of BROKER_FAULTS, or TopologyMismatch."""
        connection = await connect(url)
        try:
            async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):  # nobody else opens one meanwhile
                lost = await declare(connection)
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        except BaseException:
            await _leave(connection)
            raise
        return cls(connection, channel, lost)

    def is_open(self) -> bool:
        """Tell whether it is worth another message."""
        return not (self._connection.is_closed or self._channel.is_closed)

    async def publish(self, messages: Sequence[Message]) -> list[Refusal | None]:
        """Hand messages over; return for each None once the broker has it on its disk, or why it has not. Never raises."""
        return await asyncio.gather(*(self._publish(QUEUES[m.partition], FORM, m.body()) for m in messages))

    async def mirror(self, letters: Sequence[bytes]) -> bool:
        """Tell of dead letters, each a JSON document; return whether the broker has them all."""
        told = await asyncio.gather(*(self._publish(DLQ, "questline.dead-letter.1", letter) for letter in letters))
        return not any(told)

    async def depths(self, partitions: Sequence[int]) -> dict[int, Depth]:
        """Return what the queues of partitions hold; raises one of BROKER_FAULTS, also where a queue is gone."""
        found = {}
        async with asyncio.timeout(RABBITMQ_CONNECT_SECONDS):
            for partition in partitions:
                told = (await self._channel.declare_queue(QUEUES[partition], passive=True)).declaration_result
                found[partition] = Depth(told.message_count or 0, told.consumer_count or 0)
        return found

    async def close(self) -> None:
        """Leave; a broker that does not answer is left all the same."""
        await _leave(self._connection)

    async def _publish(self, queue: str, form: str, body: bytes) -> Refusal | None:
        kind = "application/json" if queue == DLQ else "application/msgpack"
        envelope = Envelope(body, delivery_mode=DeliveryMode.PERSISTENT, content_type=kind, type=form)
        try:
            async with asyncio.timeout(RELAY_CONFIRM_SECONDS):
                await self._channel.default_exchange.publish(envelope, queue, mandatory=True)
        except PublishError:
            return Refusal.RETURNED
        except DeliveryError:
            return Refusal.REFUSED
        except BROKER_FAULTS:
            return Refusal.LOST
        return None


async def _leave(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(RELAY_CONFIRM_SECONDS):
            await connection.close()
    except BROKER_FAULTS:
        return
