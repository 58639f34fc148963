"""How events come to lanes: the interface of transports, whose versions are twins."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from questline.model.event import WaitingEvent
from questline.model.state import UserState
from questline.store.pool import Connection
from questline.store.users import UserKey
from questline.transport.postgres import PostgresTransport


class Transport(Protocol):
    """What brings events to a lane."""

    async def receive(self, conn: Connection, partitions: Sequence[int], wanted: int) -> list[WaitingEvent]:
        """Return waiting events, each user's in order, without removing them."""

    async def take(
        self, conn: Connection, events: Sequence[WaitingEvent], users: Mapping[UserKey, UserState]
    ) -> list[WaitingEvent]:
        """Remove the events in the caller's transaction, which holds the users; return those that are now the caller's."""

    def settled(self, events: Sequence[WaitingEvent]) -> None:
        """Hear that a transaction which took these events, or found them taken, is committed. Called outside of it."""


class Carrier(Protocol):
    """What brings events to a worker from elsewhere than the outbox table."""

    def lane(self) -> Transport:
        """Return the transport of one lane."""

    async def run(self, stop: asyncio.Event) -> None:
        """Stay in touch with the broker until `stop` is set; outlives its loss."""


# Opens a carrier, given which partitions the worker holds now, and the transport that takes rows out of the outbox.
OpenCarrier = Callable[[Callable[[], Sequence[int]], PostgresTransport], Carrier]
