"""Quests whose time is over, found for the sweep that expires them."""

from datetime import UTC, datetime

import msgspec
from asyncpg import Connection

from questline.store.statements import statements

SQL = statements("quests")


class Place(msgspec.Struct, frozen=True):
    """Where in the order of deadlines a look at them has come to."""

    deadline: datetime = datetime.min.replace(tzinfo=UTC)
    project_id: int = 0
    user_id: int = 0
    quest: str = ""


class DueQuest(msgspec.Struct, frozen=True):
    """A run whose time is over; `user` is the customer's id."""

    place: Place
    user: str
    started_at: datetime


async def due(conn: Connection, now: datetime, after: Place, limit: int) -> list[DueQuest]:
    """Return runs under way whose deadline has passed, of all projects, the longest overdue first, after a place."""
    rows = await conn.fetch(SQL["due"], now, limit, after.deadline, after.project_id, after.user_id, after.quest)
    return [DueQuest(Place(*place), user, started_at) for *place, user, started_at in rows]
