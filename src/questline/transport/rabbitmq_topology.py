"""What Questline has on a RabbitMQ broker: a durable queue for each partition, and one for dead letters. We declare it."""

from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity, ChannelPreconditionFailed
from yarl import URL

from questline.model.limits import (
    DLQ_MESSAGES_MAX,
    PARTITIONS,
    RABBITMQ_CONNECT_SECONDS,
    RABBITMQ_HEARTBEAT_SECONDS,
)

log = structlog.get_logger(__name__)

DLQ = "events.dlq"
QUEUES = [f"questline.events.{partition:02}" for partition in range(PARTITIONS)]

# One consumer at a time: with it, and one worker for each partition, a user's events come in their order.
_EVENTS: dict[str, Any] = {"x-single-active-consumer": True}
_DLQ: dict[str, Any] = {"x-max-length": DLQ_MESSAGES_MAX}

BROKER_FAULTS = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)


class TopologyMismatch(Exception):
    """A queue of ours was declared otherwise by somebody else; the message says which, and what to do."""


async def connect(url: str) -> AbstractConnection:
    """Open a connection; raises one of BROKER_FAULTS."""
    address = URL(url)
    if "heartbeat" not in address.query:
        address = address.update_query(heartbeat=RABBITMQ_HEARTBEAT_SECONDS)
    return await aio_pika.connect(address, timeout=RABBITMQ_CONNECT_SECONDS)


async def declare(connection: AbstractConnection) -> list[int]:
    """Make what is missing, and return the partitions whose queue was: what the broker held of them is lost.

    Only relays do this, who know what was handed over; workers wait for the queues. Raises TopologyMismatch.
    """
    missing = []
    channel = await connection.channel()
    for partition, name in enumerate(QUEUES):
        try:
            await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:  # which closes the channel
            missing.append(partition)
            channel = await connection.channel()
        await _declare(channel, name, _EVENTS)
    await _declare(channel, DLQ, _DLQ)
    await channel.close()
    return missing


async def _declare(channel: AbstractChannel, name: str, arguments: dict[str, Any]) -> None:
    try:
        await channel.declare_queue(name, durable=True, arguments=arguments)
    except ChannelPreconditionFailed as fault:
        raise TopologyMismatch(
            f"the queue {name} exists with other properties ({fault}). Delete it: what it holds is still in PostgreSQL, and"
            " the relay makes it anew. Policies are fine; arguments and durability must be Questline's."
        ) from fault
