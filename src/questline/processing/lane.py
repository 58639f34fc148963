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
    HELD_SECONDS,
    IDLE_POLL_SECONDS,
    IDLE_POLL_SECONDS_MAX,
)
from questline.processing.apply import Applier
from questline.processing.connected import keep_connected
from questline.processing.failures import Failures
from questline.processing.meters import ProcessingMeters
from questline.store import boards, users
from questline.store.faults import Remedy, classify
from questline.store.pool import Connection, LockHeld, hurried, renew_plans
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
        self._held_until = 0.0  # monotonic time, until which nobody who is held is waited for
        self.alive_at = 0.0  # monotonic time of the last finished round

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a batch under way is finished. Infrastructure faults are waited out, for ever."""
        retried = self._meters.retries.inc
        await keep_connected("lane", self._dsn, self._work, stop, retried, gives_way=True, lane=self._number)

    async def _work(self, conn: Connection, stop: asyncio.Event) -> None:
        shard, wait = await boards.claim_shard(conn), self._poll_seconds
        while not stop.is_set():
            await renew_plans(conn)
            partitions = self._partitions()
            batch = await self._transport.receive(conn, partitions, APPLY_BATCH_EVENTS) if partitions else []
            left = await self._settle(conn, shard, batch) if batch else 0
            self.alive_at = time.monotonic()
            if left == len(batch) or (len(batch) < APPLY_BATCH_SMALL and bytes_of(batch) < BATCH_SMALL_BYTES):
                wait = self._poll_seconds if batch else max(wait, min(2 * wait, IDLE_POLL_SECONDS_MAX))
                await pause(stop, wait)

    async def _settle(self, conn: Connection, shard: int, batch: Sequence[WaitingEvent]) -> int:
        """Apply a batch, and return how many of its events stay where they wait, because somebody holds what they need.

        That is waited for once in a while, since who never waits gets no turn at what others are busy with; in between only
        what is free is applied. One project's held users, or boards, must not keep the others waiting, and no event is to
        blame for them.
        """
        if time.monotonic() >= self._held_until:
            try:
                return len(await self._apply(conn, shard, batch, APPLY_TRIES_MAX))
            except LockHeld as fault:
                self._meters.retries.inc()
                log.warning("lane.held", lane=self._number, fault=repr(fault), events=len(batch))
                self._held_until = time.monotonic() + HELD_SECONDS
        async with hurried(conn):
            return len(await self._apply(conn, shard, batch, APPLY_TRIES_MAX, free=True))

    async def _apply(
        self, conn: Connection, shard: int, batch: Sequence[WaitingEvent], tries_max: int, *, free: bool = False
    ) -> list[WaitingEvent]:
        """Apply a batch; when the database refuses it, take it apart until the event at fault stands alone.

        The whole batch is tried several times where that may help, its parts once: others wait behind them. What is held
        raises LockHeld; where only what is `free` is wanted it is left and returned, with what comes after it of its users.
        """
        for tries in range(1, tries_max + 1):
            started = time.perf_counter_ns()
            try:
                return await self._apply_once(conn, shard, batch, free)
            except LockHeld:
                if not free:
                    raise
                parts = projects_of(batch)
                return list(batch) if len(parts) == 1 else await self._apply_parts(conn, shard, parts, free)
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
            try:
                await self._failures.settle(conn, self._transport, batch[0], refusal, duration_us)
            except LockHeld:
                if not free:
                    raise
                return list(batch)
            return []
        return await self._apply_parts(conn, shard, parts_of(batch), free)

    async def _apply_parts(
        self, conn: Connection, shard: int, parts: Sequence[Sequence[WaitingEvent]], free: bool
    ) -> list[WaitingEvent]:
        """Apply the parts of a batch, one after the other, and return what is left: of one user, all behind what is."""
        left: list[WaitingEvent] = []
        for part in parts:
            stuck = {(event.project_id, event.user) for event in left}
            left += [event for event in part if (event.project_id, event.user) in stuck]
            if rest := [event for event in part if (event.project_id, event.user) not in stuck]:
                left += await self._apply(conn, shard, rest, 1, free=free)
        return left

    async def _apply_once(
        self, conn: Connection, shard: int, batch: Sequence[WaitingEvent], free: bool
    ) -> list[WaitingEvent]:
        started = time.perf_counter()
        left: list[WaitingEvent] = []
        async with conn.transaction():
            keys = {(e.project_id, e.user): None for e in batch}
            locked = await users.lock(conn, keys, keys if free else ())
            if len(locked) < len(keys):
                left = [e for e in batch if (e.project_id, e.user) not in locked]
                batch = [e for e in batch if (e.project_id, e.user) in locked]
            taken = await self._transport.take(conn, batch, locked) if batch else []
            verdicts = await self._applier.apply(conn, shard, taken, locked) if taken else []
        self._transport.settled(batch)
        self._applier.committed(taken)
        seconds = time.perf_counter() - started
        self._meters.batch_seconds.observe(seconds)
        self._meters.batch_events.observe(len(verdicts))
        self._meters.count(verdicts, self._applier.now())
        if self._tracer is not None:
            self._tracer.batch("apply", seconds, [verdict.event.traceparent for verdict in verdicts])
        return left


def projects_of(batch: Sequence[WaitingEvent]) -> list[Sequence[WaitingEvent]]:
    """Return a batch as its projects."""
    projects: dict[int, list[WaitingEvent]] = {}
    for event in batch:
        projects.setdefault(event.project_id, []).append(event)
    return list(projects.values())


def parts_of(batch: Sequence[WaitingEvent]) -> list[Sequence[WaitingEvent]]:
    """Return a refused batch as its projects, or that of one project as its halves; each user's events keep their order.

    So a project whose events are refused costs the others in its batch one more transaction, not one for each of its events.
    """
    projects = projects_of(batch)
    if len(projects) > 1:
        return projects
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]
