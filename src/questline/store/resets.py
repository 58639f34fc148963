"""Tokens by which somebody who forgot their password chooses another, once. Only their SHA-256 is stored."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from questline.store.statements import statements

SQL = statements("resets")


class ResetRow(msgspec.Struct, frozen=True):
    """The end user whose password a token resets."""

    project_id: int
    user_id: int
    organization_id: int


async def issue(conn: Connection, project_id: int, user_id: int, token_hash: bytes, expires_at: datetime) -> None:
    """Let a token of a user hold; the one before does not any more."""
    await conn.execute(SQL["issue"], project_id, user_id, token_hash, expires_at)


async def find(conn: Connection | Pool, token_hash: bytes, now: datetime) -> ResetRow | None:
    """Return whose a token is; None for one that is unknown, used or over, or whose project is archived."""
    row: Any = await conn.fetchrow(SQL["find"], token_hash, now)  # type: ignore[no-untyped-call]
    return None if row is None else ResetRow(row["project_id"], row["user_id"], row["organization_id"])


async def burn(conn: Connection, project_id: int, user_id: int, token_hash: bytes | None = None) -> bool:
    """Take a user's token, whichever it is where none is named; False: it is gone."""
    return await conn.fetchval(SQL["burn"], project_id, user_id, token_hash) is not None


async def issue_to_member(conn: Connection, member_id: UUID, token_hash: bytes, seconds: int) -> datetime:
    """Let a token of a member hold and return until when; the one before does not any more."""
    ends: datetime = await conn.fetchval(SQL["issue_to_member"], member_id, token_hash, seconds)
    return ends


async def find_of_member(conn: Connection | Pool, token_hash: bytes) -> UUID | None:
    """Return whose a token is; None for one that is unknown, used or over."""
    member_id: UUID | None = await conn.fetchval(SQL["find_of_member"], token_hash)  # type: ignore[no-untyped-call]
    return member_id


async def burn_of_member(conn: Connection, member_id: UUID, token_hash: bytes | None = None) -> bool:
    """Take a member's token, whichever it is where none is named; False: it is gone."""
    return await conn.fetchval(SQL["burn_of_member"], member_id, token_hash) is not None
