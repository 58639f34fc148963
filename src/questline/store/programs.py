"""Program versions as processing reads them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("programs")


class CurrentProgram(msgspec.Struct, frozen=True):
    """The version in force in a project (0: the empty program), the project's own zone, and the types its settings trust."""

    version: int
    timezone: str
    trusted_types: tuple[str, ...] = ()


async def current(conn: Connection, project_ids: Iterable[int]) -> dict[int, CurrentProgram]:
    """Return what is in force in each of the projects, by project id."""
    rows = await conn.fetch(SQL["current"], list(project_ids))
    return {
        id_: CurrentProgram(
            version, timezone, () if trusted is None else msgspec.json.decode(trusted, type=tuple[str, ...])
        )
        for id_, version, timezone, trusted in rows
    }


async def document(conn: Connection, project_id: int, version: int) -> dict[str, Any]:
    """Return a version's document; version 0 is the empty program. Raises LookupError for one that is not there."""
    if version == 0:
        return {}
    text = await conn.fetchval(SQL["document"], project_id, version)
    if text is None:
        raise LookupError(f"project {project_id} has no program version {version}")
    return msgspec.json.decode(text, type=dict[str, Any])
