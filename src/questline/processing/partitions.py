"""Which partitions this worker works on, and which of its lanes works on which of them."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from questline.model.limits import LEASE_RENEW_SECONDS
from questline.processing.connected import keep_connected
from questline.processing.meters import ProcessingMeters
from questline.store.pool import Connection
from questline.transport.pauses import pause
from questline.transport.postgres import PostgresTransport

log = structlog.get_logger(__name__)


class Partitions:
    """Renews the worker's leases and deals what is held out to its lanes.

    It has a connection of its own, so that a long batch of a lane never lets a lease lapse. Leases lie with the worker
    and not with its lanes: all lanes work from the first moment, not from when they have taken their share from another.
    """

    def __init__(self, dsn: str, transport: PostgresTransport, lanes: int, meters: ProcessingMeters) -> None:
        self._dsn = dsn
        self._transport = transport
        self._lanes = lanes
        self._meters = meters
        self._dealt: list[list[int]] = [[] for _ in range(lanes)]
        self._ends_at = 0.0

    def of(self, lane: int) -> Sequence[int]:
        """Return the partitions lane number `lane` may work on now; none when the leases have run out."""
        return self._dealt[lane] if time.monotonic() < self._ends_at else ()

    def all(self) -> Sequence[int]:
        """Return the partitions this worker may work on now."""
        return [partition for lane in range(self._lanes) for partition in self.of(lane)]

    async def run(self, stop: asyncio.Event) -> None:
        """Hold leases until `stop` is set, and give them back at the end; outlives the loss of its connection."""
        await keep_connected("partitions", self._dsn, self._hold, stop)

    async def _hold(self, conn: Connection, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                asked_at = time.monotonic()
                held = await self._transport.hold(conn)
                self._dealt = [held[lane :: self._lanes] for lane in range(self._lanes)]
                self._ends_at = asked_at + self._transport.lease_seconds
                self._meters.partitions.set(len(held))
                await pause(stop, LEASE_RENEW_SECONDS)
        finally:
            if not conn.is_closed():
                await self._transport.close(conn)
