"""What a worker does with a batch of a log before it is applied: what accepting does where PostgreSQL comes first.

Keys are compared, duplicates dropped, and what belongs behind other events of its user is queued there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from questline.model.decision import Decision, Outcome
from questline.model.event import AcceptedEvent, waiting
from questline.model.reasons import Reason
from questline.model.state import UserState
from questline.processing.apply import Clock
from questline.processing.programs import ProgramCache
from questline.store import accept, effects, kafka_offsets, logged, users
from questline.store.faults import Remedy, classify
from questline.store.ids import milliseconds
from questline.store.kafka_offsets import Move
from questline.store.pool import Connection
from questline.store.users import UserKey
from questline.transport.kafka_records import Unreadable, decoded
from questline.transport.kafka_slices import Record, Slice

log = structlog.get_logger(__name__)


class Batch:
    """The records that one transaction settles, and what each is found to be."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self.moves = [
            Move(slice_.partition, slice_.expected, slice_.next_offset, slice_.records[-1].written_at)
            for slice_ in slices
        ]
        self.events: list[AcceptedEvent] = []
        self.records: dict[UUID, tuple[int, Record]] = {}  # of events: their partition and record
        self.unreadable: list[tuple[int, Record, str]] = []
        self.reused: list[tuple[AcceptedEvent, UUID]] = []  # and whose their key is
        self.queued = 0
        self.rejected = 0
        self.duplicates = 0

    def users(self, new: Sequence[AcceptedEvent]) -> dict[UserKey, None]:
        """Return whose rows the batch changes."""
        return {(e.project_id, e.user): None for e in (*new, *(event for event, _ in self.reused))}

    def waiting_users(self, new: Sequence[AcceptedEvent]) -> dict[UserKey, None]:
        """Return those of them of whom all can be queued: nothing of theirs is refused."""
        refused = {(e.project_id, e.user) for e, _ in self.reused}
        return {key: None for key in self.users(new) if key not in refused}

    def ends(self) -> Counter[str]:
        """Return how many records ended how."""
        rejected = len(self.unreadable) + self.rejected
        others = self.queued + self.duplicates + len(self.reused) + self.rejected
        return Counter(
            applied=len(self.events) - others,
            queued=self.queued,
            duplicate=self.duplicates,
            reused=len(self.reused),
            rejected=rejected,
        )


