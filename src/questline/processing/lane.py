"""One lane: a connection that takes waiting events of its partitions and applies them, batch after batch."""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from questline.model.decision import Decision
from questline.model.event import WaitingEvent
from questline.model.limits import (
    APPLY_BATCH_EVENTS,
    APPLY_BATCH_SMALL,
    APPLY_TRIES_MAX,
    IDLE_POLL_SECONDS,
    LANE_RENEW_SECONDS,
    RETRY_BACKOFF_SECONDS_MAX,
)
from questline.model.reasons import Reason
from questline.processing.apply import Applier
from questline.processing.meters import ProcessingMeters
from questline.store import boards, effects, users
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, connect
from questline.transport.postgres import PostgresTransport

log = structlog.get_logger(__name__)


class Lane:
    """Applies the events of its partitions until told to stop; outlives the loss of its connection."""

    def __init__(
        self, name: str, dsn: str, transport: PostgresTransport, applier: Applier, meters: ProcessingMeters
    ) -> None:
        self._name = name
        self._dsn = dsn
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
                    await _close(conn)
            except TRANSIENT_FAULTS as fault:
                faults += 1
                self._meters.retries.inc()
                log.warning("lane.lost_connection", lane=self._name, fault=repr(fault), tries=faults)
                await _wait(stop, backoff_seconds(faults))
            except Exception:  # a defect of ours must not end the lane: it is logged, and work goes on
                faults += 1
                log.exception("lane.failed", lane=self._name, tries=faults)
                await _wait(stop, backoff_seconds(faults))

    async def _work(self, conn: Connection, stop: asyncio.Event) -> None:
        shard = await boards.claim_shard(conn)
        partitions: list[int] = []
        renew_at = 0.0
        try:
            while not stop.is_set():
                now = time.monotonic()
                if now >= renew_at:
                    partitions = await self._transport.hold(conn)
                    renew_at = now + LANE_RENEW_SECONDS
                    self._meters.partitions.labels(self._name).set(len(partitions))
                batch = await self._transport.receive(conn, partitions, APPLY_BATCH_EVENTS) if partitions else []
                if batch:
                    await self._apply(conn, shard, batch)
                self.alive_at = time.monotonic()
                if len(batch) < APPLY_BATCH_SMALL:
                    await _wait(stop, IDLE_POLL_SECONDS)
        finally:
            if not conn.is_closed():
                await self._transport.close(conn)

    async def _apply(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent]) -> None:
        """Apply a batch; when the database refuses it, halve it until the event at fault stands alone."""
        for tries in range(1, APPLY_TRIES_MAX + 1):
            try:
                return await self._apply_once(conn, shard, batch)
            except TRANSIENT_FAULTS as fault:
                if conn.is_closed():
                    raise
                self._meters.retries.inc()
                log.warning("lane.batch_repeated", lane=self._name, fault=repr(fault), tries=tries, events=len(batch))
                await asyncio.sleep(backoff_seconds(tries))
                refusal: Exception = fault  # type: ignore[assignment]
            except Exception as fault:
                log.warning("lane.batch_refused", lane=self._name, fault=repr(fault), events=len(batch))
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
        for verdict in verdicts:
            outcome = verdict.result.outcome.value if isinstance(verdict.result, Decision) else "failed"
            self._meters.events.labels(outcome).inc()

    async def _bury(self, conn: Connection, event: WaitingEvent, fault: Exception) -> None:
        log.error("lane.dead_letter", lane=self._name, event_id=str(event.id), fault=repr(fault))
        async with conn.transaction():
            if await self._transport.take(conn, [event]):
                await bury(conn, event, fault, self._applier)
        self._meters.events.labels("failed").inc()


async def bury(conn: Connection, event: WaitingEvent, fault: Exception, applier: Applier) -> None:
    """Write a dead letter for an event whose effects the database refused, in the caller's transaction."""
    rows = effects.Effects(set(), applier.now())
    rows.add_dead_letter(event, Reason.STORE_ERROR, f"{type(fault).__name__}: {fault}", 0)
    await rows.write(conn)


def backoff_seconds(tries: int) -> float:
    """Return a wait that doubles with each try up to a bound, with full jitter, so that lanes do not march in step."""
    return random.uniform(0.02, min(0.1 * 2.0**tries, RETRY_BACKOFF_SECONDS_MAX))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _close(conn: Connection) -> None:
    try:
        await conn.close(timeout=2.0)
    except TRANSIENT_FAULTS:
        conn.terminate()
