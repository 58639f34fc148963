"""Durable acceptance: events that arrive together share one statement and one commit."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import structlog

from questline.ingest.acceptance import Acceptance, Overloaded, Status, Unavailable, first_of, result_of
from questline.ingest.meters import IngestMeters
from questline.ingest.replays import Burning
from questline.ingest.turns import LANES, Broken, Turn
from questline.model.event import AcceptedEvent, Nonce, bytes_of, size_of
from questline.model.limits import (
    ACCEPT_BATCHES_AT_ONCE,
    ACCEPT_GATHER_SECONDS,
    ACCEPT_GROUP_BYTES_MAX,
    ACCEPT_GROUP_EVENTS_MAX,
    ACCEPT_GROUP_MIN,
    ACCEPT_LANE_EVENTS_MIN,
    ACCEPT_QUEUE_BYTES_MAX,
    ACCEPT_QUEUE_EVENTS_MAX,
    ACCEPT_TRIES_MAX,
    ACCEPT_WRITERS,
    LATENCY_SAMPLE,
    LOCK_WAIT_MS,
    STALL_SECONDS,
)
from questline.store import accept, nonces
from questline.store.faults import ROLLED_BACK, TRANSIENT_FAULTS, passes
from questline.store.nonces import Replayed
from questline.store.pool import Connection, LockHeld, Pool, connect, hurried, renew_plans
from questline.telemetry.tracing import Tracer
from questline.transport.gathering import Gathering
from questline.transport.stall import Stall

if TYPE_CHECKING:
    from questline.ingest.seen import Seen

log = structlog.get_logger(__name__)

__all__ = ["Acceptance", "Acceptor", "Overloaded", "Status", "Unavailable"]


Burnt = TypeVar("Burnt")
Waiting = tuple[AcceptedEvent, "asyncio.Future[Acceptance]", float]  # and since when, as a stopwatch counts
Insert = Callable[[Sequence[AcceptedEvent]], Awaitable[set[UUID]]]


class Acceptor:
    """Stores events for one process: single ones in groups on connections of its own, batches on the pool's."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        meters: IngestMeters,
        queue_bytes_max: int = ACCEPT_QUEUE_BYTES_MAX,
        tracer: Tracer | None = None,
        seen: "Seen | None" = None,
    ) -> None:
        """`queue_bytes_max` bounds payloads and contexts of single events that wait, and those of batches likewise."""
        self._seen = seen
        self._dsn = dsn
        self._pool = pool
        self._meters = meters
        self._tracer = tracer
        self._queue: Gathering[Waiting] = Gathering(
            lambda waiting: size_of(waiting[0]),
            least=ACCEPT_GROUP_MIN,
            most=ACCEPT_GROUP_EVENTS_MAX,
            bytes_most=ACCEPT_GROUP_BYTES_MAX,
            seconds=ACCEPT_GATHER_SECONDS,
        )
        self._queue_bytes_max = queue_bytes_max
        self._batched = 0
        self._batched_bytes = 0
        self._full = False
        self._stall = Stall(ACCEPT_WRITERS, self._turn_away)
        self._batches = asyncio.Semaphore(ACCEPT_BATCHES_AT_ONCE)
        self._closing = False
        self._writers: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; call once, inside the running loop."""
        self._writers = [asyncio.create_task(self._write(number)) for number in range(ACCEPT_WRITERS)]
        self._watching = asyncio.create_task(self._stall.watch())

    async def close(self) -> None:
        """Commit what was taken, then stop; what comes later is refused as overload."""
        self._closing = True
        self._queue.close()
        await asyncio.gather(*self._writers)
        if self._watching is not None:
            self._watching.cancel()

    def refuse(self, *, full: bool) -> None:
        """Be told whether so much waits to be applied that nothing more is to be taken in."""
        self._full = full

    @property
    def takes_many(self) -> bool:
        """Whether a batch would be taken now: else its body need not be read."""
        return not (
            self._closing
            or self._full
            or self._stall.now
            or self._batched > ACCEPT_QUEUE_EVENTS_MAX
            or self._batched_bytes > self._queue_bytes_max
        )

    async def accept_one(self, event: AcceptedEvent) -> Acceptance:
        """Store one event, sharing a commit with others of this moment; raises Overloaded or Unavailable."""
        if (
            self._stall.now
            or len(self._queue) >= ACCEPT_QUEUE_EVENTS_MAX
            or self._queue.bytes_waiting >= self._queue_bytes_max
            or self._full
            or self._closing
        ):
            self._meters.turned_away.labels("overloaded").inc()
            raise Overloaded
        if self._tracer is not None:
            event = self._tracer.mark(event)
        future: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        self._queue.add((event, future, time.perf_counter()))
        return await future

    async def accept(
        self, events: Sequence[AcceptedEvent], nonce: Nonce | None = None, turn: Turn | None = None
    ) -> list[Acceptance]:
        """Store a batch; return what became of each, in order. Raises Overloaded or Unavailable.

        Unavailable may leave a part of the batch stored; to send all of it again is safe. With the nonce of a signed
        request all is stored or nothing, and the nonce is burnt with it; raises Replayed.

        A group of a stream has its `turn`: each lane is left to the next group once it is through there.
        """
        try:
            if turn is not None:
                await turn.begin()
            return await self._accept(events, nonce, turn)
        except Broken as broken:
            raise Unavailable("the group before it was not stored") from broken

    async def _accept(
        self, events: Sequence[AcceptedEvent], nonce: Nonce | None, turn: Turn | None
    ) -> list[Acceptance]:
        if not self.takes_many:
            self._meters.turned_away.labels("overloaded").inc()
            raise Overloaded
        if self._tracer is not None:
            events = [self._tracer.mark(event) for event in events]
        size = bytes_of(events)
        self._batched += len(events)
        self._batched_bytes += size
        try:
            await self._wait_for_turn()
            try:
                if nonce is not None:
                    return await self._once(nonce, partial(self._settle_signed, events, nonce))
                return await self._settle_unseen(self._pool, partial(self._insert_in_lanes, turn), events)
            finally:
                self._batches.release()
        except Exception as fault:
            if not passes(fault):
                raise
            log.warning("accept.unavailable", fault=repr(fault), events=len(events))
            self._meters.turned_away.labels("unavailable").inc()
            if self._seen is not None:
                self._seen.doubt()
            raise Unavailable(str(fault)) from fault
        finally:
            self._batched -= len(events)
            self._batched_bytes -= size

    async def burn(self, nonce: Nonce) -> None:
        """Burn the nonce of a signed request whose parts are stored one after the other; raises Replayed or Unavailable."""
        try:
            await self._once(nonce, partial(self._burn, nonce))
        except TRANSIENT_FAULTS as fault:
            raise Unavailable(str(fault)) from fault

    async def _burn(self, nonce: Nonce) -> None:
        if not await nonces.burn(self._pool, [nonce]):
            raise Replayed

    async def _once(self, nonce: Nonce, burn: Callable[[], Awaitable[Burnt]]) -> Burnt:
        return await (burn() if self._seen is None else self._seen.once(nonce, burn))

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._batches.acquire()
        except TimeoutError:
            self._meters.turned_away.labels("overloaded").inc()
            raise Overloaded from None  # nothing was stored

    def _turn_away(self) -> None:
        """Let go of those who wait for a writer, none of whom was stored."""
        log.warning("accept.stalled", events=len(self._queue))
        waiting = self._queue.clear()
        self._meters.turned_away.labels("overloaded").inc(len(waiting))
        _fail(waiting, Overloaded())

    async def _write(self, number: int) -> None:
        conn: Connection | None = None
        while group := await self._queue.next():
            self._meters.waiting.set(len(self._queue))
            self._stall.begins(number)
            try:
                if conn is None or conn.is_closed():
                    conn = await connect(self._dsn, gives_way=True)
                await renew_plans(conn)
                try:
                    await self._write_group(conn, group)
                except LockHeld as fault:
                    log.warning("accept.held", fault=repr(fault), events=len(group))
                    async with hurried(conn):
                        await self._write_free(conn, group, time.monotonic() + LOCK_WAIT_MS / 1000)
            except Exception as fault:
                log.warning("accept.unavailable", fault=repr(fault), events=len(group))
                self._meters.turned_away.labels("unavailable").inc(len(group))
                _fail(group, Unavailable(str(fault)))
                if conn is not None:
                    conn.terminate()
                    conn = None
                if self._seen is not None:
                    self._seen.doubt()
            self._stall.ends(number)
            self._queue.done(group)
        if conn is not None:
            await conn.close()

    async def _write_free(self, conn: Connection, group: Sequence[Waiting], until: float) -> None:
        """Store what nobody holds the keys of, by halves; the others' callers are to send again. Looks for it `until` then."""
        try:
            await self._write_group(conn, group)
        except LockHeld:
            if len(group) > 1 and time.monotonic() < until:
                middle = len(group) // 2
                await self._write_free(conn, group[:middle], until)
                await self._write_free(conn, group[middle:], until)
            else:
                self._meters.turned_away.labels("overloaded").inc(len(group))
                _fail(group, Overloaded())

    async def _write_group(self, conn: Connection, group: Sequence[Waiting]) -> None:
        events = [event for event, _, _ in group]
        burning = Burning() if any(event.nonce is not None for event in events) else None
        results = await self._settle_unseen(conn, partial(accept.accept, conn), events, burning)
        for (_, future, _), result in zip(group, results, strict=True):
            if not future.done():  # its caller may have gone away
                future.set_result(result)
        ended = time.perf_counter()
        for _, _, since in group[::LATENCY_SAMPLE]:
            self._meters.seconds.observe(ended - since)

    async def _settle_signed(self, events: Sequence[AcceptedEvent], nonce: Nonce) -> list[Acceptance]:
        async with self._pool.acquire() as conn, conn.transaction():
            if not await nonces.burn(conn, [nonce]):
                raise Replayed
            return await self._settle(conn, partial(_insert_within, conn), events)

    async def _settle_unseen(
        self, conn: Pool | Connection, insert: Insert, events: Sequence[AcceptedEvent], burning: Burning | None = None
    ) -> list[Acceptance]:
        """Settle events of which it is not known already what became of them."""
        if self._seen is None:
            return await self._settle(conn, insert, events, burning)
        return await self._seen.settle(events, lambda rest: self._settle(conn, insert, rest, burning))

    async def _settle(
        self, conn: Pool | Connection, insert: Insert, events: Sequence[AcceptedEvent], burning: Burning | None = None
    ) -> list[Acceptance]:
        """Store events; where the database refuses them, halve them until the one at fault stands alone.

        `burning` is for events that each brought a nonce of their own.
        """
        for tries in range(1, ACCEPT_TRIES_MAX + 1):
            try:
                return await self._store(conn, insert, events, burning)
            except ROLLED_BACK as fault:  # a deadlock: the other one went on, so this one can now
                if tries == ACCEPT_TRIES_MAX:
                    raise
                log.info("accept.rolled_back", fault=repr(fault), events=len(events))
            except Broken:
                raise
            except Exception as fault:
                if passes(fault):  # no event is at fault: each half would be refused like the whole
                    raise
                if len(events) == 1:
                    log.error("accept.refused", fault=repr(fault), event_id=str(events[0].id))
                    self._meters.events.labels(Status.FAILED).inc()
                    return [Acceptance(Status.FAILED, events[0].id)]
                break
        middle = len(events) // 2
        return [
            *await self._settle(conn, insert, events[:middle], burning),
            *await self._settle(conn, insert, events[middle:], burning),
        ]

    async def _store(
        self, conn: Pool | Connection, insert: Insert, events: Sequence[AcceptedEvent], burning: Burning | None
    ) -> list[Acceptance]:
        started = time.perf_counter()
        known: dict[accept.Key, accept.Original] = {}
        if burning is None:
            firsts = first_of(events)
            new = await insert(list(firsts.values()))
        else:
            claims = burning.claims(events)
            all_free = burning.is_all_free(events)  # as it is but in an attack, or when it is tried again
            live = events if all_free else [event for event in events if burning.is_free(event)]
            firsts = first_of(live)
            new, burnt = await accept.accept_signed(conn, list(firsts.values()), claims)  # type: ignore[arg-type]
            burning.burnt(burnt)
            if all_free and len(burnt) == len(events):
                burning = None
            else:
                free = [event for event in events if burning.is_free(event)]
                firsts = first_of(free)
                replays = [(e.project_id, e.key_hash) for e in events if not burning.is_free(e)]
                known |= await accept.originals(conn, replays)
        while lost := [key for key, e in firsts.items() if e.id not in new and key not in known]:
            known |= await accept.originals(conn, lost)
            if gone := [firsts[key] for key in lost if key not in known]:  # pruned between the two statements
                new |= await insert(gone)
        if len(new) == len(events):
            results = [Acceptance(Status.ACCEPTED, event.id) for event in events]
            self._meters.events.labels(Status.ACCEPTED).inc(len(events))
        else:
            results = [result_of(e, firsts, new, known, burning) for e in events]
            for status, count in Counter(result.status for result in results).items():
                self._meters.events.labels(status).inc(count)
            for result in results:
                if result.status is Status.DUPLICATE:
                    layer = "group" if result.event_id in new else "store"
                    self._meters.duplicates.labels(layer).inc()
        self._meters.projects.add("accepted", [e.project_id for e in events])
        self._meters.group_events.observe(len(events))
        seconds = time.perf_counter() - started
        self._meters.group_seconds.observe(seconds)
        if self._tracer is not None:
            self._tracer.batch("store", seconds, [e.traceparent for e in events])
        return results

    async def _insert_in_lanes(self, turn: Turn | None, events: Sequence[AcceptedEvent]) -> set[UUID]:
        """Store many events on two connections at once, each user's on one of them, so that theirs stay in order."""
        if len(events) < ACCEPT_LANE_EVENTS_MIN:
            if turn is not None:
                for side in range(LANES):
                    await turn.take(side)
            return await accept.accept(self._pool, events)
        first, later = accept.in_turn(events)
        if later:  # those of one lane may be keyed by what the other's claim
            if turn is not None:
                turn.split()
            return await self._insert_in_lanes(turn, first) | await self._insert_in_lanes(turn, later)
        lanes = [[e for e in events if e.user_hash & 1 == side] for side in range(LANES)]
        done = await asyncio.gather(
            *(self._insert_in_lane(turn, side, lane) for side, lane in enumerate(lanes)), return_exceptions=True
        )
        new: set[UUID] = set()
        for result in done:
            if isinstance(result, BaseException):
                if turn is not None:
                    turn.split()
                raise result
            new |= result
        return new

    async def _insert_in_lane(self, turn: Turn | None, side: int, events: Sequence[AcceptedEvent]) -> set[UUID]:
        if not events:
            return set()
        if turn is not None:
            await turn.take(side)
        new = await accept.accept(self._pool, events)
        if turn is not None and len(new) == len(events):  # else some may yet be stored, whose keys' holders were pruned
            turn.passed(side)
        return new


async def _insert_within(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store events within the caller's transaction, which outlives their failure."""
    async with conn.transaction():
        return await accept.accept(conn, events)


def _fail(group: Sequence[Waiting], error: Exception) -> None:
    for _, future, _ in group:
        if not future.done():
            future.set_exception(error)
