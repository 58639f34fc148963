"""/v1/projects and /v1/organizations/{id}/projects: projects as members manage them."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post
from msgspec import UNSET, UnsetType

from questline.api.acts import Acts, At
from questline.api.apps import SETTINGS, App, AppCreate, AppCreated, app_of, create_in
from questline.api.bodies import invalid
from questline.api.callers import Admin, Reader, needs
from questline.api.keys import own
from questline.api.organizations import slug_page
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.staff import Manager
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.permissions import Scope
from questline.store import organizations, projects
from questline.store.pool import service_transaction, tenant_transaction
from questline.store.sealing import webhook_purpose


class ProjectUpdate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is to change. Settings are merged; null removes one. A secret is set and never shown."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    default_timezone: str | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    webhook_url: str | None | UnsetType = UNSET
    webhook_secret: str | UnsetType = UNSET


class ProjectList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[App]
    next_cursor: str | None


@get("/projects/{project:str}", tags=["apps"], opt=needs(Scope.PROJECT_READ))
async def get_project(project: str, reader: Reader, services: Services) -> App:
    """Show a project."""
    own(reader, project)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        row = await projects.find(conn, project)
    assert row is not None  # the caller has it
    return app_of(row)


@patch("/projects/{project:str}", tags=["apps"], opt=needs(Scope.PROJECT_WRITE, "project.update"))
async def update_project(project: str, data: ProjectUpdate, admin: Admin, acts: Acts, services: Services) -> App:
    """Change a project's name, zone, settings or webhook, in force at once."""
    own(admin, project)
    given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        before = await projects.lock(conn, admin.project.id)
        settings = {**before.project.settings, **(given.get("settings") or {})}
        given["settings"] = {name: value for name, value in settings.items() if value is not None}
        # Names that were stored before they were looked at stay, and do nothing.
        looked_at = {n: v for n, v in given["settings"].items() if n in SETTINGS or n not in before.project.settings}
        if faults := AppCreate.faults({**given, "settings": looked_at}):
            raise invalid(faults)
        after = await projects.update(
            conn,
            admin.project.id,
            given.get("name", before.project.name),
            given.get("default_timezone", before.project.timezone),
            given["settings"],
            given.get("webhook_url", before.webhook_url),
            _sealed(services, project, given.get("webhook_secret")),
        )
        told = [_told(row) for row in (before, after)]
        if "webhook_secret" in given:
            told[1]["webhookSecret"] = "changed"
        await acts.write(conn, admin, "project", project, before=told[0], after=told[1])
    services.ring.forget(f"project {admin.project.id}")
    return app_of(after)


def _sealed(services: Services, app_id: str, secret: str | None) -> str | None:
    return None if secret is None else services.sealer.seal(secret, webhook_purpose(app_id))


@get("/organizations/{organization:str}/projects", tags=["organizations"], opt=needs(Scope.ORGANIZATION_READ))
async def list_projects(
    manager: Manager, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> ProjectList:
    """List an organization's projects, archived ones among them."""
    after, limit = slug_page(cursor, limit)
    rows = await organizations.projects(services.pool, manager.organization_id, after, limit + 1)
    items = [app_of(row) for row in rows[:limit]]
    return ProjectList(items, items[-1].id if len(rows) > limit else None)


@post(
    "/organizations/{organization:str}/projects",
    status_code=201,
    tags=["organizations"],
    opt=needs(Scope.PROJECTS_WRITE, "project.create", shows_secret=True),
)
async def create_project(data: AppCreate, manager: Manager, acts: Acts, services: Services) -> AppCreated:
    """Create a project with its first key."""
    if manager.organization.archived_at is not None:
        raise Problem(409, "conflict", "the organization is archived")
    return await create_in(manager.organization_id, data, manager.actor, acts, services)


@delete(
    "/organizations/{organization:str}/projects/{project:str}",
    status_code=204,
    tags=["organizations"],
    opt=needs(Scope.PROJECTS_WRITE, "project.archive"),
)
async def archive_project(project: str, manager: Manager, acts: Acts, services: Services) -> None:
    """Archive a project: its keys and members are refused at once; what it accepted is applied, and its data stays."""
    await _set_archived(project, True, manager, acts, services)


@post(
    "/organizations/{organization:str}/projects/{project:str}/restore",
    status_code=204,
    tags=["organizations"],
    opt=needs(Scope.PROJECTS_WRITE, "project.restore"),
)
async def restore_project(project: str, manager: Manager, acts: Acts, services: Services) -> None:
    """Take a project out of the archive: its keys work again."""
    await _set_archived(project, False, manager, acts, services)


async def _set_archived(project: str, archived: bool, manager: Manager, acts: Acts, services: Services) -> None:
    async with service_transaction(services.pool) as conn:
        await organizations.lock(conn, manager.organization_id)
        if "\0" in project or not await organizations.has_project(conn, manager.organization_id, project):
            raise Problem(404, "not-found", f"the organization has no project {project!r}")
        id_ = await organizations.set_archived(conn, manager.organization_id, project, archived)
        if id_ is not None:
            by = At(manager.actor, manager.organization_id, id_)
            await acts.write(
                conn, by, "project", project, before={"archived": not archived}, after={"archived": archived}
            )
    if id_ is not None:
        services.ring.forget(f"project {id_}")


def _told(row: projects.ProjectRow) -> dict[str, Any]:
    """Return what the audit log is told of a project's page."""
    p = row.project
    return {"name": p.name, "defaultTimezone": p.timezone, "settings": p.settings, "webhookUrl": row.webhook_url}
