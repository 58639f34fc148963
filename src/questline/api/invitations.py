"""/v1/organizations/{id}/invitations and /v1/invitations/accept: how somebody becomes a member."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post

from questline.api.acts import Acts, At
from questline.api.callers import address_of, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.staff import Manager
from questline.api.users import page
from questline.control.members import AlreadyMember, InvitationOver, WrongPassword, accept, invite
from questline.model.limits import KEY_BYTES_MAX, PAGE_ITEMS_DEFAULT, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from questline.model.permissions import MemberRole, Scope
from questline.store import invitations
from questline.store.invitations import InvitationRow
from questline.store.pool import service_transaction

Email = Annotated[str, msgspec.Meta(pattern=r"^[!-?A-~]+@[!-?A-~]+$(?!\n)", max_length=254)]
Password = Annotated[str, msgspec.Meta(min_length=PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX)]
Secret = Annotated[str, msgspec.Meta(max_length=KEY_BYTES_MAX)]


class Invite(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to invite, as what."""

    email: Email
    role: MemberRole = MemberRole.ANALYST


class Invitation(msgspec.Struct, frozen=True, rename="camel"):
    """An invitation. It is open until it is accepted or revoked, or its time is over."""

    id: UUID
    email: str
    role: MemberRole
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None
    open: bool


class Invited(msgspec.Struct, frozen=True):
    """An invitation just made. Send its token to the invited: it is shown this once."""

    invitation: Invitation
    token: str


class InvitationList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[Invitation]
    next_cursor: str | None


class Accept(msgspec.Struct, forbid_unknown_fields=True):
    """The token of an invitation. Who is new chooses a password; who is known by that email says theirs."""

    token: Secret
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    password: Password


class Joined(msgspec.Struct, frozen=True, rename="camel"):
    """Who has joined; log in next."""

    member_id: UUID
    email: str
    role: MemberRole


@post(
    "/organizations/{organization:str}/invitations",
    status_code=201,
    tags=["members"],
    opt=needs(Scope.MEMBERS_WRITE, "invitation.create", shows_secret=True),
)
async def invite_member(data: Invite, manager: Manager, acts: Acts, services: Services) -> Invited:
    """Invite somebody by a token, which holds for a week and is used once."""
    if data.role is MemberRole.OWNER and not manager.owns:
        raise Problem(403, "forbidden", f"your role is {manager.role}; owners are made and unmade by owners")
    async with service_transaction(services.pool) as conn:
        row, token = await invite(
            conn, manager.organization_id, services.new_id(), data.email, data.role, manager.actor
        )
        await acts.write(conn, manager, "invitation", row.id, after={"email": row.email, "role": row.role})
    return Invited(_view(row), token)


@get("/organizations/{organization:str}/invitations", tags=["members"], opt=needs(Scope.MEMBERS_READ))
async def list_invitations(
    manager: Manager, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> InvitationList:
    """List an organization's invitations, newest first, without their tokens."""
    before, limit = page(cursor, limit)
    rows = await invitations.listed(services.pool, manager.organization_id, before, limit + 1)
    items = [_view(row) for row in rows[:limit]]
    return InvitationList(items, str(items[-1].id) if len(rows) > limit else None)


@delete(
    "/organizations/{organization:str}/invitations/{invitation_id:uuid}",
    status_code=204,
    tags=["members"],
    opt=needs(Scope.MEMBERS_WRITE, "invitation.revoke"),
)
async def revoke_invitation(invitation_id: UUID, manager: Manager, acts: Acts, services: Services) -> None:
    """Revoke an invitation that is open."""
    async with service_transaction(services.pool) as conn:
        if not await invitations.revoke(conn, manager.organization_id, invitation_id):
            raise Problem(404, "not-found", f"there is no open invitation {invitation_id}")
        await acts.write(conn, manager, "invitation", invitation_id, after={"revoked": True})


@post("/invitations/accept", status_code=201, tags=["members"], opt=needs(None, "invitation.accept"))
async def accept_invitation(
    data: Accept,
    acts: Acts,
    services: Services,
    request: Request,  # type: ignore[type-arg]
) -> Joined:
    """Accept an invitation by its token, once."""
    tries = services.throttles.logins
    await tries.take(address_of(request))
    try:
        async with service_transaction(services.pool) as conn:
            row, member = await accept(
                conn, services.passwords, data.token, services.new_id(), data.name, data.password, tries.take
            )
            by = At(f"member:{member.id}", row.organization_id)
            await acts.write(conn, by, "invitation", row.id, after={"member": member.id, "role": row.role})
    except InvitationOver as error:
        raise Problem(404, "not-found", str(error)) from error
    except WrongPassword as error:
        detail = "somebody of that email is known here: send the password that they log in with"
        raise Problem(401, "unauthorized", detail) from error
    except AlreadyMember as error:
        raise Problem(409, "conflict", "you are a member of the organization already") from error
    return Joined(member.id, member.email, row.role)


def _view(row: InvitationRow) -> Invitation:
    return Invitation(
        row.id, row.email, row.role, row.invited_by, row.created_at, row.expires_at, row.accepted_at, row.revoked_at,
        not (row.accepted_at or row.revoked_at or row.over),
    )  # fmt: skip
