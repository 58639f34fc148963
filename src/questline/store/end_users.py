"""End users who log in here: their passwords, as hashes, and their sessions."""

from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.limits import USER_SESSIONS_SWEPT_ROWS
from questline.store.statements import statements

SQL = statements("end_users")


class Credential(msgspec.Struct, frozen=True):
    """The stored password of a login, and whose it is. `registered_as` is the login as it was typed, as far as that was kept."""

    user_id: int
    user: str
    password_hash: str
    registered_as: str | None


class NoLogin(Exception):
    """A user has no login here."""


async def ensure(conn: Connection | Pool, project_id: int, user: str) -> int:
    """Return the id of a user, created where there is none; of any number at once, one creates it."""
    row = await conn.fetchrow(SQL["ensure"], project_id, user)  # type: ignore[no-untyped-call]
    if row is None:  # it was there, or somebody else has just made it
        row = await conn.fetchrow(SQL["id"], project_id, user)  # type: ignore[no-untyped-call]
    return int(row["id"])


async def add_credential(
    conn: Connection, project_id: int, login: str, user_id: int, password_hash: str, registered_as: str
) -> bool:
    """Store the password of a new login; False: there is one already."""
    added = await conn.fetchval(SQL["add_credential"], project_id, login, user_id, password_hash, registered_as)
    return added is not None


async def credential(pool: Pool, project_id: int, login: str) -> Credential | None:
    """Return the password of a login."""
    row = await pool.fetchrow(SQL["credential"], project_id, login)
    return None if row is None else _credential(row)


async def credential_of(pool: Pool, project_id: int, user: str) -> Credential | None:
    """Return the login of a user and its password; None: there is no such user. Raises NoLogin."""
    row = await pool.fetchrow(SQL["credential_of"], project_id, user)
    if row is not None and row["login"] is None:
        raise NoLogin
    return None if row is None else _credential(row)


async def set_password(
    conn: Connection, project_id: int, user_id: int, password_hash: str, before: str | None = None
) -> bool:
    """Give a user another password; False: they have no login, or not the password `before` any more."""
    return await conn.fetchval(SQL["set_password"], project_id, user_id, password_hash, before) is not None


async def begin_session(
    conn: Connection | Pool,
    project_id: int,
    id_: UUID,
    user_id: int,
    now: datetime,
    expires_at: datetime,
    password_hash: str,
) -> bool:
    """Store a new session, of generation 0; False: the user has another password by now."""
    begun = await conn.fetchval(SQL["begin_session"], project_id, id_, user_id, now, expires_at, password_hash)  # type: ignore[no-untyped-call]
    return begun is not None


async def continue_session(
    pool: Pool, project_id: int, id_: UUID, generation: int, now: datetime, expires_at: datetime
) -> str | None:
    """Go from a generation to the next and return whose session it is; None: it is over, or that was done before.

    Of any number at once, one succeeds.
    """
    user: str | None = await pool.fetchval(SQL["continue_session"], project_id, id_, generation, now, expires_at)
    return user


async def end_session(pool: Pool, project_id: int, id_: UUID, now: datetime) -> None:
    """End a session."""
    await pool.execute(SQL["end_session"], project_id, id_, now)


async def end_sessions(conn: Connection, project_id: int, user_id: int, now: datetime, but: UUID | None) -> int:
    """End all sessions of a user, but one if it is named; return how many."""
    return int((await conn.execute(SQL["end_sessions"], project_id, user_id, now, but)).rpartition(" ")[2])


async def app_id(pool: Pool, project_id: int) -> str | None:
    """Return the id outside of a project that is not archived."""
    found: str | None = await pool.fetchval(SQL["app_id"], project_id)
    return found


async def sweep(conn: Connection, now: datetime) -> int:
    """Forget a bounded number of sessions that are over; return how many."""
    return int((await conn.execute(SQL["sweep"], now, USER_SESSIONS_SWEPT_ROWS)).rpartition(" ")[2])


def _credential(row: Record) -> Credential:
    return Credential(row["user_id"], row["external_id"], row["password_hash"], row["registered_as"])
