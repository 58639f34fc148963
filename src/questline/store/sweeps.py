"""Sweeps: one event for each of many users, sent in batches; how far each has come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.state import UserState
from questline.model.sweeps import Sweep, SweepKind
from questline.store.statements import statements
from questline.store.users import state_of

SQL = statements("sweeps")

_encode = msgspec.json.Encoder(order="deterministic").encode


async def start(conn: Connection, sweep: Sweep) -> Sweep:
    """Store a sweep, or begin one again that has finished; return it as it is now.

    A sweep of that kind, name and version which is there already keeps its payload: compare it with what was asked for.
    """
    row = await conn.fetchrow(
        SQL["start"],
        sweep.project_id,
        sweep.id,
        sweep.kind,
        sweep.name,
        sweep.program_version,
        _encode(sweep.payload).decode(),
        sweep.at,
        sweep.started_by,
        sweep.reason,
        sweep.started_at,
        sweep.users,
    )
    return _sweep(row)


async def find(conn: Connection, project_id: int, kind: SweepKind, name: str, version: int) -> Sweep | None:
    """Return a sweep."""
    row = await conn.fetchrow(SQL["find"], project_id, kind, name, version)
    return None if row is None else _sweep(row)


async def of_kind(conn: Connection, project_id: int, kind: SweepKind, before: UUID, limit: int) -> list[Sweep]:
    """Return sweeps of a kind, newest first, before an id."""
    return [_sweep(row) for row in await conn.fetch(SQL["of_kind"], project_id, kind, before, limit)]


async def hold_next(conn: Connection, but: Sequence[UUID]) -> Sweep | None:
    """Lock the sweep under way that has come least far, of those no other worker has, until the transaction ends.

    Those in `but` are passed by.
    """
    row = await conn.fetchrow(SQL["hold_next"], list(but))
    return None if row is None else _sweep(row)


async def advance(
    conn: Connection, sweep: Sweep, after_user: int, examined: int, sent: int, finished_at: datetime | None
) -> None:
    """Note how far a sweep that is held has come; `examined` and `sent` are of this batch."""
    await conn.execute(SQL["advance"], sweep.project_id, sweep.id, after_user, examined, sent, finished_at)


async def count_users(conn: Connection, project_id: int) -> int:
    """Return how many users a project has."""
    found: int = await conn.fetchval(SQL["count_users"], project_id)
    return found


async def users_after(
    conn: Connection, project_id: int, after: int, streaks: Sequence[str] | None, limit: int
) -> list[UserState]:
    """Return the next users by our id, without state and not locked; with `streaks`, those who have one of them."""
    if streaks is None:
        rows = await conn.fetch(SQL["users_after"], project_id, after, limit)
    else:
        rows = await conn.fetch(SQL["users_with_streaks_after"], project_id, after, limit, list(streaks))
    return [state_of(row) for row in rows]


def _sweep(row: Any) -> Sweep:
    values = dict(row)
    return Sweep(**{**values, "kind": SweepKind(values["kind"]), "payload": msgspec.json.decode(values["payload"])})
