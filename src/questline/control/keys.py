"""API keys: made here, shown once."""

import secrets
from hashlib import sha256
from uuid import UUID

import msgspec

from questline.model.principal import KeyType, Role
from questline.store import keys
from questline.store.pool import Connection

_PREFIXES = {KeyType.SECRET: "sk_live_", KeyType.PUBLISHABLE: "pk_live_"}
_SHOWN = 12  # characters kept to recognise a key by


class NewKey(msgspec.Struct, frozen=True, rename="camel"):
    """A key just made: the only time it is shown whole."""

    id: UUID
    key: str
    prefix: str
    type: KeyType
    role: Role
    name: str


async def create(conn: Connection, project_id: int, key_id: UUID, type_: KeyType, role: Role, name: str = "") -> NewKey:
    """Make a key of 32 random bytes and store its hash; a publishable key can only ingest."""
    role = role if type_ is KeyType.SECRET else Role.INGEST
    key = _PREFIXES[type_] + secrets.token_hex(32)
    prefix = key[:_SHOWN]
    await keys.create(conn, project_id, key_id, sha256(key.encode()).digest(), prefix, type_.value, role.value, name)
    return NewKey(key_id, key, prefix, type_, role, name)
