"""One lane: a connection that takes waiting events of its partitions and applies them, batch after batch."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from questline.model.decision import Decision
from questline.model.event import WaitingEvent
from questline.model.limits import (
    APPLY_BATCH_EVENTS,
    APPLY_BATCH_SMALL,
    APPLY_TRIES_MAX,
    IDLE_POLL_SECONDS,
)
from questline.model.reasons import Reason
from questline.processing.apply import Applier
from questline.processing.meters import ProcessingMeters
from questline.processing.partitions import Partitions
from questline.processing.pauses import backoff_seconds, pause
from questline.store import boards, effects, users
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, close, connect
from questline.transport.postgres import PostgresTransport

log = structlog.get_logger(__name__)


class Lane:
    """Applies the events of its partitions until told to stop; outlives the loss of its connection."""

    def __init__(
        self,
        number: int,
        dsn: str,
        partitions: Partitions,
        transport: PostgresTransport,
        applier: Applier,
        meters: ProcessingMeters,
    ) -> None:
        self._number = number
        self._dsn = dsn
        self._partitions = partitions
        self._transport = transport
        self._applier = applier
        self._meters = meters
        self.alive_at = 0.0  # monotonic time of the last finished round

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a batch under way is finished. Infrastructure faults are waited out, for ever."""
        faults = 0
        while not stop.is_set():
            try:
                conn = await connect(self._dsn)
                try:
                    faults = 0
                    await self._work(conn, stop)
                finally:
                    await close(conn)
            except TRANSIENT_FAULTS as fault:
                faults += 1
                self._meters.retries.inc()
                log.warning("lane.lost_connection", lane=self._number, fault=repr(fault), tries=faults)
                await pause(stop, backoff_seconds(faults))
            except Exception:  # a defect of ours must not end the lane: it is logged, and work goes on
                faults += 1
                log.exception("lane.failed", lane=self._number, tries=faults)
                await pause(stop, backoff_seconds(faults))

    async def _work(self, conn: Connection, stop: asyncio.Event) -> None:
        shard = await boards.claim_shard(conn)
        while not stop.is_set():
            partitions = self._partitions.of(self._number)
            batch = await self._transport.receive(conn, partitions, APPLY_BATCH_EVENTS) if partitions else []
            if batch:
                await self._apply(conn, shard, batch)
            self.alive_at = time.monotonic()
            if len(batch) < APPLY_BATCH_SMALL:
                await pause(stop, IDLE_POLL_SECONDS)

    async def _apply(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent]) -> None:
        """Apply a batch; when the database refuses it, halve it until the event at fault stands alone."""
        for tries in range(1, APPLY_TRIES_MAX + 1):
            try:
                return await self._apply_once(conn, shard, batch)
            except TRANSIENT_FAULTS as fault:
                if conn.is_closed():
                    raise
                self._meters.retries.inc()
                log.warning("lane.batch_repeated", lane=self._number, fault=repr(fault), tries=tries, events=len(batch))
                await asyncio.sleep(backoff_seconds(tries))
                refusal: Exception = fault  # type: ignore[assignment]
            except Exception as fault:
                log.warning("lane.batch_refused", lane=self._number, fault=repr(fault), events=len(batch))
                refusal = fault
                break
        if len(batch) == 1:
            return await self._bury(conn, batch[0], refusal)
        middle = len(batch) // 2
        await self._apply(conn, shard, batch[:middle])
        return await self._apply(conn, shard, batch[middle:])

    async def _apply_once(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent]) -> None:
        started = time.perf_counter()
        async with conn.transaction():
            locked = await users.lock(conn, {(e.project_id, e.user): None for e in batch})
            taken = await self._transport.take(conn, batch)
            verdicts = await self._applier.apply(conn, shard, taken, locked) if taken else []
        self._meters.batch_seconds.observe(time.perf_counter() - started)
        self._meters.batch_events.observe(len(verdicts))
        ended = Counter(v.result.outcome.value if isinstance(v.result, Decision) else "failed" for v in verdicts)
        for outcome, events in ended.items():
            self._meters.events.labels(outcome).inc(events)

    async def _bury(self, conn: Connection, event: WaitingEvent, fault: Exception) -> None:
        log.error("lane.dead_letter", lane=self._number, event_id=str(event.id), fault=repr(fault))
        async with conn.transaction():
            if await self._transport.take(conn, [event]):
                await bury(conn, event, fault, self._applier)
        self._meters.events.labels("failed").inc()


async def bury(conn: Connection, event: WaitingEvent, fault: Exception, applier: Applier) -> None:
    """Write a dead letter for an event whose effects the database refused, in the caller's transaction."""
    rows = effects.Effects(set(), applier.now())
    rows.add_dead_letter(event, Reason.STORE_ERROR, f"{type(fault).__name__}: {fault}", 0)
    await rows.write(conn)
