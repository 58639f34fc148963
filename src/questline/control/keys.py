"""API keys: made here, shown once; and who a secret belongs to."""

import secrets
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec

from questline.model.permissions import KEY_SCOPES, Scope
from questline.model.principal import KeyType, Role, scopes_of_key
from questline.store import keys, members
from questline.store.keys import Found, KeyRow, NewRow
from questline.store.pool import Connection, Pool

_PREFIXES = {KeyType.SECRET: "sk_live_", KeyType.PUBLISHABLE: "pk_live_"}
_SHOWN = 12  # characters kept to recognise a key by

KEY_PREFIXES = tuple(prefix.encode() for prefix in _PREFIXES.values())
MEMBER_PREFIX = b"qm_"
EVERYTHING = frozenset(Scope)
PROJECT = b""
"""What is asked with for the users of a project, of whom tokens tell: no header can hold it as a key."""


class NewKey(msgspec.Struct, frozen=True, rename="camel"):
    """A key just made: the only time it is shown whole. `scopes` null: all of its role."""

    id: UUID
    key: str
    prefix: str
    type: KeyType
    role: Role
    name: str
    scopes: list[Scope] | None
    created_at: datetime
    expires_at: datetime | None


class ScopesBeyondRole(ValueError):
    """A key was to have scopes that its role lacks."""


class ScopesBeyondCaller(Exception):
    """A key was to be made, rotated or revoked that may what the caller may not. The message names it."""


class NotRotatable(Exception):
    """A key cannot be rotated: it is revoked, over, or was rotated before. The message says which."""


async def find(pool: Pool, secret: bytes, tenant: str | None) -> Found | None:
    """Return who a secret belongs to, in the project they name; with PROJECT, that project's users; None for nobody."""
    if secret == PROJECT:
        return None if tenant is None else await keys.of_project(pool, tenant)
    hashed = sha256(secret).digest()
    if secret.startswith(MEMBER_PREFIX):
        return None if tenant is None else await members.in_project(pool, hashed, tenant)
    return await keys.find(pool, hashed)


async def create(
    conn: Connection,
    project_id: int,
    key_id: UUID,
    type_: KeyType,
    role: Role,
    name: str = "",
    scopes: list[Scope] | None = None,
    expires_at: datetime | None = None,
    *,
    within: frozenset[Scope] = EVERYTHING,
) -> NewKey:
    """Make a key of 32 random bytes and store its hash; a publishable key only ingests.

    `within` is what its maker may: whoever has a secret may what it may, so that nobody makes one that may more.
    Raises ScopesBeyondRole and ScopesBeyondCaller.
    """
    role = role if type_ is KeyType.SECRET else Role.INGEST
    beyond = sorted(set(scopes or ()) - KEY_SCOPES[role])
    if beyond:
        raise ScopesBeyondRole(f"a key of role {role} cannot have {', '.join(beyond)}")
    _check_within(type_, role, scopes, within)
    key = _PREFIXES[type_] + secrets.token_hex(32)
    sorted_scopes = None if scopes is None else sorted(set(scopes))
    row = NewRow(key_id, sha256(key.encode()).digest(), key[:_SHOWN], type_, role, name, sorted_scopes, expires_at)
    return _shown(await keys.create(conn, project_id, row), key)


async def rotate(
    conn: Connection,
    project_id: int,
    key_id: UUID,
    new_id: UUID,
    overlap_seconds: int,
    expires_at: datetime | None,
    now: datetime,
    *,
    within: frozenset[Scope] = EVERYTHING,
) -> tuple[KeyRow, NewKey, datetime] | None:
    """Make a key in another's place; return the old one as it was, the new one, and when the old one ends.

    Without `expires_at` the new key lives as long as the old one was to. None: there is no such key. Raises NotRotatable,
    and ScopesBeyondCaller where the key may more than `within`.
    """
    found = await keys.lock(conn, project_id, key_id)
    if found is None:
        return None
    old, over = found
    if old.replaced_by is not None:
        raise NotRotatable(f"the key was rotated before, to {old.replaced_by}: rotate that one")
    if over:
        raise NotRotatable("the key is revoked or over: make a new one")
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    new = await create(conn, project_id, new_id, old.type, old.role, old.name, old.scopes, expires_at, within=within)
    ends = await keys.replace(conn, project_id, key_id, new_id, overlap_seconds)
    return old, new, ends


async def revoke(
    conn: Connection, project_id: int, key_id: UUID, *, within: frozenset[Scope] = EVERYTHING
) -> tuple[KeyRow, datetime] | None:
    """Revoke a key; return it as it was, and since when it is. None: there is no such key.

    Raises ScopesBeyondCaller where the key may more than `within`: who could not make it could not put it back either.
    """
    found = await keys.lock(conn, project_id, key_id)
    if found is None:
        return None
    old, _ = found
    _check_within(old.type, old.role, old.scopes, within)
    return old, await keys.revoke(conn, project_id, key_id)


def _check_within(type_: KeyType, role: Role, scopes: list[Scope] | None, within: frozenset[Scope]) -> None:
    more = sorted(scopes_of_key(type_, role, scopes) - within)
    if more:
        raise ScopesBeyondCaller(f"the {type_} key of role {role} may {', '.join(more)}, which you may not")


def _shown(row: KeyRow, key: str) -> NewKey:
    return NewKey(row.id, key, row.prefix, row.type, row.role, row.name, row.scopes, row.created_at, row.expires_at)
