"""One lane of the log: takes records up, and stores, applies and settles them in one transaction, batch after batch."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from questline.model.event import waiting
from questline.model.limits import (
    APPLY_BATCH_BYTES,
    APPLY_BATCH_EVENTS,
    APPLY_BATCH_SMALL,
    APPLY_TRIES_MAX,
    BATCH_SMALL_BYTES,
    HELD_SECONDS,
    IDLE_POLL_SECONDS,
)
from questline.processing.apply import Applier, Verdict
from questline.processing.connected import keep_connected
from questline.processing.intake import Batch, Intake
from questline.processing.meters import LogMeters, ProcessingMeters
from questline.processing.room import Waits
from questline.store import boards, kafka_offsets, outbox, users
from questline.store.faults import Remedy, classify
from questline.store.pool import Connection, LockHeld, renew_plans
from questline.telemetry.tracing import Tracer
from questline.transport.kafka_slices import Slice
from questline.transport.pauses import backoff_seconds, pause

if TYPE_CHECKING:
    from questline.transport.kafka_feed import Feed

log = structlog.get_logger(__name__)


class OffsetsMoved(Exception):
    """Another worker has settled these records, or the last commit came through after all."""


class Reading(msgspec.Struct, frozen=True):
    """What a worker needs to read a log."""

    feed: "Feed"
    meters: LogMeters


class LogLane:
    """Settles the records of its partitions until told to stop; outlives the loss of its connection."""

    def __init__(
        self,
        number: int,
        dsn: str,
        reading: Reading,
        applier: Applier,
        intake: Intake,
        meters: ProcessingMeters,
        tracer: Tracer | None = None,
    ) -> None:
        self._number = number
        self._dsn = dsn
        self._feed = reading.feed
        self._applier = applier
        self._intake = intake
        self._meters = meters
        self._log_meters = reading.meters
        self._tracer = tracer
        self._held_until = 0.0  # monotonic time, until which no user who is held is waited for
        self.alive_at = 0.0  # monotonic time of the last finished round

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a batch under way is finished. Infrastructure faults are waited out, for ever."""
        retried = self._meters.retries.inc
        await keep_connected("log_lane", self._dsn, self._work, stop, retried, gives_way=True, lane=self._number)

    async def _work(self, conn: Connection, stop: asyncio.Event) -> None:
        shard = await boards.claim_shard(conn)
        while not stop.is_set():
            await renew_plans(conn)
            slices = self._feed.take(self._number, APPLY_BATCH_EVENTS, APPLY_BATCH_BYTES)
            if slices:
                await self._settle(conn, shard, slices)
            self.alive_at = time.monotonic()
            if not slices:
                await self._feed.arrived(IDLE_POLL_SECONDS * 4)
            elif _is_small(slices):
                await pause(stop, IDLE_POLL_SECONDS)

    async def _settle(self, conn: Connection, shard: int, slices: Sequence[Slice]) -> None:
        """Settle the records, or have them read again."""
        try:
            await self._try(conn, shard, self._intake.read(slices))
        except OffsetsMoved:
            self._log_meters.moved.inc()
            log.warning("log_lane.superseded", lane=self._number, partitions=[slice_.partition for slice_ in slices])
            await self._feed.failed(slices)
        except BaseException:
            await self._feed.failed(slices)
            raise
        else:
            await self._feed.applied(slices)

    async def _try(self, conn: Connection, shard: int, batch: Batch) -> None:
        """Apply the batch; where the database refuses it, queue it for the ordinary lanes, which find the event at fault.

        Of users whom somebody holds it is queued as well, so that others do not wait for them.
        """
        for tries in range(1, APPLY_TRIES_MAX + 1):
            try:
                return await self._apply(conn, shard, batch)
            except OffsetsMoved:
                raise
            except Exception as fault:
                if isinstance(fault, LockHeld):
                    self._held_until = time.monotonic() + HELD_SECONDS
                remedy = classify(fault).remedy
                if conn.is_closed() or remedy is Remedy.WAIT:
                    raise
                self._meters.retries.inc()
                told = {"fault": repr(fault), "tries": tries, "events": len(batch.events)}
                log.warning("log_lane.batch_refused", lane=self._number, **told)
                if remedy is Remedy.FINAL or (isinstance(fault, LockHeld) and tries > 1):
                    break
                await asyncio.sleep(backoff_seconds(tries))
        async with conn.transaction():
            await self._advance(conn, batch)
            await self._intake.queue_all(conn, batch)
        self._count(batch)
        return None

    async def _apply(self, conn: Connection, shard: int, batch: Batch) -> None:
        started = time.perf_counter()
        verdicts: list[Verdict] = []
        async with conn.transaction():
            await self._advance(conn, batch)
            new = await self._intake.store(conn, batch)
            free = batch.waiting_users(new) if time.monotonic() < self._held_until else ()
            locked = await users.lock(conn, batch.users(new), free)
            due = await self._intake.queue_behind(conn, batch, new, locked)
            await self._intake.refuse(conn, batch, locked)
            if due:
                events = [waiting(event) for event in due]
                theirs = {(e.project_id, e.user): locked[e.project_id, e.user] for e in events}
                verdicts = await self._applier.apply(conn, shard, events, theirs)
        self._applier.committed(verdict.event for verdict in verdicts)
        seconds = time.perf_counter() - started
        self._meters.batch_seconds.observe(seconds)
        self._meters.batch_events.observe(len(verdicts))
        self._meters.count(verdicts, self._applier.now())
        self._count(batch)
        if self._tracer is not None:
            self._tracer.batch("apply", seconds, [verdict.event.traceparent for verdict in verdicts])

    async def _advance(self, conn: Connection, batch: Batch) -> None:
        """Move the offsets on first: whoever else holds these records waits here, and then finds them settled."""
        if not await kafka_offsets.advance(conn, self._feed.topic, batch.moves):
            raise OffsetsMoved

    def _count(self, batch: Batch) -> None:
        for end, records in batch.ends().items():
            self._log_meters.records.labels(end).inc(records)


def _is_small(slices: Sequence[Slice]) -> bool:
    records = [record for slice_ in slices for record in slice_.records]
    return len(records) < APPLY_BATCH_SMALL and sum(record.size for record in records) < BATCH_SMALL_BYTES


def waits_until(reading: Reading | None) -> Waits:
    """Return what tells whether an event of a project may wait that was received before a time: in the queue, or in the log."""
    if reading is None:
        return outbox.waits_from_before
    topic, partitions = reading.feed.topic, reading.feed.partitions

    async def waits(conn: Connection, project_id: int, at: datetime) -> bool:
        if await kafka_offsets.waits_from_before(conn, topic, partitions, at):
            return True
        return await outbox.waits_from_before(conn, project_id, at)

    return waits
