"""The RabbitMQ transport: relays hand the outbox to the broker, and lanes take events from the messages it brings.

What it brings is a promise, and the outbox row is the truth: a lane looks for the rows before it applies anything, takes what
waits before them of the same users too, and removes them in the transaction of the effects. So a message may come late, twice
or never. Messages are acknowledged once all of their events are committed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from questline.model.event import WaitingEvent
from questline.model.limits import APPLY_BATCH_BYTES
from questline.model.state import UserState
from questline.store import relay
from questline.store.pool import Connection
from questline.store.users import UserKey
from questline.transport.postgres import PostgresTransport
from questline.transport.rabbitmq_inbox import Delivery, Inbox


class RabbitTransport:
    """Brings events of the worker's inbox to one lane."""

    def __init__(self, inbox: Inbox, outbox: PostgresTransport) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._in_hand: dict[Delivery, None] = {}
        self._of_event: dict[UUID, list[Delivery]] = {}

    async def receive(self, conn: Connection, partitions: Sequence[int], wanted: int) -> list[WaitingEvent]:
        """Return events that wait, each user's in order and none left out, without removing them."""
        self._put_back()
        while deliveries := self._inbox.next(partitions, wanted, APPLY_BATCH_BYTES):
            self._in_hand = dict.fromkeys(deliveries)
            brought: dict[UUID, WaitingEvent] = {}
            for delivery in deliveries:
                for event in delivery.events:
                    brought[event.id] = event
                    self._of_event.setdefault(event.id, []).append(delivery)
            waiting = await relay.still_waiting(conn, list(brought.values()))
            for event in waiting:
                brought.pop(event.id, None)
            self.settled(list(brought.values()))  # the others were applied before
            if waiting:
                return waiting
        return []

    async def take(
        self, conn: Connection, events: Sequence[WaitingEvent], users: Mapping[UserKey, UserState]
    ) -> list[WaitingEvent]:
        """Remove the events in the caller's transaction, which holds the users; return those nobody else has taken."""
        return await self._outbox.take(conn, events, users)

    def settled(self, events: Sequence[WaitingEvent]) -> None:
        """Acknowledge the messages of which every event is now committed, by this lane or by somebody else."""
        for event in events:
            for delivery in self._of_event.pop(event.id, ()):
                delivery.left -= 1
                if not delivery.left:
                    del self._in_hand[delivery]
                    self._inbox.acknowledge(delivery)

    def _put_back(self) -> None:
        """Return what a round that failed left unsettled to the inbox, to be applied next."""
        for delivery in reversed(self._in_hand):
            self._inbox.put_back(delivery)
        self._in_hand = {}
        self._of_event.clear()


class RabbitCarrier:
    """Brings events to a worker by the queues of the partitions that it holds."""

    def __init__(self, url: str, partitions: Callable[[], Sequence[int]], outbox: PostgresTransport) -> None:
        self._inbox = Inbox(url, partitions)
        self._outbox = outbox

    def lane(self) -> RabbitTransport:
        """Return the transport of one lane."""
        return RabbitTransport(self._inbox, self._outbox)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set."""
        await self._inbox.run(stop)
