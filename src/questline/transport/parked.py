"""Events that wait outside the queue until they are due again; a twin of transport/postgres.py."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from questline.model.event import WaitingEvent
from questline.model.limits import APPLY_BATCH_BYTES
from questline.model.state import UserState
from questline.store import parking
from questline.store.pool import Connection
from questline.store.users import UserKey


class ParkedTransport:
    """Carries events that are due to be tried again to the lane that does so."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def receive(self, conn: Connection, partitions: Sequence[int], wanted: int) -> list[WaitingEvent]:
        """Return events that are due, each user's in order, without removing them; their number has bounds of its own."""
        return await parking.due(conn, partitions, self._clock(), APPLY_BATCH_BYTES)

    async def take(
        self, conn: Connection, events: Sequence[WaitingEvent], users: Mapping[UserKey, UserState]
    ) -> list[WaitingEvent]:
        """Remove the events in the caller's transaction, which holds the users; return those nobody else has taken."""
        return await parking.take(conn, events, users, self._clock())

    def settled(self, events: Sequence[WaitingEvent]) -> None:
        """Do nothing: what is taken is gone with the transaction."""
