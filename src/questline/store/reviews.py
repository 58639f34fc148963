"""Reviews: held events that wait for somebody to approve or deny them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Record

from questline.model.event import Event
from questline.store.statements import statements

SQL = statements("reviews")

_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


async def held(conn: Connection, keys: Sequence[tuple[int, UUID]]) -> dict[tuple[int, UUID], Event]:
    """Return the held events, given as (project id, event id); what was never held is left out."""
    rows = await conn.fetch(SQL["held"], [key[0] for key in keys], [key[1] for key in keys])
    return {
        (project_id, id_): Event(
            id_,
            project_id,
            type_,
            user,
            _decode_payload(payload),
            occurred_at,
            source,
            schema_version,
            context=None if context is None else _decode_payload(context),
        )
        for project_id, id_, type_, user, payload, occurred_at, source, schema_version, context in rows
    }


async def listed(conn: Connection, project_id: int, status: str, before: UUID, limit: int) -> list[Record]:
    """Return held events of a status (waiting, approved, denied), newest first, before an event id."""
    return list(await conn.fetch(SQL["listed"], project_id, status, before, limit))


async def one(conn: Connection, project_id: int, event_id: UUID) -> Record | None:
    """Return one held event's review with its user and time."""
    found: Record | None = await conn.fetchrow(SQL["one"], project_id, event_id)
    return found
