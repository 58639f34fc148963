"""Events that come out of a log: stored by the worker that applies them, and queued only where they must wait."""

from collections.abc import Collection, Sequence
from uuid import UUID

from asyncpg import Connection

from questline.model.event import AcceptedEvent
from questline.store.accept import columns_of, forget_intents, in_turn, said_columns, sent_columns
from questline.store.parking import UserHash
from questline.store.statements import statements

SQL = statements("logged")


async def store(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store the events whose keys are new, in the caller's transaction, and return their ids. Keys must differ in a call."""
    first, later = in_turn(events)
    if later:
        return await store(conn, first) | await store(conn, later)
    await forget_intents(conn, events)
    rows = await conn.fetch(SQL["store"], *columns_of(events))
    return {row[0] for row in rows}


async def keep(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store events whose keys are another's, without keys; return the ids that were not here yet."""
    rows = await conn.fetch(SQL["keep"], *said_columns(events), *sent_columns(events))
    return {row[0] for row in rows}


async def queue(conn: Connection, events: Sequence[AcceptedEvent]) -> None:
    """Queue stored events in the order given."""
    await conn.execute(
        SQL["queue"], [e.project_id for e in events], [e.id for e in events], [e.user_hash for e in events]
    )


async def queued_of(conn: Connection, users: Collection[UserHash]) -> set[UserHash]:
    """Return those of these users for whom an event is in the queue; while they are locked, none leaves it."""
    rows = await conn.fetch(SQL["queued_of"], [user[0] for user in users], [user[1] for user in users])
    return {(project_id, user_hash) for project_id, user_hash in rows}
