"""/v1/members: logging in and out, and what concerns oneself."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request, get, post

from questline.api.callers import address_of, needs
from questline.api.invitations import Email, Password
from questline.api.problems import unauthorized
from questline.api.services import Services
from questline.api.staff import Person
from questline.control.members import log_in
from questline.model.limits import PAGE_ITEMS_MAX, PASSWORD_CHARS_MAX
from questline.model.permissions import MemberRole
from questline.store import members, organizations
from questline.store.members import MemberRow
from questline.store.pool import Pool, service_transaction

Given = Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARS_MAX)]


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Who logs in."""

    email: Email
    password: Given


class Role(msgspec.Struct, frozen=True):
    """What somebody is in an organization."""

    organization: str
    name: str
    role: MemberRole


class Account(msgspec.Struct, frozen=True):
    """A member, and what they are where."""

    id: UUID
    email: str
    name: str
    organizations: list[Role]


class LoggedIn(msgspec.Struct, frozen=True, rename="camel"):
    """A session. Send its token as Authorization: Bearer, and the project as X-Tenant-Id where one is meant."""

    token: str
    expires_at: datetime
    member: Account


class PasswordChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The password now, and the next."""

    password: Given
    new_password: Password


@post(
    "/members/login",
    status_code=200,
    tags=["members"],
    opt=needs(None, not_administrative="a session changes nothing that others see"),
)
async def log_in_member(
    data: Login,
    services: Services,
    request: Request,  # type: ignore[type-arg]
) -> LoggedIn:
    """Log in, for twelve hours."""
    services.logins.take(address_of(request))
    services.logins.take(data.email.lower())
    session = await log_in(services.pool, services.passwords, data.email, data.password)
    if session is None:
        raise unauthorized("the email or the password is wrong")
    return LoggedIn(session.token, session.expires_at, await _account(services.pool, session.member))


@post(
    "/members/logout",
    status_code=204,
    tags=["members"],
    opt=needs(None, not_administrative="ends the caller's own session"),
)
async def log_out_member(person: Person, services: Services) -> None:
    """End the session, everywhere at once."""
    await members.end_session(services.pool, person.token_hash)
    services.ring.forget(f"member {person.member.id}")


@get("/members/me", tags=["members"], opt=needs(None))
async def get_me(person: Person, services: Services) -> Account:
    """Show who is logged in, and what they are where."""
    return await _account(services.pool, person.member)


@post(
    "/members/me/password",
    status_code=204,
    tags=["members"],
    opt=needs(None, not_administrative="the caller's own password, which no organization has a part in"),
)
async def change_password(data: PasswordChange, person: Person, services: Services) -> None:
    """Choose another password; all other sessions end."""
    services.logins.take(person.member.email)
    if not await services.passwords.fits(person.member.password_hash, data.password):
        raise unauthorized("the password is wrong")
    hashed = await services.passwords.hashed(data.new_password)
    async with service_transaction(services.pool) as conn:
        await members.set_password(conn, person.member.id, hashed)
        await members.end_other_sessions(conn, person.member.id, person.token_hash)
    services.ring.forget(f"member {person.member.id}")


async def _account(pool: Pool, member: MemberRow) -> Account:
    rows = await organizations.listed(pool, "", member.id, PAGE_ITEMS_MAX)
    roles = [Role(row.slug, row.name, MemberRole(role)) for row, role in rows if role is not None]
    return Account(member.id, member.email, member.name, roles)
