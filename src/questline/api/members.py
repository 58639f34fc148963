"""/v1/organizations/{id}/members: who may do what in an organization and its projects."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import delete, get, patch

from questline.api.acts import Acts
from questline.api.callers import needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.staff import Manager
from questline.control.members import LastOwner, change_role
from questline.model.permissions import MemberRole, Scope
from questline.store import members
from questline.store.pool import Connection, service_transaction


class Member(msgspec.Struct, frozen=True):
    """A member of an organization."""

    id: UUID
    email: str
    name: str
    role: MemberRole
    since: datetime


class MemberList(msgspec.Struct, frozen=True):
    items: list[Member]


class MemberUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """Another role."""

    role: MemberRole


@get("/organizations/{organization:str}/members", tags=["members"], opt=needs(Scope.MEMBERS_READ))
async def list_members(manager: Manager, services: Services) -> MemberList:
    """List an organization's members, the first to join first."""
    rows = await members.listed(services.pool, manager.organization_id)
    return MemberList([Member(row.id, row.email, row.name, row.role, row.since) for row in rows])


@patch(
    "/organizations/{organization:str}/members/{member_id:uuid}",
    status_code=204,
    tags=["members"],
    opt=needs(Scope.MEMBERS_WRITE, "member.update"),
)
async def update_member(member_id: UUID, data: MemberUpdate, manager: Manager, acts: Acts, services: Services) -> None:
    """Give a member another role, in force at once. Owners are made and unmade by owners; the last one stays."""
    async with service_transaction(services.pool) as conn:
        before = await _change(conn, manager, member_id, data.role)
        if before is not data.role:
            after = {"role": data.role}
            await acts.write(conn, manager, "member", member_id, before={"role": before}, after=after)
    services.ring.forget(f"member {member_id}")


@delete(
    "/organizations/{organization:str}/members/{member_id:uuid}",
    status_code=204,
    tags=["members"],
    opt=needs(Scope.MEMBERS_WRITE, "member.remove"),
)
async def remove_member(member_id: UUID, manager: Manager, acts: Acts, services: Services) -> None:
    """Remove a member, at once. Owners are removed by owners; the last one stays."""
    async with service_transaction(services.pool) as conn:
        before = await _change(conn, manager, member_id, None)
        await acts.write(conn, manager, "member", member_id, before={"role": before}, after={"role": None})
    services.ring.forget(f"member {member_id}")


async def _change(conn: Connection, manager: Manager, member_id: UUID, role: MemberRole | None) -> MemberRole:
    """Change a role and return the one before; what may not be is raised as a problem, and rolls the change back."""
    try:
        before = await change_role(conn, manager.organization_id, member_id, role)
    except LastOwner as error:
        raise Problem(
            409, "last-owner", "an organization keeps an owner: make another member an owner first"
        ) from error
    if before is None:
        raise Problem(404, "not-found", f"the organization has no member {member_id}")
    if MemberRole.OWNER in (before, role) and not manager.owns:
        raise Problem(403, "forbidden", f"your role is {manager.role}; owners are made and unmade by owners")
    return before
