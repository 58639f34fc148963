"""Accepted events: stored with their dedupe keys and their places in the queue, by one statement."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from questline.model.event import AcceptedEvent
from questline.store.statements import statements

SQL = statements("accept")


class Original(msgspec.Struct, frozen=True, gc=False):
    """The event that holds a dedupe key; `content_hash` is None where the key is only an alias."""

    event_id: UUID
    content_hash: bytes | None


async def accept(pool: Pool | Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store the events whose keys are new and return their ids. Keys must differ within the call.

    Outside a transaction the statement is its own, and the events are durable when it returns.
    """
    ordered = sorted(events, key=_key)
    rows = await pool.fetch(
        SQL["accept"],
        [e.id for e in ordered],
        [e.project_id for e in ordered],
        [e.type for e in ordered],
        [e.user for e in ordered],
        [e.payload for e in ordered],
        [e.occurred_at for e in ordered],
        [e.received_at for e in ordered],
        [e.external_id for e in ordered],
        [e.source for e in ordered],
        [e.schema_version for e in ordered],
        [e.spec_version for e in ordered],
        [e.partition_key for e in ordered],
        [e.correlation_id for e in ordered],
        [e.key_hash for e in ordered],
        [e.content_hash for e in ordered],
        [e.user_hash for e in ordered],
    )
    return {row[0] for row in rows}


async def add_aliases(conn: Pool | Connection, aliases: Sequence[tuple[int, bytes, UUID]]) -> None:
    """Let events be found by the customer's event id, where they were keyed by something else.

    An alias is (project id, hash of the customer's event id, event id); the first to claim a hash keeps it.
    """
    if aliases:
        await conn.execute(SQL["alias"], *map(list, zip(*aliases, strict=True)))


async def originals(conn: Pool | Connection, keys: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], Original]:
    """Return who holds the (project id, key hash) keys, as far as anybody does."""
    if not keys:
        return {}
    rows = await conn.fetch(SQL["originals"], [k[0] for k in keys], [k[1] for k in keys])
    return {(project_id, key): Original(event_id, content) for project_id, key, event_id, content in rows}


def _key(event: AcceptedEvent) -> tuple[int, bytes]:
    return event.project_id, event.key_hash
