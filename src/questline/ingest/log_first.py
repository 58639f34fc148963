"""Log-first acceptance: an event is durable when the brokers hold it, and PostgreSQL is not asked.

So nobody knows yet whether it is a duplicate, and whether its key belongs to another event: the worker that takes it out of
the log finds that out. Only the nonce of a signed request is burnt in PostgreSQL first.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from questline.ingest.accept import Acceptance, Overloaded, Status, Unavailable
from questline.ingest.meters import IngestMeters
from questline.ingest.turns import LANES, Broken, Turn
from questline.model.event import AcceptedEvent, Nonce
from questline.model.limits import LATENCY_SAMPLE
from questline.store import nonces
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.nonces import Replayed
from questline.store.pool import Pool
from questline.telemetry.tracing import Tracer
from questline.transport.appending import Failed, Full

if TYPE_CHECKING:
    from questline.transport.kafka_log import KafkaLog

log = structlog.get_logger(__name__)


class LogAcceptor:
    """Appends events to a log for one process; a twin of `accept.Acceptor`."""

    def __init__(self, log_: "KafkaLog", pool: Pool, meters: IngestMeters, tracer: Tracer | None = None) -> None:
        self._log = log_
        self._pool = pool
        self._meters = meters
        self._tracer = tracer
        self._full = False
        self._closing = False
        self._count = 0

    def start(self) -> None:
        """Begin to serve; the log is open."""

    async def close(self) -> None:
        """Wait for what was taken to be durable; what comes later is refused as overload."""
        self._closing = True
        await self._log.close()

    def refuse(self, *, full: bool) -> None:
        """Be told whether so much waits to be applied that nothing more is to be taken in."""
        self._full = full

    @property
    def takes_many(self) -> bool:
        """Whether a batch would be taken now: else its body need not be read."""
        return not (self._closing or self._full or self._log.is_full)

    async def accept_one(self, event: AcceptedEvent) -> Acceptance:
        """Append one event; raises Overloaded or Unavailable."""
        if not self.takes_many:
            raise self._turned_away()
        if event.nonce is not None:
            try:
                await self.burn(event.nonce)
            except Replayed:
                return Acceptance(Status.REPLAYED, event.id)
        if self._tracer is not None:
            event = self._tracer.mark(event)
        started = time.perf_counter()
        try:
            await self._log.append(event)
        except Full:
            raise self._turned_away() from None
        except Failed as fault:
            raise self._unavailable(fault) from fault
        self._meters.events.labels(Status.LOGGED).inc()
        self._meters.projects.add("accepted", [event.project_id])
        self._count += 1
        if self._count % LATENCY_SAMPLE == 0:
            self._meters.seconds.observe(time.perf_counter() - started)
            self._meters.waiting.set(self._log.waiting)
        return Acceptance(Status.LOGGED, event.id)

    async def accept(
        self, events: Sequence[AcceptedEvent], nonce: Nonce | None = None, turn: Turn | None = None
    ) -> list[Acceptance]:
        """Append a batch; raises Overloaded or Unavailable, and with a nonce Replayed.

        Unavailable may leave a part of the batch in the log; to send all of it again is safe.
        """
        if turn is not None:
            await self._wait_for(turn)
        if not self.takes_many:
            raise self._turned_away()
        if nonce is not None:
            await self.burn(nonce)
        if self._tracer is not None:
            events = [self._tracer.mark(event) for event in events]
        try:
            await self._log.append_all(events)
        except Full:
            raise self._turned_away() from None
        except Failed as fault:
            raise self._unavailable(fault) from fault
        self._meters.events.labels(Status.LOGGED).inc(len(events))
        self._meters.projects.add("accepted", [event.project_id for event in events])
        return [Acceptance(Status.LOGGED, event.id) for event in events]

    async def _wait_for(self, turn: Turn) -> None:
        """Wait until all of the group before is in the log."""
        try:
            for lane in range(LANES):
                await turn.take(lane)
        except Broken as broken:
            raise Unavailable("the group before it is not in the log") from broken

    async def burn(self, nonce: Nonce) -> None:
        """Burn the nonce of a signed request; raises Replayed or Unavailable."""
        try:
            if not await nonces.burn(self._pool, [nonce]):
                raise Replayed
        except TRANSIENT_FAULTS as fault:
            raise self._unavailable(fault) from fault

    def _turned_away(self) -> Overloaded:
        self._meters.turned_away.labels("overloaded").inc()
        return Overloaded()

    def _unavailable(self, fault: BaseException) -> Unavailable:
        log.warning("log_first.unavailable", fault=str(fault))
        self._meters.turned_away.labels("unavailable").inc()
        return Unavailable(str(fault))
