"""The default transport: workers take accepted events straight from the outbox table."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from uuid import UUID

from questline.model.event import WaitingEvent
from questline.model.limits import APPLY_BATCH_BYTES
from questline.model.state import UserState
from questline.store import leases, outbox, parking
from questline.store.pool import Connection
from questline.store.users import UserKey


class PostgresTransport:
    """Carries events from the outbox to the lanes of one worker, on connections of theirs."""

    def __init__(self, owner: UUID, lease_seconds: float) -> None:
        self._owner = owner
        self._version = version("questline")
        self.lease_seconds = lease_seconds

    async def hold(self, conn: Connection) -> list[int]:
        """Renew this worker's claim; return the partitions it may work on until the lease ends."""
        return await leases.hold(conn, self._owner, self.lease_seconds, self._version)

    async def receive(self, conn: Connection, partitions: Sequence[int], wanted: int) -> list[WaitingEvent]:
        """Return waiting events, each user's in order and bounded in bytes, without removing them."""
        return await outbox.claim(conn, partitions, wanted, APPLY_BATCH_BYTES)

    async def take(
        self, conn: Connection, events: Sequence[WaitingEvent], users: Mapping[UserKey, UserState]
    ) -> list[WaitingEvent]:
        """Remove the events in the caller's transaction, which holds the users; return those nobody else has taken.

        Those of parked users are set aside, behind the event that their user waits for.
        """
        if any(user.parked for user in users.values()):
            parked = [e for e in events if users[e.project_id, e.user].parked]
            await parking.set_aside(conn, parked)
            events = [e for e in events if not users[e.project_id, e.user].parked]
        return await outbox.take(conn, events) if events else []

    def settled(self, events: Sequence[WaitingEvent]) -> None:
        """Do nothing: what is taken is gone from the queue with the transaction."""

    async def close(self, conn: Connection) -> None:
        """Give the partitions back."""
        await leases.release(conn, self._owner)
