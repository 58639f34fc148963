"""Secrets of signed events: two of a project at most, sealed."""

from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Record

from questline.store.statements import statements

SQL = statements("signing_secrets")


class SecretRow(msgspec.Struct, frozen=True, rename="camel"):
    """A secret as it is listed: enough to recognise it by, not enough to use it. `endsAt` null: it is the current one."""

    id: UUID
    prefix: str
    created_at: datetime
    ends_at: datetime | None


async def hold(conn: Connection, project_id: int) -> None:
    """Let nobody else change the secrets of a project; every process asks for them again once the transaction commits."""
    await conn.execute(SQL["hold"], project_id)


async def list_secrets(conn: Connection, project_id: int) -> list[SecretRow]:
    """Return the secrets that a project holds, the current one first; of those rotated out only the latest is kept."""
    return [_row(row) for row in await conn.fetch(SQL["list"], project_id)]


async def rotate(conn: Connection, project_id: int, id_: UUID, sealed: str, prefix: str, overlap_seconds: int) -> None:
    """Store a new secret; the one before it ends after the overlap, and any older one at once. `hold` the project first."""
    await conn.execute(SQL["drop_oldest"], project_id)
    await conn.execute(SQL["end_current"], project_id, overlap_seconds)
    await conn.execute(SQL["add"], project_id, id_, sealed, prefix)


async def remove(conn: Connection, project_id: int, id_: UUID) -> bool:
    """Remove a secret at once; False when the project has no such secret."""
    return await conn.fetchval(SQL["remove"], project_id, id_) is not None


def _row(row: Record) -> SecretRow:
    return SecretRow(row["id"], row["prefix"], row["created_at"], row["ends_at"])
