"""/v1/members: logging in and out, and what concerns oneself."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request, get, post

from questline.api.callers import address_of, needs
from questline.api.invitations import Email
from questline.api.problems import unauthorized
from questline.api.services import Services
from questline.api.staff import Person
from questline.control.members import log_in
from questline.model.limits import PAGE_ITEMS_MAX, PASSWORD_CHARS_MAX
from questline.model.permissions import MemberRole
from questline.store import members, organizations
from questline.store.members import MemberRow
from questline.store.pool import Pool

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
    await services.throttles.logins.take(address_of(request))
    await services.throttles.logins.take(data.email.lower())
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


async def _account(pool: Pool, member: MemberRow) -> Account:
    rows = await organizations.listed(pool, "", member.id, PAGE_ITEMS_MAX)
    roles = [Role(row.slug, row.name, MemberRole(role)) for row, role in rows if role is not None]
    return Account(member.id, member.email, member.name, roles)
