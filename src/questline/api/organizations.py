"""/v1/organizations: who owns projects together."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.response import Stream

from questline.api.acts import Acts, At
from questline.api.apps import SLUG, SLUG_MESSAGE
from questline.api.audit import ActPage, acts_page, exported
from questline.api.bodies import invalid
from questline.api.callers import needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.staff import Manager, Operator, Staff
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.permissions import MemberRole, Scope
from questline.store import organizations
from questline.store.audit import Filter
from questline.store.organizations import OrganizationRow
from questline.store.pool import service_transaction
from questline.store.projects import DEFAULT_ORGANIZATION

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class OrganizationCreate(msgspec.Struct, forbid_unknown_fields=True):
    """An organization to create; invite its first owner next."""

    id: str
    name: Name


class OrganizationUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """Another name."""

    name: Name


class Organization(msgspec.Struct, frozen=True, rename="camel"):
    """An organization; `role` is what you are in it, null for operators."""

    id: str
    name: str
    role: MemberRole | None
    created_at: datetime
    archived_at: datetime | None


class OrganizationList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[Organization]
    next_cursor: str | None


@post("/organizations", status_code=201, tags=["organizations"], opt=needs(None, "organization.create"))
async def create_organization(
    data: OrganizationCreate, operator: Operator, acts: Acts, services: Services
) -> Organization:
    """Create an organization."""
    if not SLUG.fullmatch(data.id):
        raise invalid([{"field": "id", "message": SLUG_MESSAGE}])
    async with service_transaction(services.pool) as conn:
        row = await organizations.create(conn, data.id, data.name)
        if row is None:
            raise Problem(409, "conflict", f"there is an organization {data.id!r} already; choose another id")
        await acts.write(conn, At(operator.actor, row.id), "organization", data.id, after={"name": data.name})
    return _view(row, None)


@get("/organizations", tags=["organizations"], opt=needs(None))
async def list_organizations(
    staff: Staff, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> OrganizationList:
    """List organizations: all of them for an operator, for a member their own."""
    after, limit = slug_page(cursor, limit)
    rows = await organizations.listed(services.pool, after, staff.member_id, limit + 1)
    items = [_view(row, None if role is None else MemberRole(role)) for row, role in rows[:limit]]
    return OrganizationList(items, items[-1].id if len(rows) > limit else None)


@get("/organizations/{organization:str}", tags=["organizations"], opt=needs(Scope.ORGANIZATION_READ))
async def get_organization(manager: Manager) -> Organization:
    """Show an organization."""
    return _view(manager.organization, manager.role)


@patch(
    "/organizations/{organization:str}",
    tags=["organizations"],
    opt=needs(Scope.ORGANIZATION_WRITE, "organization.update"),
)
async def update_organization(
    data: OrganizationUpdate, manager: Manager, acts: Acts, services: Services
) -> Organization:
    """Rename an organization."""
    async with service_transaction(services.pool) as conn:
        row = await organizations.lock(conn, manager.organization_id)
        await organizations.rename(conn, row.id, data.name)
        await acts.write(conn, manager, "organization", row.slug, before={"name": row.name}, after={"name": data.name})
    return _view(msgspec.structs.replace(row, name=data.name), manager.role)


@delete(
    "/organizations/{organization:str}",
    status_code=204,
    tags=["organizations"],
    opt=needs(Scope.ORGANIZATION_WRITE, "organization.archive"),
)
async def archive_organization(manager: Manager, acts: Acts, services: Services) -> None:
    """Archive an organization without projects in use: its members are refused, its data and its audit log stay."""
    async with service_transaction(services.pool) as conn:
        row = await organizations.lock(conn, manager.organization_id)
        if row.slug == DEFAULT_ORGANIZATION:
            raise Problem(409, "conflict", "projects that name no organization belong to this one, so it stays")
        if await organizations.has_projects(conn, row.id):
            raise Problem(409, "conflict", "the organization has projects in use: archive them first")
        await organizations.archive(conn, row.id)
        before = {"archivedAt": row.archived_at}
        await acts.write(conn, manager, "organization", row.slug, before=before, after={"archived": True})
    services.ring.forget(f"organization {row.id}")


@get("/organizations/{organization:str}/audit", tags=["audit"], opt=needs(Scope.AUDIT_READ))
async def list_organization_acts(
    manager: Manager, services: Services, chosen: Filter, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> ActPage:
    """List what was done to the organization and all its projects, newest first."""
    async with service_transaction(services.pool) as conn:
        return await acts_page(conn, manager.organization_id, None, chosen, cursor, limit)


@get("/organizations/{organization:str}/audit/export", tags=["audit"], opt=needs(Scope.AUDIT_READ))
async def export_organization_acts(manager: Manager, services: Services, chosen: Filter) -> Stream:
    """Export what was done to the organization and all its projects as NDJSON, newest first."""
    return exported(lambda: service_transaction(services.pool), manager.organization_id, None, chosen)


def slug_page(cursor: str | None, limit: int) -> tuple[str, int]:
    """Return (ids after this, how many) of a page's parameters; raises a 400 problem."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    if cursor is not None and not SLUG.fullmatch(cursor):
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor")
    return cursor or "", limit


def _view(row: OrganizationRow, role: MemberRole | None) -> Organization:
    return Organization(row.slug, row.name, role, row.created_at, row.archived_at)
