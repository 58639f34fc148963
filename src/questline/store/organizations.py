"""Organizations, and their projects as whoever manages them sees these."""

from datetime import datetime

import msgspec
from asyncpg import Connection, Pool, Record

from questline.store.projects import ProjectRow, row_of
from questline.store.statements import statements

SQL = statements("organizations")


class OrganizationRow(msgspec.Struct, frozen=True):
    """An organization; `slug` is its id outside."""

    id: int
    slug: str
    name: str
    created_at: datetime
    archived_at: datetime | None


async def create(conn: Connection, slug: str, name: str) -> OrganizationRow | None:
    """Create an organization; None when the id is taken."""
    return _maybe(await conn.fetchrow(SQL["create"], slug, name))


async def find(pool: Pool, slug: str) -> OrganizationRow | None:
    """Return an organization by its id outside."""
    return _maybe(await pool.fetchrow(SQL["find"], slug))


async def lock(conn: Connection, organization_id: int) -> OrganizationRow:
    """Return an organization, held until the transaction ends."""
    return _row(await conn.fetchrow(SQL["lock"], organization_id))


async def listed(
    pool: Pool, after: str, member_id: object | None, limit: int
) -> list[tuple[OrganizationRow, str | None]]:
    """Return organizations after one, in order of their ids; those of a member with their role, where one is given."""
    return [(_row(row), row["role"]) for row in await pool.fetch(SQL["list"], after, member_id, limit)]


async def rename(conn: Connection, organization_id: int, name: str) -> None:
    """Give an organization another name."""
    await conn.execute(SQL["rename"], organization_id, name)


async def archive(conn: Connection, organization_id: int) -> None:
    """Refuse everybody of an organization from now on; its data stays."""
    await conn.execute(SQL["archive"], organization_id)


async def has_projects(conn: Connection, organization_id: int) -> bool:
    """Tell whether an organization has a project that is not archived."""
    found: bool = await conn.fetchval(SQL["has_projects"], organization_id)
    return found


async def projects(pool: Pool, organization_id: int, after: str, limit: int) -> list[ProjectRow]:
    """Return an organization's projects after one, in order of their ids, archived ones among them."""
    return [row_of(row) for row in await pool.fetch(SQL["projects"], organization_id, after, limit)]


async def set_archived(conn: Connection, organization_id: int, app_id: str, archived: bool) -> int | None:
    """Archive or restore a project and return its id inside; None when there is none, or when it is so already."""
    id_: int | None = await conn.fetchval(SQL["set_archived"], organization_id, app_id, archived)
    return id_


async def has_project(conn: Connection, organization_id: int, app_id: str) -> bool:
    """Tell whether an organization has a project, archived or not."""
    found: bool = await conn.fetchval(SQL["has_project"], organization_id, app_id)
    return found


def _maybe(row: Record | None) -> OrganizationRow | None:
    return None if row is None else _row(row)


def _row(row: Record) -> OrganizationRow:
    return OrganizationRow(row["id"], row["slug"], row["name"], row["created_at"], row["archived_at"])
