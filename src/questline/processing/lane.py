"""One lane: a connection that takes waiting events of its partitions and applies them, batch after batch."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from questline.model.event import WaitingEvent, bytes_of
from questline.model.limits import (
    APPLY_BATCH_EVENTS,
    APPLY_BATCH_SMALL,
    APPLY_TRIES_MAX,
    BATCH_SMALL_BYTES,
    IDLE_POLL_SECONDS,
    IDLE_POLL_SECONDS_MAX,
)
from questline.processing.apply import Applier
from questline.processing.connected import keep_connected
from questline.processing.failures import Failures
from questline.processing.meters import ProcessingMeters
from questline.store import boards, users
from questline.store.faults import Remedy, classify
from questline.store.pool import Connection, renew_plans
from questline.telemetry.tracing import Tracer
from questline.transport.carrier import Transport
from questline.transport.pauses import backoff_seconds, pause

log = structlog.get_logger(__name__)


class Lane:
    """Applies the events of its partitions until told to stop; outlives the loss of its connection."""

    def __init__(
        self,
        number: int,
        dsn: str,
        partitions: Callable[[], Sequence[int]],
        transport: Transport,
        applier: Applier,
        failures: Failures,
        meters: ProcessingMeters,
        poll_seconds: float = IDLE_POLL_SECONDS,
        tracer: Tracer | None = None,
    ) -> None:
        """`partitions` tells which partitions are the lane's now; `poll_seconds` is how soon it looks again when idle."""
        self._number = number
        self._dsn = dsn
        self._partitions = partitions
        self._transport = transport
        self._applier = applier
        self._failures = failures
        self._meters = meters
        self._poll_seconds = poll_seconds
        self._tracer = tracer
        self.alive_at = 0.0  # monotonic time of the last finished round

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a batch under way is finished. Infrastructure faults are waited out, for ever."""
        await keep_connected("lane", self._dsn, self._work, stop, self._meters.retries.inc, lane=self._number)

    async def _work(self, conn: Connection, stop: asyncio.Event) -> None:
        shard, wait = await boards.claim_shard(conn), self._poll_seconds
        while not stop.is_set():
            await renew_plans(conn)
            partitions = self._partitions()
            batch = await self._transport.receive(conn, partitions, APPLY_BATCH_EVENTS) if partitions else []
            if batch:
                await self._apply(conn, shard, batch, APPLY_TRIES_MAX)
            self.alive_at = time.monotonic()
            if len(batch) < APPLY_BATCH_SMALL and bytes_of(batch) < BATCH_SMALL_BYTES:
                wait = self._poll_seconds if batch else max(wait, min(2 * wait, IDLE_POLL_SECONDS_MAX))
                await pause(stop, wait)

    async def _apply(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent], tries_max: int) -> None:
        """Apply a batch; when the database refuses it, take it apart until the event at fault stands alone.

        The whole batch is tried several times where that may help, its parts once: others wait behind them.
        """
        for tries in range(1, tries_max + 1):
            started = time.perf_counter_ns()
            try:
                return await self._apply_once(conn, shard, batch)
            except Exception as fault:
                remedy, refusal = classify(fault).remedy, fault
                if conn.is_closed() or remedy is Remedy.WAIT:
                    raise
                self._meters.retries.inc()
                log.warning("lane.batch_refused", lane=self._number, fault=repr(fault), tries=tries, events=len(batch))
                if remedy is Remedy.FINAL:
                    break
                if tries < tries_max:
                    await asyncio.sleep(backoff_seconds(tries))
        if len(batch) == 1:
            duration_us = (time.perf_counter_ns() - started) // 1000
            return await self._failures.settle(conn, self._transport, batch[0], refusal, duration_us)
        for part in parts_of(batch):
            await self._apply(conn, shard, part, 1)
        return None

    async def _apply_once(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent]) -> None:
        started = time.perf_counter()
        async with conn.transaction():
            locked = await users.lock(conn, {(e.project_id, e.user): None for e in batch})
            taken = await self._transport.take(conn, batch, locked)
            verdicts = await self._applier.apply(conn, shard, taken, locked) if taken else []
        self._transport.settled(batch)
        self._applier.committed(taken)
        seconds = time.perf_counter() - started
        self._meters.batch_seconds.observe(seconds)
        self._meters.batch_events.observe(len(verdicts))
        self._meters.count(verdicts, self._applier.now())
        if self._tracer is not None:
            self._tracer.batch("apply", seconds, [verdict.event.traceparent for verdict in verdicts])


def parts_of(batch: Sequence[WaitingEvent]) -> list[Sequence[WaitingEvent]]:
    """Return a refused batch as its projects, or that of one project as its halves; each user's events keep their order.

    So a project whose events are refused costs the others in its batch one more transaction, not one for each of its events.
    """
    projects: dict[int, list[WaitingEvent]] = {}
    for event in batch:
        projects.setdefault(event.project_id, []).append(event)
    if len(projects) > 1:
        return list(projects.values())
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]
