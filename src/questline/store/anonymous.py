"""Visitors who are not known yet: who they turned out to be, and the events that wait until then."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Connection, Pool

from questline.model.event import AcceptedEvent
from questline.model.hashing import user_hash, visitor_hash
from questline.store.accept import Original
from questline.store.statements import statements

SQL = statements("anonymous")


async def hold(conn: Connection, project_id: int, visitors: Sequence[str]) -> None:
    """Take the visitors until the transaction ends: nobody names them, or lets events of theirs wait, meanwhile."""
    await conn.execute(SQL["hold"], sorted({visitor_hash(project_id, visitor) for visitor in visitors}))


async def link(conn: Connection, project_id: int, names: Mapping[str, str], at: datetime) -> None:
    """Note who visitors are, by anonymous id; the first who was named stays."""
    await conn.execute(SQL["link"], project_id, list(names), list(names.values()), at)


async def links(conn: Connection, project_id: int, visitors: Sequence[str]) -> dict[str, str]:
    """Return who visitors are, as far as it is known."""
    return dict(await conn.fetch(SQL["links"], project_id, visitors))


async def wait(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Let events of one project, whose keys differ, wait for their visitors' names; return the ids that are new."""
    rows = await conn.fetch(
        SQL["wait"],
        events[0].project_id,
        [e.user for e in events],
        [e.id for e in events],
        [e.key_hash for e in events],
        [e.content_hash for e in events],
        [e.type for e in events],
        [e.payload for e in events],
        [e.occurred_at for e in events],
        [e.received_at for e in events],
        [e.idempotency_key for e in events],
        [e.correlation_id for e in events],
        [e.context for e in events],
    )
    return {row[0] for row in rows}


async def waiting_as(conn: Connection, project_id: int, key_hashes: Sequence[bytes]) -> dict[bytes, Original]:
    """Return the events that wait under these keys."""
    rows = await conn.fetch(SQL["waiting_as"], project_id, key_hashes)
    return {key: Original(event_id, content) for key, event_id, content in rows}


async def waiting_of(pool: Pool, project_id: int, names: Mapping[str, str], limit: int) -> list[AcceptedEvent]:
    """Return the first events that wait for these visitors, as events of those who they are, in the order of receipt."""
    rows = await pool.fetch(SQL["waiting_of"], project_id, list(names), limit)
    return [
        AcceptedEvent(
            event_id, project_id, type_, names[visitor], payload, occurred_at, received_at, key_hash, content_hash,
            user_hash(project_id, names[visitor]), key,
            correlation_id=correlation_id, context=context, anonymous_id=visitor,
        )
        for visitor, event_id, key_hash, content_hash, type_, payload, occurred_at, received_at, key, correlation_id, context
        in rows
    ]  # fmt: skip


async def forget(pool: Pool, project_id: int, events: Sequence[AcceptedEvent]) -> None:
    """Let events wait no longer: they have been accepted."""
    await pool.execute(SQL["forget"], project_id, [e.anonymous_id for e in events], [e.id for e in events])
