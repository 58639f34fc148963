"""Ends of seasons as rows: results worked out at once, and how far they are sent."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from asyncpg import Connection

from questline.store.ids import earliest_id
from questline.store.statements import statements

SQL = statements("seasons")

_SECONDS_MAX = 3_600.0  # of one statement of a closing: it goes over whole boards and all balances
_AHEAD = timedelta(days=1)  # how much earlier than it happened an event may have been received, and then some


class Progress(msgspec.Struct, frozen=True):
    """How far the results of a season are sent: to all users up to this id."""

    sent_to: int
    closed_at: datetime


class SeasonResult(msgspec.Struct, frozen=True):
    """What a season came to for a user: places as {board, rank, score}, and what is taken of balances."""

    user_id: int
    user: str
    places: list[dict[str, Any]]
    reset: dict[str, int]


async def projects(conn: Connection) -> list[int]:
    """Return the projects whose program in force has seasons."""
    return [row["project_id"] for row in await conn.fetch(SQL["projects"])]


async def ends(conn: Connection, project_id: int) -> dict[str, bool]:
    """Return the seasons of a project that were closed, each with whether all results are sent."""
    return {row["season"]: row["settled"] for row in await conn.fetch(SQL["ends"], project_id)}


async def close(
    conn: Connection,
    project_id: int,
    season: str,
    boards: Iterable[tuple[str, str, str]],
    reset: Sequence[str],
    end: datetime,
    now: datetime,
) -> bool:
    """Close a season and work out all results, in one transaction; False: it was closed before.

    `boards` are (stored name, name in the season, ties); `reset` the currencies that begin again from what was received
    since the end.
    """
    async with conn.transaction():
        if await conn.fetchval(SQL["close"], project_id, season, now) is None:
            return False
        for stored, name, ties in boards:
            await conn.execute(SQL["add_places"], project_id, season, stored, name, ties, timeout=_SECONDS_MAX)
        if reset:
            since = earliest_id(int((end - _AHEAD).timestamp() * 1000))
            await conn.execute(SQL["add_resets"], project_id, season, reset, end, since, timeout=_SECONDS_MAX)
        return True


async def hold_progress(conn: Connection, project_id: int, season: str) -> Progress | None:
    """Lock a closed season until the transaction ends; None where another worker has it, or all is sent."""
    row = await conn.fetchrow(SQL["hold_progress"], project_id, season)
    return None if row is None else Progress(*row)


async def next_results(
    conn: Connection, project_id: int, season: str, after: Progress, limit: int
) -> list[SeasonResult]:
    """Return the next results to send, by user id."""
    rows = await conn.fetch(SQL["next_results"], project_id, season, after.sent_to, limit)
    return [
        SeasonResult(user_id, user, msgspec.json.decode(places), msgspec.json.decode(reset))
        for user_id, user, places, reset in rows
    ]


async def advance(conn: Connection, project_id: int, season: str, sent_to: int) -> None:
    """Note that results are sent to all users up to one."""
    await conn.execute(SQL["advance"], project_id, season, sent_to)


async def settle(conn: Connection, project_id: int, season: str, now: datetime) -> None:
    """Note that all results are sent."""
    await conn.execute(SQL["settle"], project_id, season, now)


async def results_of_user(
    conn: Connection, project_id: int, names: Iterable[str], user_id: int
) -> dict[str, list[dict[str, Any]]]:
    """Return a user's places by season."""
    rows = await conn.fetch(SQL["results_of_user"], project_id, list(names), user_id)
    return {row["season"]: msgspec.json.decode(row["places"]) for row in rows}
