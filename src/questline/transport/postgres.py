"""The default transport: workers take accepted events straight from the outbox table."""

from collections.abc import Sequence
from uuid import UUID

from questline.model.event import WaitingEvent
from questline.store import leases, outbox
from questline.store.pool import Connection


class PostgresTransport:
    """Carries events from the outbox to the lanes of one worker, on connections of theirs."""

    def __init__(self, owner: UUID, lease_seconds: float) -> None:
        self._owner = owner
        self.lease_seconds = lease_seconds

    async def hold(self, conn: Connection) -> list[int]:
        """Renew this worker's claim; return the partitions it may work on until the lease ends."""
        return await leases.hold(conn, self._owner, self.lease_seconds)

    async def receive(self, conn: Connection, partitions: Sequence[int], wanted: int) -> list[WaitingEvent]:
        """Return waiting events, each user's in order, without removing them."""
        return await outbox.claim(conn, partitions, wanted)

    async def take(self, conn: Connection, events: Sequence[WaitingEvent]) -> list[WaitingEvent]:
        """Remove the events in the caller's transaction; return those nobody else has taken."""
        return await outbox.take(conn, events)

    async def close(self, conn: Connection) -> None:
        """Give the partitions back."""
        await leases.release(conn, self._owner)
