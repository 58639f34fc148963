"""Members: invited by a token, logged in by a password; an organization keeps an owner."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec

from questline.control.keys import MEMBER_PREFIX
from questline.control.passwords import Passwords
from questline.model.limits import INVITATION_DAYS, MEMBER_SESSION_SECONDS
from questline.model.permissions import MemberRole
from questline.store import invitations, members, organizations
from questline.store.invitations import InvitationRow
from questline.store.members import MemberRow
from questline.store.pool import Connection, Pool

_INVITATION_PREFIX = "qi_"


class LastOwner(Exception):
    """An organization keeps at least one owner: make another member an owner first."""


class InvitationOver(Exception):
    """An invitation cannot be accepted any more; the message says why."""


class AlreadyMember(Exception):
    """Who was invited is a member already."""


class WrongPassword(Exception):
    """Somebody of that email is known, and this is not their password."""


class Session(msgspec.Struct, frozen=True):
    """A session that has just begun: the only time its token is shown."""

    token: str
    expires_at: datetime
    member: MemberRow


def token_hash(token: str) -> bytes:
    """Return what is stored of a token."""
    return sha256(token.encode()).digest()


async def invite(
    conn: Connection, organization_id: int, id_: UUID, email: str, role: MemberRole, by: str
) -> tuple[InvitationRow, str]:
    """Invite somebody, and return the invitation and its token, which is shown this once."""
    token = _INVITATION_PREFIX + secrets.token_hex(32)
    seconds = INVITATION_DAYS * 86_400
    row = await invitations.create(conn, organization_id, id_, email.lower(), role, token_hash(token), by, seconds)
    return row, token


async def accept(
    conn: Connection,
    passwords: Passwords,
    token: str,
    new_id: UUID,
    name: str,
    password: str,
    before_trying: Callable[[str], Awaitable[None]],
) -> tuple[InvitationRow, MemberRow]:
    """Accept an invitation, once: a new person gets this password; one who is known says theirs.

    Whoever invited them holds the token and may guess: `before_trying` is told the email before its password is compared.
    Raises InvitationOver, WrongPassword and AlreadyMember, none of which uses the invitation up.
    """
    found = await invitations.lock(conn, token_hash(token))
    if found is None:
        raise InvitationOver("there is no such invitation")
    if found.accepted_at or found.revoked_at or found.over:
        why = "accepted before" if found.accepted_at else "revoked" if found.revoked_at else "not accepted in time"
        raise InvitationOver(f"the invitation was {why}; ask for another")
    member = await members.find(conn, found.email)
    if member is None:
        member = MemberRow(new_id, found.email, name, await passwords.hashed(password))
        if not await members.create(conn, member):
            raise WrongPassword  # invited twice, accepted at the same moment
    else:
        await before_trying(member.email)
        if not await passwords.fits(member.password_hash, password):
            raise WrongPassword
    if not await members.join(conn, found.organization_id, member.id, found.role):
        raise AlreadyMember
    await invitations.accept(conn, found.id)
    return found, member


async def log_in(pool: Pool, passwords: Passwords, email: str, password: str) -> Session | None:
    """Begin a session; None when email or password is wrong, after the same time."""
    member = await members.find(pool, email.lower())
    if not await passwords.fits(None if member is None else member.password_hash, password) or member is None:
        return None
    token = MEMBER_PREFIX.decode() + secrets.token_hex(32)
    ends = await members.begin_session(pool, token_hash(token), member.id, MEMBER_SESSION_SECONDS, member.password_hash)
    return None if ends is None else Session(token, ends, member)


async def change_role(
    conn: Connection, organization_id: int, member_id: UUID, role: MemberRole | None
) -> MemberRole | None:
    """Give a member another role, or none; return the one before, None for who is no member. Raises LastOwner."""
    await organizations.lock(conn, organization_id)
    before = await members.role_in(conn, organization_id, member_id)
    if before is None:
        return None
    if before is MemberRole.OWNER and role is not MemberRole.OWNER and await members.owners(conn, organization_id) == 1:
        raise LastOwner
    if role is None:
        await members.leave(conn, organization_id, member_id)
    elif role is not before:
        await members.set_role(conn, organization_id, member_id, role)
    return before
