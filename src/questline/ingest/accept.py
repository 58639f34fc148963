"""Durable acceptance: events that arrive together share one statement and one commit."""

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

import msgspec
import structlog

from questline.model.event import AcceptedEvent
from questline.model.limits import ACCEPT_GROUP_EVENTS_MAX, ACCEPT_QUEUE_EVENTS_MAX, ACCEPT_WRITERS
from questline.store import accept
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Pool

log = structlog.get_logger(__name__)


class Status(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REUSED = "reused"  # the key belongs to an event with other content


class Acceptance(msgspec.Struct, frozen=True, gc=False):
    """What became of an event; `event_id` is the original's for a duplicate."""

    status: Status
    event_id: UUID


class Overloaded(Exception):
    """More events wait for a commit than may; nothing of this one was stored. Try again in a second."""


class Unavailable(Exception):
    """The database could not be reached, so whether the event was stored is unknown. Send it again."""


Waiting = tuple[AcceptedEvent, "asyncio.Future[Acceptance]"]


class Acceptor:
    """Stores events for one process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queue: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._writers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to serve; call once, inside the running loop."""
        self._writers = [asyncio.create_task(self._write()) for _ in range(ACCEPT_WRITERS)]

    async def close(self) -> None:
        """Commit what was taken, then stop."""
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._writers)

    async def accept_one(self, event: AcceptedEvent) -> Acceptance:
        """Store one event, sharing a commit with others of this moment; raises Overloaded or Unavailable."""
        if self._closing or len(self._queue) >= ACCEPT_QUEUE_EVENTS_MAX:
            raise Overloaded
        future: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        self._queue.append((event, future))
        self._arrived.set()
        return await future

    async def accept(self, events: Sequence[AcceptedEvent]) -> list[Acceptance]:
        """Store a batch in one statement; return what became of each, in order. Raises Unavailable."""
        try:
            return await self._store(events)
        except TRANSIENT_FAULTS as fault:
            log.warning("accept.unavailable", fault=repr(fault), events=len(events))
            raise Unavailable(str(fault)) from fault

    async def _write(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            queue = self._queue
            group = [queue.popleft() for _ in range(min(len(queue), ACCEPT_GROUP_EVENTS_MAX))]
            await self._commit(group)

    async def _commit(self, group: Sequence[Waiting]) -> None:
        """Store a group; when the database refuses it, halve it until the event at fault stands alone."""
        try:
            results = await self._store([event for event, _ in group])
        except TRANSIENT_FAULTS as fault:
            log.warning("accept.unavailable", fault=repr(fault), events=len(group))
            _fail(group, Unavailable(str(fault)))
        except Exception as fault:
            if len(group) == 1:
                log.error("accept.refused", fault=repr(fault))
                _fail(group, fault)
                return
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():  # its caller may have gone away
                    future.set_result(result)

    async def _store(self, events: Sequence[AcceptedEvent]) -> list[Acceptance]:
        priors = await self._priors(events)
        first_of: dict[tuple[int, bytes], AcceptedEvent] = {}
        for event in events:
            if event.id not in priors:
                first_of.setdefault((event.project_id, event.key_hash), event)
        distinct = list(first_of.values())
        new = await accept.accept(self._pool, distinct) if distinct else set()
        if len(new) == len(events):
            results = [Acceptance(Status.ACCEPTED, event.id) for event in events]
        else:
            known = await accept.originals(self._pool, [key for key, e in first_of.items() if e.id not in new])
            results = [_result(e, first_of, new, known, priors) for e in events]
        # A repeat adds its alias again, so one whose sender died between the two statements is mended by the repeat.
        aliases = [
            (event.project_id, event.alias_hash, result.event_id)
            for event, result in zip(events, results, strict=True)
            if event.alias_hash is not None and result.status is not Status.REUSED
        ]
        if aliases:
            await accept.add_aliases(self._pool, aliases)
        return results

    async def _priors(self, events: Sequence[AcceptedEvent]) -> dict[UUID, UUID]:
        """Find events whose intent was sent in the window before, less than a window ago: event id → original's."""
        asking = [(e, (e.project_id, e.prior_hash)) for e in events if e.prior_hash is not None]
        if not asking:
            return {}
        known = await accept.originals(self._pool, [key for _, key in asking])
        found = {}
        for event, key in asking:
            original = known.get(key)
            if original is not None and _age_seconds(event, original.event_id) < event.window_seconds:
                found[event.id] = original.event_id
        return found


def _age_seconds(event: AcceptedEvent, original: UUID) -> float:
    return (event.id.int - original.int >> 80) / 1000  # the ids begin with milliseconds


def _result(
    event: AcceptedEvent,
    first_of: dict[tuple[int, bytes], AcceptedEvent],
    new: set[UUID],
    known: dict[tuple[int, bytes], accept.Original],
    priors: dict[UUID, UUID],
) -> Acceptance:
    if event.id in priors:
        return Acceptance(Status.DUPLICATE, priors[event.id])
    key = (event.project_id, event.key_hash)
    first = first_of[key]
    if first.id in new:
        if first is event:
            return Acceptance(Status.ACCEPTED, event.id)
        same = first.content_hash == event.content_hash
        return Acceptance(Status.DUPLICATE if same else Status.REUSED, first.id)
    original = known[key]
    same = original.content_hash is None or original.content_hash == event.content_hash
    return Acceptance(Status.DUPLICATE if same else Status.REUSED, original.event_id)


def _fail(group: Sequence[Waiting], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
