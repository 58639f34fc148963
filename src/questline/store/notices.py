"""Notices: facts that decisions left for every outward channel."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("notices")


class NoticeRow(msgspec.Struct, frozen=True):
    """One fact, with the event that caused it."""

    event_id: UUID
    ordinal: int
    type: str
    data: dict[str, Any]
    at: datetime


async def unlocks(
    conn: Connection, project_id: int, user_id: int, achievement: str, before: UUID, limit: int
) -> list[NoticeRow]:
    """Return when a user unlocked an achievement, newest first, before an event id."""
    rows = await conn.fetch(SQL["unlocks"], project_id, user_id, before, achievement, limit)
    return [NoticeRow(row["event_id"], 0, row["type"], msgspec.json.decode(row["data"]), row["at"]) for row in rows]


async def of_user(conn: Connection, project_id: int, user_id: int, before: UUID, limit: int) -> list[NoticeRow]:
    """Return a user's notices, newest events first, before an event id: about `limit`, whole events at a time."""
    rows = await conn.fetch(SQL["of_user"], project_id, user_id, before, limit)
    return [
        NoticeRow(row["event_id"], row["ordinal"], row["type"], msgspec.json.decode(row["data"]), row["at"])
        for row in rows
    ]
