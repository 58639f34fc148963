"""Event types that came, as they are counted and listed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.limits import SAMPLE_BYTES_MAX, SAMPLES_KEPT, SEEN_TYPES_LISTED
from questline.model.seen import Seen, TypeKey
from questline.store.statements import statements

SQL = statements("event_types")


class Sample(msgspec.Struct, frozen=True, rename="camel"):
    """A stored event of a type; `payload` null: it is too long to be shown here, or erased with its user."""

    event_id: UUID
    schema_version: str | None
    occurred_at: datetime
    payload: dict[str, Any] | None


class SeenRow(msgspec.Struct, frozen=True):
    """A type that came, with its latest sample where it is still stored."""

    type: str
    first_seen_at: datetime
    last_seen_at: datetime
    events: int
    sample: Sample | None = None


async def add(conn: Connection, seen: Mapping[TypeKey, Seen]) -> None:
    """Add what a process counted, in one statement."""
    keys = sorted(seen)
    found = [seen[key] for key in keys]
    await conn.execute(
        SQL["add"],
        [key[0] for key in keys],
        [key[1] for key in keys],
        [one.first_at for one in found],
        [one.last_at for one in found],
        [one.events for one in found],
        [",".join(str(id_) for id_ in reversed(one.samples)) for one in found],
        SEEN_TYPES_LISTED,
        SAMPLES_KEPT,
    )


async def listed(conn: Connection, project_id: int, after: str, limit: int) -> list[SeenRow]:
    """Return types that came, by name, after one."""
    rows = await conn.fetch(SQL["listed"], project_id, after, limit, SAMPLE_BYTES_MAX)
    return [
        SeenRow(type_, first, last, events, None if sample[0] is None else _sample(sample))
        for type_, first, last, events, *sample in rows
    ]


async def one(conn: Connection, project_id: int, type_: str) -> SeenRow | None:
    """Return what is known of a type; None: it never came."""
    row = await conn.fetchrow(SQL["one"], project_id, type_)
    return None if row is None else SeenRow(*row)


async def samples(
    conn: Connection, project_id: int, type_: str, limit: int, bytes_max: int, version: str | None = None
) -> list[Sample]:
    """Return stored events of a type, the newest first; with a `version`, those of that schemaVersion alone."""
    return [_sample(row) for row in await conn.fetch(SQL["samples"], project_id, type_, limit, bytes_max, version)]


def _sample(row: Any) -> Sample:
    id_, version, at, payload = row
    return Sample(id_, version, at, None if payload is None else msgspec.json.decode(payload, type=dict[str, Any]))
