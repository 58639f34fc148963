"""Program versions as the control plane writes them: immutable, numbered, one in force."""

from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("versions")


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """A program version; `document` is left out of lists."""

    version: int
    applied_by: str
    applied_at: datetime | None
    document: dict[str, Any] | None = None


class EdgeTypes(msgspec.Struct, frozen=True):
    """What the edge must know of a version: types that only servers may send, and the only ones taken (None: all)."""

    trusted: list[str]
    known: list[str] | None


async def lock(conn: Connection, project_id: int) -> int:
    """Lock the project's program until the transaction ends; return the version in force."""
    version: int = await conn.fetchval(SQL["lock"], project_id)
    return version


async def get(conn: Connection, project_id: int, version: int) -> Version | None:
    """Return one version; version 0 is the empty program."""
    if version == 0:
        return Version(0, "", None, {})
    row = await conn.fetchrow(SQL["get"], project_id, version)
    if row is None:
        return None
    return Version(row["version"], row["applied_by"], row["applied_at"], msgspec.json.decode(row["document"]))


async def list_versions(conn: Connection, project_id: int, before: int, limit: int) -> list[Version]:
    """Return versions below one, newest first."""
    return [Version(*row) for row in await conn.fetch(SQL["list"], project_id, before, limit)]


async def latest_definitions(conn: Connection, project_id: int, section: str, names: list[str]) -> dict[str, Any]:
    """Return the newest definition that each name had in a section; none for names that no version knows."""
    rows = await conn.fetch(SQL["latest_definitions"], project_id, section, names)
    return {row["key"]: msgspec.json.decode(row["value"]) for row in rows}


async def add(
    conn: Connection, project_id: int, version: int, document: dict[str, Any], by: str, edge: EdgeTypes
) -> datetime:
    """Add a version and put it in force, in the caller's transaction, which holds the lock."""
    at: datetime = await conn.fetchval(SQL["add"], project_id, version, msgspec.json.encode(document).decode(), by)
    await conn.execute(SQL["put_in_force"], project_id, version, edge.trusted, edge.known)
    return at
