"""/v1/keys and /v1/projects/{id}/api-keys: API keys."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post

from questline.api.callers import Admin
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control.keys import NewKey, create
from questline.model.limits import SHORT_TEXT_CHARS_MAX
from questline.model.principal import KeyType, Role
from questline.store import keys
from questline.store.keys import KeyRow
from questline.store.pool import tenant_transaction


class KeyCreate(msgspec.Struct, forbid_unknown_fields=True):
    """A key to make. A publishable one only sends behavioural events, whatever its role."""

    type: KeyType = KeyType.SECRET
    role: Role = Role.INGEST
    name: Annotated[str, msgspec.Meta(max_length=SHORT_TEXT_CHARS_MAX)] = ""


class KeyList(msgspec.Struct, frozen=True):
    items: list[KeyRow]


@post(["/keys", "/projects/{project:str}/api-keys"], status_code=201, tags=["keys"])
async def create_key(data: KeyCreate, admin: Admin, services: Services, project: str | None = None) -> NewKey:
    """Make a key; it is shown this once."""
    own(admin, project)
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        return await create(conn, admin.project.id, services.new_id(), data.type, data.role, data.name)


@get(["/keys", "/projects/{project:str}/api-keys"], tags=["keys"])
async def list_keys(admin: Admin, services: Services, project: str | None = None) -> KeyList:
    """List the project's keys, without the keys themselves."""
    own(admin, project)
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        return KeyList(await keys.list_keys(conn, admin.project.id))


@delete(["/keys/{key_id:str}", "/projects/{project:str}/api-keys/{key_id:str}"], status_code=204, tags=["keys"])
async def revoke_key(key_id: str, admin: Admin, services: Services, project: str | None = None) -> None:
    """Revoke a key; every process refuses it within two seconds."""
    own(admin, project)
    try:
        id_ = UUID(key_id)
    except ValueError:
        raise Problem(404, "not-found", f"there is no key {key_id!r}") from None
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        if not await keys.revoke(conn, admin.project.id, id_):
            raise Problem(404, "not-found", f"there is no key {key_id!r}")
    services.ring.forget()


def own(admin: Admin, project: str | None) -> None:
    """Raise a 404 problem for a project that is not the key's."""
    if project is not None and project != admin.project.app_id:
        raise Problem(404, "not-found", f"the key has no project {project!r}")
