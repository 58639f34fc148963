"""The queue as relays see it: which rows a broker was handed, and which it has yet to be."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.event import WaitingEvent
from questline.model.limits import (
    BACKLOG_COUNTED_MAX,
    BACKLOG_LINES_MAX,
    PARTITIONS,
    RELAY_LEASE_SECONDS,
    RELAY_LINE_EVENTS_MAX,
    RELAY_LINE_EVENTS_MIN,
    RELAY_UNAPPLIED_SECONDS,
    RELAY_WINDOW_EVENTS,
)
from questline.store.ids import received_at
from questline.store.outbox import waiting_event
from questline.store.statements import statements

SQL = statements("relay")

_ALL = list(range(PARTITIONS))
_LOOKED_AT = RELAY_WINDOW_EVENTS, RELAY_LINE_EVENTS_MIN, RELAY_LINE_EVENTS_MAX


class Carried(msgspec.Struct, frozen=True):
    """How far relays are, in events as far as they are counted; `oldest_at` is of those not handed over, None: all are."""

    pending: int
    in_flight: int
    published: int
    failed: int
    oldest_at: datetime | None


class DeadLetter(msgspec.Struct, frozen=True, rename="camel"):
    """A dead letter as a broker is told of it."""

    app: str
    event_id: UUID
    type: str
    user_id: str
    payload: msgspec.Raw
    occurred_at: datetime
    received_at: datetime
    reason: str
    message: str
    attempts: int
    failed_at: datetime


async def lease(conn: Connection, owner: UUID, wanted: int, bytes_max: int) -> list[WaitingEvent]:
    """Put up to `wanted` events in flight for this relay and return them, in the order of the queue.

    Their payloads have `bytes_max` bytes at most, or one event alone has more.
    """
    rows = await conn.fetch(
        SQL["lease"],
        _ALL,
        owner,
        wanted,
        *_LOOKED_AT,
        RELAY_LEASE_SECONDS,
        bytes_max,
    )
    return [waiting_event(row) for row in rows]


async def settle(
    conn: Connection,
    owner: UUID,
    events: Sequence[WaitingEvent],
    state: Literal["published", "failed"],
    wait_seconds: float = 0.0,
) -> None:
    """Note what became of events in flight; those that failed may be tried again after a while."""
    columns = [e.partition for e in events], [e.project_id for e in events], [e.seq for e in events]
    await conn.execute(SQL["settle"], *columns, owner, state, wait_seconds)


async def forget(conn: Connection, partitions: Sequence[int]) -> None:
    """Hand over anew what the broker held of these partitions: it has lost it."""
    await conn.execute(SQL["forget"], partitions)


async def unapplied(conn: Connection) -> list[int]:
    """Return the partitions of which something was handed over long ago and is still not applied."""
    rows = await conn.fetch(SQL["unapplied"], _ALL, *_LOOKED_AT, RELAY_UNAPPLIED_SECONDS)
    return [partition for (partition,) in rows]


async def again(conn: Connection, older_than: Mapping[int, float]) -> list[int]:
    """Let what was handed over longer ago than so many seconds, by partition, go again; return the partition of each row."""
    rows = await conn.fetch(SQL["again"], list(older_than), *_LOOKED_AT, list(older_than.values()))
    return [partition for (partition,) in rows]


async def still_waiting(conn: Connection, events: Sequence[WaitingEvent]) -> list[WaitingEvent]:
    """Return, in the order of the queue, those of the events that still wait and what waits before them of their users.

    `events` came from a broker, each at most once. One that stands in no row, or in a row of another event, is left out.
    """
    columns = [e.partition for e in events], [e.project_id for e in events], [e.seq for e in events]
    rows = await conn.fetch(SQL["carried"], *columns, [e.user_hash for e in events])
    brought = {event.id: event for event in events}
    found: list[WaitingEvent] = []
    missing: list[tuple[int, int, int]] = []
    for seq, partition, project_id, event_id in rows:
        event = brought.get(event_id)
        if event is not None and event.seq == seq:
            found.append(event)
        else:
            missing.append((partition, project_id, seq))
    if missing:
        places = [list(column) for column in zip(*missing, strict=True)]
        found += [waiting_event(row) for row in await conn.fetch(SQL["waiting"], *places)]
        found.sort(key=lambda event: event.seq)
    return found


async def measure(conn: Connection) -> Carried:
    """Return how far relays are."""
    counts = {state or "pending": count for state, count in await conn.fetch(SQL["counts"], BACKLOG_COUNTED_MAX)}
    oldest = await conn.fetchval(SQL["oldest"], _ALL, BACKLOG_LINES_MAX)
    return Carried(
        counts.get("pending", 0),
        counts.get("in_flight", 0),
        counts.get("published", 0),
        counts.get("failed", 0),
        None if oldest is None else received_at(oldest),
    )


async def to_mirror(conn: Connection, count: int) -> list[tuple[int, DeadLetter]]:
    """Return dead letters that no broker was told of, oldest first, each with its project."""
    return [
        (
            project_id,
            DeadLetter(
                app, event_id, type_, user, msgspec.Raw(payload.encode()), occurred, received, reason, message, tries, failed_at
            ),
        )
        for project_id, event_id, failed_at, app, type_, user, payload, occurred, received, reason, message, tries in (
            await conn.fetch(SQL["to_mirror"], count)
        )
    ]  # fmt: skip


async def mirrored(conn: Connection, letters: Sequence[tuple[int, DeadLetter]], now: datetime) -> None:
    """Note that a broker was told of these dead letters; one that has failed anew meanwhile will be told of again."""
    columns = (
        [project_id for project_id, _ in letters],
        [letter.event_id for _, letter in letters],
        [letter.failed_at for _, letter in letters],
    )
    await conn.execute(SQL["mirrored"], *columns, now)
