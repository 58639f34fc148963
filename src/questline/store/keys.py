"""API keys. Only their SHA-256 is stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.principal import KeyType, Principal, Role
from questline.store.projects import project_of
from questline.store.statements import statements

SQL = statements("keys")


class KeyRow(msgspec.Struct, frozen=True, rename="camel"):
    """A key as it is listed: enough to recognise it by, not enough to use it."""

    id: UUID
    prefix: str
    type: str
    role: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def find(pool: Pool, key_hash: bytes) -> Principal | None:
    """Return who a key belongs to; None for one that is unknown or revoked."""
    row = await pool.fetchrow(SQL["find"], key_hash)
    return None if row is None else _principal(row)


async def touch(pool: Pool, key_ids: Sequence[UUID]) -> None:
    """Note that keys are in use."""
    await pool.execute(SQL["touch"], list(key_ids))


async def create(
    conn: Connection, project_id: int, key_id: UUID, key_hash: bytes, prefix: str, type_: str, role: str, name: str
) -> datetime:
    """Store a new key and return when it was made."""
    made: datetime = await conn.fetchval(SQL["create"], project_id, key_id, key_hash, prefix, type_, role, name)
    return made


async def list_keys(conn: Connection, project_id: int) -> list[KeyRow]:
    """Return every key of a project, newest first."""
    return [KeyRow(*_columns(row)) for row in await conn.fetch(SQL["list"], project_id)]


async def revoke(conn: Connection, project_id: int, key_id: UUID) -> bool:
    """Revoke a key; False when the project has no such key."""
    return await conn.fetchval(SQL["revoke"], project_id, key_id) is not None


def _columns(row: Record) -> tuple[Any, ...]:
    return tuple(row)


def _principal(row: Record) -> Principal:
    return Principal(project_of(row), row["key_id"], KeyType(row["type"]), Role(row["role"]))
