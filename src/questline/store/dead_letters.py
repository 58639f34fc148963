"""Dead letters: listed, counted by reason, put back, given up. All under the service role, with the projects first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.store.ids import earliest_id
from questline.store.statements import statements

SQL = statements("dead_letters")

_FIRST, _BEYOND = UUID(int=0), UUID(int=2**128 - 1)


class Filter(msgspec.Struct, frozen=True):
    """Which dead letters are meant: of these projects, and each other member that is given. Times are of receipt."""

    project_ids: Sequence[int]
    reason: str | None = None
    type: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    event_ids: Sequence[UUID] | None = None

    def columns(self) -> tuple[Any, ...]:
        """Return the first six arguments of the statements."""
        return (self.project_ids, self.reason, self.type, self.user, *id_range(self.since, self.until))


def id_range(since: datetime | None, until: datetime | None) -> tuple[UUID, UUID]:
    """Return the event ids between which what was received from one time on and before another lies."""
    return (
        _FIRST if since is None else earliest_id(_milliseconds(since)),
        _BEYOND if until is None else earliest_id(_milliseconds(until)),
    )


def _milliseconds(at: datetime) -> int:
    return max(int(at.timestamp() * 1000), 0)


class Held(msgspec.Struct, frozen=True):
    """A dead letter that the transaction holds."""

    project_id: int
    event_id: UUID
    organization_id: int


async def listed(conn: Connection | Pool, which: Filter, before: UUID, limit: int, *, discarded: bool) -> list[Record]:
    """Return dead letters, newest first, before an event id: those discarded, or those that are not."""
    rows: list[Record] = await conn.fetch(SQL["listed"], *which.columns(), discarded, before, limit)
    return rows


async def reasons(conn: Connection | Pool, project_ids: Sequence[int]) -> list[Record]:
    """Return how many dead letters there are by project and reason."""
    rows: list[Record] = await conn.fetch(SQL["reasons"], project_ids)
    return rows


async def choose(conn: Connection, which: Filter, failed_before: datetime, limit: int) -> list[Held]:
    """Hold the oldest that are meant, in the caller's transaction, and return them."""
    rows = await conn.fetch(SQL["chosen"], *which.columns(), which.event_ids, failed_before, limit)
    return [Held(*row) for row in rows]


async def left(conn: Connection, which: Filter, failed_before: datetime) -> int:
    """Return how many are meant."""
    found: int = await conn.fetchval(SQL["left"], *which.columns(), which.event_ids, failed_before)
    return found


async def retry(conn: Connection, letters: Sequence[Held], now: datetime) -> int:
    """Put dead letters back to be tried now, and return how many were there."""
    rows = await conn.fetch(SQL["retry"], *_columns(letters), now)
    return len(rows)


async def discard(conn: Connection, letters: Sequence[Held], now: datetime, by: str, reason: str) -> int:
    """Give dead letters up, and return how many were there."""
    done = await conn.execute(SQL["discard"], *_columns(letters), now, by, reason)
    return int(done.rpartition(" ")[2])


def _columns(letters: Sequence[Held]) -> tuple[list[int], list[UUID]]:
    return [letter.project_id for letter in letters], [letter.event_id for letter in letters]
