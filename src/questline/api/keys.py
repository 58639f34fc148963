"""/v1/keys and /v1/projects/{id}/api-keys: API keys: made, listed, rotated, revoked."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, post

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control.keys import NewKey, NotRotatable, ScopesBeyondCaller, ScopesBeyondRole, create, revoke, rotate
from questline.model.limits import (
    KEY_EXPIRY_DAYS_MAX,
    KEY_OVERLAP_SECONDS,
    KEY_OVERLAP_SECONDS_MAX,
    SHORT_TEXT_CHARS_MAX,
)
from questline.model.permissions import Scope
from questline.model.principal import KeyType, Role
from questline.store import keys
from questline.store.keys import KeyRow
from questline.store.pool import tenant_transaction

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class KeyCreate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A key to make. A publishable one only sends behavioural events, whatever its role.

    `scopes` narrow the role; left out, the key may do all that its role may. Without `expiresAt` it lives until it is revoked.
    """

    type: KeyType = KeyType.SECRET
    role: Role = Role.INGEST
    name: Annotated[str, msgspec.Meta(max_length=SHORT_TEXT_CHARS_MAX)] = ""
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1)] | None = None
    expires_at: Instant | None = None


class KeyRotate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How long the old key lives on beside the new one, and when the new one ends: after the old one's lifetime, if left out."""

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=KEY_OVERLAP_SECONDS_MAX)] = KEY_OVERLAP_SECONDS
    expires_at: Instant | None = None


class Rotated(msgspec.Struct, frozen=True, rename="camel"):
    """The new key, shown this once, and when the old one ends."""

    key: NewKey
    old_key_id: UUID
    old_key_ends_at: datetime


class KeyList(msgspec.Struct, frozen=True):
    items: list[KeyRow]


@post(
    ["/keys", "/projects/{project:str}/api-keys"],
    status_code=201,
    tags=["keys"],
    opt=needs(Scope.KEYS_WRITE, "key.create", shows_secret=True),
)
async def create_key(
    data: KeyCreate, admin: Admin, acts: Acts, services: Services, project: str | None = None
) -> NewKey:
    """Make a key, which may no more than the caller may; it is shown this once."""
    own(admin, project)
    _check_end(data.expires_at, services.now())
    try:
        async with tenant_transaction(services.pool, admin.project.id) as conn:
            made = await create(
                conn,
                admin.project.id,
                services.new_id(),
                data.type,
                data.role,
                data.name,
                data.scopes,
                data.expires_at,
                within=admin.principal.scopes,
            )
            await acts.write(conn, admin, "key", made.id, after=_told(made))
            return made
    except ScopesBeyondRole as error:
        raise Problem(422, "invalid-request", f"scopes: {error}", field="scopes") from error
    except ScopesBeyondCaller as error:
        raise _beyond(error, "name `scopes` that you have, or ask") from error


@get(["/keys", "/projects/{project:str}/api-keys"], tags=["keys"], opt=needs(Scope.KEYS_READ))
async def list_keys(admin: Admin, services: Services, project: str | None = None) -> KeyList:
    """List the project's keys, without the keys themselves."""
    own(admin, project)
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        return KeyList(await keys.list_keys(conn, admin.project.id))


@post(
    ["/keys/{key_id:str}/rotate", "/projects/{project:str}/api-keys/{key_id:str}/rotate"],
    status_code=201,
    tags=["keys"],
    opt=needs(Scope.KEYS_WRITE, "key.rotate", shows_secret=True),
)
async def rotate_key(
    key_id: str, data: KeyRotate, admin: Admin, acts: Acts, services: Services, project: str | None = None
) -> Rotated:
    """Make a key in another's place, with the same rights; the old one lives on for the overlap, so nothing stops.

    The caller may all that the key may: it is shown to them.
    """
    own(admin, project)
    now = services.now()
    _check_end(data.expires_at, now)
    id_ = _id_of(key_id)
    try:
        async with tenant_transaction(services.pool, admin.project.id) as conn:
            done = await rotate(
                conn,
                admin.project.id,
                id_,
                services.new_id(),
                data.overlap_seconds,
                data.expires_at,
                now,
                within=admin.principal.scopes,
            )
            if done is None:
                raise _no_key(key_id)
            old, new, ends = done
            after = {"expiresAt": ends, "replacedBy": _told(new)}
            await acts.write(conn, admin, "key", id_, before={"expiresAt": old.expires_at}, after=after)
    except NotRotatable as error:
        raise Problem(409, "conflict", str(error)) from error
    except ScopesBeyondCaller as error:
        raise _beyond(error) from error
    services.ring.forget(f"key {id_}")
    return Rotated(new, id_, ends)


@delete(
    ["/keys/{key_id:str}", "/projects/{project:str}/api-keys/{key_id:str}"],
    status_code=204,
    tags=["keys"],
    opt=needs(Scope.KEYS_WRITE, "key.revoke"),
)
async def revoke_key(key_id: str, admin: Admin, acts: Acts, services: Services, project: str | None = None) -> None:
    """Revoke a key; every process refuses it at once, and within two seconds where it cannot be told.

    The caller may all that the key may, as of one that they make.
    """
    own(admin, project)
    id_ = _id_of(key_id)
    try:
        async with tenant_transaction(services.pool, admin.project.id) as conn:
            done = await revoke(conn, admin.project.id, id_, within=admin.principal.scopes)
            if done is None:
                raise _no_key(key_id)
            old, since = done
            await acts.write(conn, admin, "key", id_, before={"revokedAt": old.revoked_at}, after={"revokedAt": since})
    except ScopesBeyondCaller as error:
        raise _beyond(error) from error
    services.ring.forget(f"key {id_}")


def own(caller: Admin | Reader, project: str | None) -> None:
    """Raise a 404 problem for a project that is not the caller's."""
    if project is not None and project != caller.project.app_id:
        raise Problem(404, "not-found", f"the key has no project {project!r}")


def _told(key: NewKey) -> dict[str, Any]:
    """Return what the audit log is told of a key: all but the key."""
    return {n: getattr(key, n) for n in ("id", "prefix", "type", "role", "name", "scopes")} | {
        "expiresAt": key.expires_at
    }


def _check_end(ends: datetime | None, now: datetime) -> None:
    if ends is not None and not now < ends <= now + timedelta(days=KEY_EXPIRY_DAYS_MAX):
        detail = f"expiresAt: must lie ahead, by {KEY_EXPIRY_DAYS_MAX} days at most"
        raise Problem(422, "invalid-request", detail, field="expiresAt")


def _beyond(error: ScopesBeyondCaller, advice: str = "ask") -> Problem:
    return Problem(403, "forbidden", f"{error}: {advice} with a key or a member that may all of it")


def _id_of(key_id: str) -> UUID:
    try:
        return UUID(key_id)
    except ValueError:
        raise _no_key(key_id) from None


def _no_key(key_id: str) -> Problem:
    return Problem(404, "not-found", f"there is no key {key_id!r}")
