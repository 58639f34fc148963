"""/v1/members/me/password, /v1/admin/members/{member}/password-reset and /v1/members/reset: another password of a member."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import post

from questline.api.acts import Acts, At
from questline.api.callers import AnyRequest, address_of, needs
from questline.api.invitations import Password, Secret
from questline.api.problems import Problem, unauthorized
from questline.api.services import Services
from questline.api.sessions import Given
from questline.api.staff import Operator, Person
from questline.api.user_passwords import reset_over
from questline.control.password_changes import (
    PasswordChanged,
    ResetOver,
    change_of_member,
    holds_of_member,
    issue_to_member,
    reset_member,
)
from questline.store import audit, members, projects
from questline.store.members import MemberRow
from questline.store.pool import Connection, service_transaction


class PasswordChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The password now, and the next."""

    password: Given
    new_password: Password


class MemberReset(msgspec.Struct, frozen=True, rename="camel"):
    """A token for one reset of a member's password. Send it to them, by a way you trust: it is shown this once."""

    member_id: UUID
    email: str
    token: str
    expires_at: datetime


class ForgottenMemberPassword(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The token of a reset, and the next password."""

    token: Secret
    new_password: Password


@post("/members/me/password", status_code=204, tags=["members"], opt=needs(None, "member.change_password"))
async def change_password(data: PasswordChange, person: Person, acts: Acts, services: Services) -> None:
    """Choose another password; all other sessions end."""
    member = person.member
    await services.throttles.logins.take(member.email)
    if not await services.passwords.fits(member.password_hash, data.password):
        raise unauthorized("the password is wrong")
    hashed = await services.passwords.hashed(data.new_password)
    try:
        async with service_transaction(services.pool) as conn:
            await change_of_member(conn, member, hashed, person.token_hash)
            await _write(conn, acts, f"member:{member.id}", member.id)
    except PasswordChanged as error:
        raise unauthorized("the password is wrong: it was changed a moment ago") from error
    services.ring.forget(f"member {member.id}")


@post(
    "/admin/members/{member:str}/password-reset",
    status_code=201,
    tags=["members"],
    opt=needs(None, "member.issue_reset", shows_secret=True),
)
async def issue_member_password_reset(member: str, operator: Operator, acts: Acts, services: Services) -> MemberReset:
    """Make a token by which a member chooses another password, once, within an hour.

    It is for operators alone: an account reaches every organization that its member belongs to, so none of them may take it.
    """
    found = await _member(services, member)
    if found is None:
        raise Problem(404, "not-found", f"there is no member {member!r}: name one by their id or their email")
    async with service_transaction(services.pool) as conn:
        issued = await issue_to_member(conn, found.id)
        await _write(conn, acts, operator.actor, found.id, {"expiresAt": issued.expires_at})
    return MemberReset(found.id, found.email, issued.token, issued.expires_at)


@post("/members/reset", status_code=204, tags=["members"], opt=needs(None, "member.reset_password"))
async def reset_member_password(
    data: ForgottenMemberPassword, acts: Acts, services: Services, request: AnyRequest
) -> None:
    """Choose another password, by the token of a reset, once. All sessions of the member end, everywhere at once."""
    await services.throttles.logins.take(address_of(request))
    if not await holds_of_member(services.pool, data.token):
        raise reset_over()  # before anything is hashed, which is dear
    hashed = await services.passwords.hashed(data.new_password)
    try:
        async with service_transaction(services.pool) as conn:
            member_id = await reset_member(conn, data.token, hashed)
            await _write(conn, acts, f"member:{member_id}", member_id)
    except ResetOver as error:
        raise reset_over() from error
    services.ring.forget(f"member {member_id}")


async def _member(services: Services, named: str) -> MemberRow | None:
    if "@" in named:
        return await members.find(services.pool, named.lower())
    try:
        return await members.by_id(services.pool, UUID(named))
    except ValueError:
        return None


async def _write(
    conn: Connection, acts: Acts, actor: str, member_id: UUID, after: dict[str, datetime] | None = None
) -> None:
    """Write an act on an account into the log of each of its organizations; of one that has none, into the default's."""
    of = await members.organizations_of(conn, member_id) or [await projects.default_organization(conn)]
    await audit.add(conn, [acts.of(At(actor, organization), "member", member_id, after=after) for organization in of])