class Intake:
    """Takes batches of one log in, for the lanes of one worker."""

    def __init__(self, topic: str, programs: ProgramCache, clock: Clock) -> None:
        self._topic = topic
        self._programs = programs
        self._clock = clock

    def read(self, slices: Sequence[Slice]) -> Batch:
        """Read the records, up to the first intent whose window is over: it is a new event, which the next batch brings."""
        read: list[tuple[int, Record, AcceptedEvent | Unreadable]] = []
        for slice_ in slices:
            kept = 0
            held: dict[accept.Key, AcceptedEvent] = {}
            for record in slice_.records:
                event = _event_of(record)
                if isinstance(event, AcceptedEvent) and event.window_seconds:
                    first = held.setdefault((event.project_id, event.key_hash), event)
                    if milliseconds(event.id) - milliseconds(first.id) >= event.window_seconds * 1000:
                        break
                kept += 1
                read.append((slice_.partition, record, event))
            del slice_.records[kept:]
        batch = Batch(slices)
        for partition, record, event in read:
            if isinstance(event, Unreadable):
                batch.unreadable.append((partition, record, str(event)))
            else:
                batch.events.append(event)
                batch.records.setdefault(event.id, (partition, record))
        return batch

    async def store(self, conn: Connection, batch: Batch) -> list[AcceptedEvent]:
        """Store what is new, in the caller's transaction, and return it in order; the batch learns what the rest is."""
        batch.queued = batch.rejected = batch.duplicates = 0
        batch.reused = []
        await self._reject(conn, batch.unreadable)
        return await self._store(conn, batch, batch.events)

    async def queue_behind(
        self, conn: Connection, batch: Batch, new: Sequence[AcceptedEvent], locked: Mapping[UserKey, UserState]
    ) -> list[AcceptedEvent]:
        """Queue events whose users are parked, not locked, or have events in the queue, behind those; return the others."""
        if not new:
            return []
        queued = await logged.queued_of(conn, {(e.project_id, e.user_hash) for e in new})
        free = {key for key, user in locked.items() if not user.parked}
        if not queued and all((e.project_id, e.user) in free for e in new):
            return list(new)
        behind: list[AcceptedEvent] = []
        due: list[AcceptedEvent] = []
        for event in new:
            must_wait = (event.project_id, event.user_hash) in queued or (event.project_id, event.user) not in free
            (behind if must_wait else due).append(event)
        if behind:
            await logged.queue(conn, behind)
        batch.queued = len(behind)
        return due

    async def refuse(self, conn: Connection, batch: Batch, locked: Mapping[UserKey, UserState]) -> None:
        """Keep events whose keys belong to events of other content, refused."""
        if not batch.reused:
            return
        kept = await logged.keep(conn, [event for event, _ in batch.reused])
        programs = await self._programs.in_force(conn, {event.project_id for event, _ in batch.reused})
        rows = effects.Effects(set(), self._clock())
        for event, original in batch.reused:
            if event.id in kept:
                message = f"its idempotency key belongs to event {original}, which has other content"
                decision = Decision(
                    event.id,
                    programs[event.project_id].version,
                    Outcome.REFUSED,
                    Reason.IDEMPOTENCY_KEY_REUSED,
                    message,
                )
                rows.add(waiting(event), locked[event.project_id, event.user], decision, 0)
        await rows.write(conn)

    async def queue_all(self, conn: Connection, batch: Batch) -> None:
        """Store the batch and queue all that is new, in the caller's transaction: the lanes of the queue split it.

        What even that is refused for is kept as the record that it is.
        """
        batch.queued = batch.rejected = batch.duplicates = 0
        batch.reused = []
        await self._reject(conn, batch.unreadable)
        await self._queue_part(conn, batch, batch.events)

    async def _queue_part(self, conn: Connection, batch: Batch, events: Sequence[AcceptedEvent]) -> None:
        before = (batch.duplicates, len(batch.reused))
        try:
            async with conn.transaction():
                new = await self._store(conn, batch, events)
                await logged.queue(conn, new)
                reused = batch.reused[before[1] :]
                locked = await users.lock(conn, {(e.project_id, e.user): None for e, _ in reused}) if reused else {}
                part = Batch([])
                part.reused = reused
                await self.refuse(conn, part, locked)
                batch.queued += len(new)
                return
        except Exception as fault:
            if conn.is_closed() or classify(fault).remedy is not Remedy.FINAL:
                raise
            batch.duplicates = before[0]
            del batch.reused[before[1] :]
            refusal = fault
        if len(events) == 1:
            log.error("intake.rejected", fault=repr(refusal), event_id=str(events[0].id))
            await self._reject(conn, [(*batch.records[events[0].id], f"it cannot be stored: {refusal!r}")])
            batch.rejected += 1
            return
        middle = len(events) // 2
        await self._queue_part(conn, batch, events[:middle])
        await self._queue_part(conn, batch, events[middle:])

    async def _store(self, conn: Connection, batch: Batch, events: Sequence[AcceptedEvent]) -> list[AcceptedEvent]:
        first_of: dict[accept.Key, AcceptedEvent] = {}
        for event in events:
            first_of.setdefault((event.project_id, event.key_hash), event)
        if not first_of:
            return []
        new = await logged.store(conn, list(first_of.values()))
        if len(new) == len(events):
            return list(events)
        known: dict[accept.Key, accept.Original] = {}
        while lost := [key for key, e in first_of.items() if e.id not in new and key not in known]:
            known |= await accept.originals(conn, lost)
            if gone := [first_of[key] for key in lost if key not in known]:  # pruned between the two statements
                new |= await logged.store(conn, gone)
        fresh: list[AcceptedEvent] = []
        for event in events:
            key = (event.project_id, event.key_hash)
            first = first_of[key]
            if event is first and event.id in new:
                fresh.append(event)
                continue
            id_, content = (
                (first.id, first.content_hash) if first.id in new else (known[key].event_id, known[key].content_hash)
            )
            if id_ == event.id or content is None or content == event.content_hash:
                batch.duplicates += 1
            else:
                batch.reused.append((event, id_))
        return fresh

    async def _reject(self, conn: Connection, records: Sequence[tuple[int, Record, str]]) -> None:
        for partition, record, why in records:
            log.error("intake.unreadable", partition=partition, offset=record.offset, why=why)
            await kafka_offsets.reject(
                conn, self._topic, partition, record.offset, record.key, record.value, why, self._clock()
            )


def _event_of(record: Record) -> AcceptedEvent | Unreadable:
    try:
        return decoded(record.value)
    except Unreadable as error:
        return error
