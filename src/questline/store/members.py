"""Members: people who use the console, what they may do in which organization, and their sessions."""

from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.permissions import MEMBER_SCOPES, MemberRole, Role
from questline.model.principal import KeyType, Principal
from questline.store.keys import Found
from questline.store.projects import project_of
from questline.store.statements import statements

SQL = statements("members")


class MemberRow(msgspec.Struct, frozen=True):
    """A person, with the hash of their password."""

    id: UUID
    email: str
    name: str
    password_hash: str


class MembershipRow(msgspec.Struct, frozen=True):
    """A member of an organization."""

    id: UUID
    email: str
    name: str
    role: MemberRole
    since: datetime


async def find(conn: Connection | Pool, email: str) -> MemberRow | None:
    """Return a person by their email, in lower case."""
    return _maybe(await conn.fetchrow(SQL["find"], email))  # type: ignore[no-untyped-call]


async def by_id(conn: Connection | Pool, member_id: UUID) -> MemberRow | None:
    """Return a person by their id."""
    return _maybe(await conn.fetchrow(SQL["by_id"], member_id))  # type: ignore[no-untyped-call]


async def create(conn: Connection, member: MemberRow) -> bool:
    """Store a person; False when there is one of that email."""
    row = await conn.fetchval(SQL["create"], member.id, member.email, member.name, member.password_hash)
    return row is not None


async def set_password(conn: Connection, member_id: UUID, password_hash: str, before: str | None = None) -> bool:
    """Give a person another password; False: they have not the password `before` any more."""
    return await conn.fetchval(SQL["set_password"], member_id, password_hash, before) is not None


async def begin_session(
    pool: Pool, token_hash: bytes, member_id: UUID, seconds: int, password_hash: str
) -> datetime | None:
    """Begin a session and return when it ends; None: the member has another password by now."""
    ends: datetime | None = await pool.fetchval(SQL["begin_session"], token_hash, member_id, seconds, password_hash)
    return ends


async def end_session(pool: Pool, token_hash: bytes) -> None:
    """End a session; every process hears of it."""
    await pool.execute(SQL["end_session"], token_hash)


async def end_other_sessions(conn: Connection, member_id: UUID, token_hash: bytes) -> None:
    """End all sessions of a person but one."""
    await conn.execute(SQL["end_other_sessions"], member_id, token_hash)


async def end_sessions(conn: Connection, member_id: UUID) -> None:
    """End all sessions of a person; every process hears of it."""
    await conn.execute(SQL["end_sessions"], member_id)


async def of_session(pool: Pool, token_hash: bytes) -> MemberRow | None:
    """Return whose a session is; None for one that is unknown or over."""
    return _maybe(await pool.fetchrow(SQL["of_session"], token_hash))


async def in_project(pool: Pool, token_hash: bytes, app_id: str) -> Found | None:
    """Return a member as a caller of a project; None where their session is over or the project is none of theirs."""
    row = await pool.fetchrow(SQL["in_project"], token_hash, app_id)
    if row is None:
        return None
    role = MemberRole(row["role"])
    as_key = Role.READONLY if role is MemberRole.ANALYST else Role.ADMIN
    id_ = row["member_id"]
    principal = Principal(project_of(row), id_, KeyType.SECRET, as_key, MEMBER_SCOPES[role], f"member:{id_}")
    return Found(principal, row["seconds_left"])


async def role_in(conn: Connection | Pool, organization_id: int, member_id: UUID) -> MemberRole | None:
    """Return what a member is in an organization; None: nothing."""
    role = await conn.fetchval(SQL["role"], organization_id, member_id)  # type: ignore[no-untyped-call]
    return None if role is None else MemberRole(role)


async def organizations_of(conn: Connection, member_id: UUID) -> list[int]:
    """Return the organizations that somebody is a member of."""
    return [row["organization_id"] for row in await conn.fetch(SQL["organizations"], member_id)]


async def listed(pool: Pool, organization_id: int) -> list[MembershipRow]:
    """Return an organization's members, the first to join first."""
    rows = await pool.fetch(SQL["list"], organization_id)
    return [MembershipRow(r["id"], r["email"], r["name"], MemberRole(r["role"]), r["since"]) for r in rows]


async def join(conn: Connection, organization_id: int, member_id: UUID, role: MemberRole) -> bool:
    """Make a person a member; False when they are one already."""
    return await conn.fetchval(SQL["join"], organization_id, member_id, role.value) is not None


async def set_role(conn: Connection, organization_id: int, member_id: UUID, role: MemberRole) -> None:
    """Give a member another role; every process hears of it."""
    await conn.execute(SQL["set_role"], organization_id, member_id, role.value)


async def leave(conn: Connection, organization_id: int, member_id: UUID) -> None:
    """Remove a member from an organization; every process hears of it."""
    await conn.execute(SQL["leave"], organization_id, member_id)


async def owners(conn: Connection, organization_id: int) -> int:
    """Return how many owners an organization has."""
    count: int = await conn.fetchval(SQL["owners"], organization_id)
    return count


def _maybe(row: Record | None) -> MemberRow | None:
    return None if row is None else MemberRow(row["id"], row["email"], row["name"], row["password_hash"])
