"""Another password: of who knows the one now, and, by a token that is used once, of who forgot it.

A password that is set ends the sessions that the one before let in, and takes the token of a reset away. Its row is changed
first: whoever logs in at that moment with the one before waits for it, and is refused (store/sql/end_users.sql).
"""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from questline.control.members import token_hash
from questline.model.limits import PASSWORD_RESET_SECONDS
from questline.store import end_users, members, resets
from questline.store.end_users import Credential
from questline.store.members import MemberRow
from questline.store.pool import Connection, Pool
from questline.store.resets import ResetRow

_PREFIX = "qp_"


class ResetOver(Exception):
    """There is no such token, or it was used, or its time is over: ask for another."""


class PasswordChanged(Exception):
    """The password was changed since it was looked at."""


class Issued(msgspec.Struct, frozen=True):
    """A token for one reset: the only time it is shown."""

    token: str
    expires_at: datetime


async def issue_to_user(conn: Connection, project_id: int, user_id: int, now: datetime) -> Issued:
    """Make a token of a user who has a login; an earlier one does not hold any more."""
    issued = Issued(_new_token(), now + timedelta(seconds=PASSWORD_RESET_SECONDS))
    await resets.issue(conn, project_id, user_id, token_hash(issued.token), issued.expires_at)
    return issued


async def issue_to_member(conn: Connection, member_id: UUID) -> Issued:
    """Make a token of a member; an earlier one does not hold any more."""
    token = _new_token()
    return Issued(token, await resets.issue_to_member(conn, member_id, token_hash(token), PASSWORD_RESET_SECONDS))


async def project_of_reset(conn: Connection | Pool, token: str, now: datetime) -> int | None:
    """Return the project of the user whose password a token resets now; None for one that resets none."""
    found = await resets.find(conn, token_hash(token), now)
    return None if found is None else found.project_id


async def holds_of_member(conn: Connection | Pool, token: str) -> bool:
    """Tell whether a token resets the password of a member now."""
    return await resets.find_of_member(conn, token_hash(token)) is not None


async def reset_user(conn: Connection, token: str, password_hash: str, now: datetime) -> tuple[ResetRow, int]:
    """Give the user of a token another password, once; return them and how many sessions that ended. Raises ResetOver."""
    hashed = token_hash(token)
    row = await resets.find(conn, hashed, now)
    if row is None or not await end_users.set_password(conn, row.project_id, row.user_id, password_hash):
        raise ResetOver
    if not await resets.burn(conn, row.project_id, row.user_id, hashed):  # another request came first
        raise ResetOver
    return row, await end_users.end_sessions(conn, row.project_id, row.user_id, now, None)


async def reset_member(conn: Connection, token: str, password_hash: str) -> UUID:
    """Give the member of a token another password, once, and end their sessions; return who it is. Raises ResetOver."""
    hashed = token_hash(token)
    member_id = await resets.find_of_member(conn, hashed)
    if member_id is None or not await members.set_password(conn, member_id, password_hash):
        raise ResetOver
    if not await resets.burn_of_member(conn, member_id, hashed):  # another request came first
        raise ResetOver
    await members.end_sessions(conn, member_id)
    return member_id


async def change_of_user(
    conn: Connection, project_id: int, found: Credential, password_hash: str, session: UUID | None, now: datetime
) -> int:
    """Give a user another password than the one found, and end all sessions but one; return how many. Raises PasswordChanged."""
    if not await end_users.set_password(conn, project_id, found.user_id, password_hash, found.password_hash):
        raise PasswordChanged
    await resets.burn(conn, project_id, found.user_id)
    return await end_users.end_sessions(conn, project_id, found.user_id, now, session)


async def change_of_member(conn: Connection, found: MemberRow, password_hash: str, session_hash: bytes) -> None:
    """Give a member another password than the one found, and end all sessions but one. Raises PasswordChanged."""
    if not await members.set_password(conn, found.id, password_hash, found.password_hash):
        raise PasswordChanged
    await resets.burn_of_member(conn, found.id)
    await members.end_other_sessions(conn, found.id, session_hash)


def _new_token() -> str:
    return _PREFIX + secrets.token_hex(32)
