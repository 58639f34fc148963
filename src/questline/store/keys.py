"""API keys. Only their SHA-256 is stored."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.permissions import PUBLISHABLE_SCOPES
from questline.model.principal import KeyType, Principal, Role, Scope, scopes_of_key
from questline.store.projects import project_of
from questline.store.statements import statements

SQL = statements("keys")


class Found(msgspec.Struct, frozen=True):
    """Who a secret belongs to, and for how much longer; None seconds: until it is revoked."""

    principal: Principal
    seconds_left: float | None


class KeyRow(msgspec.Struct, frozen=True, rename="camel"):
    """A key as it is listed: enough to recognise it by, not enough to use it. `scopes` null: all of its role."""

    id: UUID
    prefix: str
    type: KeyType
    role: Role
    name: str
    scopes: list[Scope] | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None


class NewRow(msgspec.Struct, frozen=True):
    """A key to store; its secret as SHA-256."""

    id: UUID
    key_hash: bytes
    prefix: str
    type: KeyType
    role: Role
    name: str
    scopes: list[Scope] | None
    expires_at: datetime | None


async def find(pool: Pool, key_hash: bytes) -> Found | None:
    """Return who a key belongs to; None for one that is unknown, revoked or over, or whose project is archived."""
    row = await pool.fetchrow(SQL["find"], key_hash)
    if row is None:
        return None
    type_, role = KeyType(row["type"]), Role(row["role"])
    scopes = scopes_of_key(type_, role, row["scopes"])
    principal = Principal(project_of(row), row["key_id"], type_, role, scopes, f"key:{row['key_id']}")
    return Found(principal, row["seconds_left"])


async def of_project(pool: Pool, app_id: str) -> Found | None:
    """Return a project's users as a caller, of which each is told by their token; None: there is no such project.

    By itself it may do what a publishable key may.
    """
    row = await pool.fetchrow(SQL["project"], app_id)
    if row is None:
        return None
    nobody = UUID(int=0)
    principal = Principal(project_of(row), nobody, KeyType.PUBLISHABLE, Role.INGEST, PUBLISHABLE_SCOPES, "users")
    return Found(principal, None)


async def touch(pool: Pool, key_ids: Sequence[UUID]) -> None:
    """Note that keys are in use."""
    await pool.execute(SQL["touch"], list(key_ids))


async def create(conn: Connection, project_id: int, key: NewRow) -> KeyRow:
    """Store a new key and return it as it is listed."""
    row = await conn.fetchrow(
        SQL["create"], project_id, key.id, key.key_hash, key.prefix, key.type.value, key.role.value, key.name,
        key.scopes and [scope.value for scope in key.scopes], key.expires_at,
    )  # fmt: skip
    return _row(row)


async def list_keys(conn: Connection, project_id: int) -> list[KeyRow]:
    """Return every key of a project, newest first."""
    return [_row(row) for row in await conn.fetch(SQL["list"], project_id)]


async def lock(conn: Connection, project_id: int, key_id: UUID) -> tuple[KeyRow, bool] | None:
    """Return a key and whether it is over, held until the transaction ends; None when the project has no such key."""
    row = await conn.fetchrow(SQL["lock"], project_id, key_id)
    return None if row is None else (_row(row), row["over"])


async def replace(conn: Connection, project_id: int, key_id: UUID, by: UUID, overlap_seconds: int) -> datetime:
    """Let a key end after an overlap, since another has come in its place; return when it ends."""
    ends: datetime = await conn.fetchval(SQL["replace"], project_id, key_id, by, overlap_seconds)
    return ends


async def revoke(conn: Connection, project_id: int, key_id: UUID) -> datetime:
    """Revoke a key and return since when it is; every process hears of it when the transaction commits."""
    since: datetime = await conn.fetchval(SQL["revoke"], project_id, key_id)
    return since


def _row(row: Record) -> KeyRow:
    scopes = None if row["scopes"] is None else [Scope(scope) for scope in row["scopes"]]
    return KeyRow(
        row["id"],
        row["prefix"],
        KeyType(row["type"]),
        Role(row["role"]),
        row["name"],
        scopes,
        row["created_at"],
        row["last_used_at"],
        row["expires_at"],
        row["revoked_at"],
        row["replaced_by"],
    )
