"""The queue of accepted events."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from asyncpg import Connection, Pool

from questline.model.event import WaitingEvent
from questline.model.limits import PARTITIONS
from questline.store.ids import earliest_id
from questline.store.statements import statements
from questline.store.users import UserKey

SQL = statements("outbox")


async def claim(conn: Connection, partitions: Sequence[int], wanted: int, bytes_max: int) -> list[WaitingEvent]:
    """Return about `wanted` events of these partitions, shared fairly among projects, each user's in order.

    Their payloads have `bytes_max` bytes at most, or one event alone has more.
    """
    return [waiting_event(row) for row in await conn.fetch(SQL["claim"], partitions, wanted, bytes_max)]


async def take(conn: Connection, events: Sequence[WaitingEvent]) -> list[WaitingEvent]:
    """Remove the events' rows in this transaction; return those that were still there, in the order given."""
    rows = await conn.fetch(
        SQL["take"], [e.partition for e in events], [e.project_id for e in events], [e.seq for e in events]
    )
    if len(rows) == len(events):
        return list(events)
    had = {row[0] for row in rows}
    return [e for e in events if e.seq in had]


async def drain(
    conn: Connection, users: Mapping[UserKey, int], events_max: int, bytes_max: int
) -> tuple[list[WaitingEvent], set[UserKey]]:
    """Remove and return what waits for these locked users, given with their hashes, oldest first, within the bounds.

    Returns also who is behind: users of whom more waits than that. At least one event is taken where any waits.
    """
    keys = list(users)
    rows = await conn.fetch(
        SQL["drain"], [key[0] for key in keys], [key[1] for key in keys], list(users.values()), events_max, bytes_max
    )
    if not rows:
        return [], set()
    events = [waiting_event(row[:-1]) for row in rows]
    return events, {keys[place - 1] for place in rows[0]["behind"] or ()}


async def waits_from_before(conn: Connection, project_id: int, at: datetime) -> bool:
    """Tell whether an event of the project waits, or is being applied, that was received before a time."""
    before = earliest_id(int(at.timestamp() * 1000))
    found: bool = await conn.fetchval(SQL["waits_from_before"], project_id, list(range(PARTITIONS)), before)
    return found


async def waits_for(conn: Connection, project_id: int, user_hash: int) -> bool:
    """Tell whether an event of a user is in the queue."""
    found: bool = await conn.fetchval(SQL["waits_for"], project_id, user_hash)
    return found


async def waiting_of(conn: Connection, project_id: int, count_at_most: int) -> int:
    """Return how many events of a project wait, counted up to a bound."""
    found: int = await conn.fetchval(SQL["waiting_of"], project_id, list(range(PARTITIONS)), count_at_most)
    return found


async def backlog(conn: Connection | Pool, count_at_most: int) -> tuple[int, str | None]:
    """Return how many events wait, counted up to a bound, and the id of the oldest in sight."""
    row: Any = await conn.fetchrow(SQL["backlog"], count_at_most)  # type: ignore[no-untyped-call]
    return row["waiting"], row["oldest_event"]


def waiting_event(row: Iterable[Any]) -> WaitingEvent:
    """Return the event of a row: its place, the event, and what was tried, if that is told."""
    seq, partition, project_id, user_hash, *event = row
    (
        id_,
        type_,
        user,
        payload,
        occurred_at,
        received_at,
        source,
        schema_version,
        context,
        sent_with,
        traceparent,
        *tried,
    ) = event
    return WaitingEvent(
        id_,
        project_id,
        type_,
        user,
        payload,
        occurred_at,
        received_at,
        source,
        schema_version,
        user_hash,
        partition,
        seq,
        context,
        sent_with,
        traceparent,
        *tried,
    )
