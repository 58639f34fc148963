"""Projects, which customers call apps: created with a first key."""

from typing import Any
from uuid import UUID

from questline.control.keys import NewKey, create
from questline.model.principal import KeyType, Role
from questline.store import projects
from questline.store.pool import Connection
from questline.store.projects import ProjectRow


class AppTaken(Exception):
    """There is a project of that id already."""


async def create_app(
    conn: Connection,
    organization_id: int | None,
    key_id: UUID,
    app_id: str,
    name: str,
    timezone: str,
    settings: dict[str, Any],
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> tuple[ProjectRow, NewKey]:
    """Create a project and its first ADMIN key, in the caller's transaction; raises AppTaken.

    Without an organization it belongs to the default one, which is there for those who need no other.
    """
    if organization_id is None:
        organization_id = await projects.default_organization(conn)
    row = await projects.create(conn, organization_id, app_id, name, timezone, settings, webhook_url, webhook_secret)
    if row is None:
        raise AppTaken(app_id)
    return row, await create(conn, row.project.id, key_id, KeyType.SECRET, Role.ADMIN, "bootstrap")
