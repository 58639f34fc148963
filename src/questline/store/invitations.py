"""Invitations to organizations. Only the SHA-256 of their tokens is stored."""

from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.permissions import MemberRole
from questline.store.statements import statements

SQL = statements("invitations")


class InvitationRow(msgspec.Struct, frozen=True):
    """An invitation; `over`: its time has passed."""

    id: UUID
    organization_id: int
    email: str
    role: MemberRole
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None
    over: bool


async def create(
    conn: Connection,
    organization_id: int,
    id_: UUID,
    email: str,
    role: MemberRole,
    token_hash: bytes,
    by: str,
    seconds: int,
) -> InvitationRow:
    """Store an invitation that holds for so many seconds."""
    return _row(await conn.fetchrow(SQL["create"], organization_id, id_, email, role.value, token_hash, by, seconds))


async def listed(pool: Pool, organization_id: int, before: UUID, limit: int) -> list[InvitationRow]:
    """Return an organization's invitations below one, newest first."""
    return [_row(row) for row in await pool.fetch(SQL["list"], organization_id, before, limit)]


async def lock(conn: Connection, token_hash: bytes) -> InvitationRow | None:
    """Return the invitation of a token, held until the transaction ends; None when there is none."""
    row = await conn.fetchrow(SQL["lock"], token_hash)
    return None if row is None else _row(row)


async def accept(conn: Connection, id_: UUID) -> None:
    """Note that an invitation was accepted; the caller holds it."""
    await conn.execute(SQL["accept"], id_)


async def revoke(conn: Connection, organization_id: int, id_: UUID) -> bool:
    """Revoke an invitation; False when there is none that is open."""
    return await conn.fetchval(SQL["revoke"], organization_id, id_) is not None


def _row(row: Record) -> InvitationRow:
    values = dict(row)
    return InvitationRow(**{**values, "role": MemberRole(values["role"])})
