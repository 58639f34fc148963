"""Users, their history and their events, as they are read: inside a tenant's transaction."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Record

from questline.model.state import MetricState, StreakState, UserState
from questline.store import marks, records
from questline.store.round_trips import Reads
from questline.store.statements import statements
from questline.store.users import decode_object, decode_zone_history

SQL = statements("reads")

LAST_ID = UUID(int=2**128 - 1)


async def user(conn: Connection, project_id: int, external_id: str) -> tuple[UserState, datetime] | None:
    """Return a user with their whole state and when they were first seen; None when there is no such user."""
    row = await conn.fetchrow(SQL["user"], project_id, external_id)
    if row is None:
        return None
    state = UserState(
        id=row["id"],
        user=row["external_id"],
        attributes=decode_object(row["attributes"]),
        display_name=row["display_name"],
        timezone=row["timezone"],
        zone_history=decode_zone_history(row["zone_history"]),
        blocked=row["blocked_at"] is not None,
    )
    queries, whose = Reads(), (project_id, state.id)

    def balance(currency: str, amount: int, level: int, debt: int) -> None:
        state.balances[currency] = amount
        state.levels[currency] = level
        state.debts[currency] = debt

    def metric(name: str, value: Decimal) -> None:
        state.metrics[name] = MetricState(int(value) if value == int(value) else value)

    def streak(name: str, *columns: Any) -> None:
        state.streaks[name] = StreakState(*columns)

    def achievement(name: str, *columns: Any) -> None:
        state.achievements[name] = marks.achievement_of(*columns)

    queries.add(SQL["balances"], whose, balance)
    queries.add(SQL["metrics"], whose, metric)
    queries.add(SQL["streaks"], whose, streak)
    queries.add(SQL["achievements"], whose, achievement)
    records.of_user(queries, project_id, state)
    await queries.send(conn)
    return state, row["created_at"]


class HistoryRow(msgspec.Struct, frozen=True):
    """One decision with its event and its transfers."""

    event_id: UUID
    status: str
    reason: str
    program_version: int
    trace: dict[str, Any]
    type: str
    occurred_at: datetime
    received_at: datetime
    transfers: list[dict[str, Any]]


async def history(conn: Connection, project_id: int, user_id: int, before: UUID, limit: int) -> list[HistoryRow]:
    """Return decisions about a user, newest first, before an event id."""
    rows = await conn.fetch(SQL["history"], project_id, user_id, before, limit)
    return [
        HistoryRow(
            row["event_id"],
            row["status"],
            row["reason"],
            row["program_version"],
            msgspec.json.decode(row["trace"]),
            row["type"],
            row["occurred_at"],
            row["received_at"],
            msgspec.json.decode(row["transfers"] or "[]"),
        )
        for row in rows
    ]


class TraceRow(msgspec.Struct, frozen=True):
    """What one decision changed."""

    event_id: UUID
    occurred_at: datetime
    trace: dict[str, Any]


async def traces(conn: Connection, project_id: int, user_id: int, before: UUID, limit: int) -> list[TraceRow]:
    """Return what applied decisions about a user changed, newest first, before an event id."""
    rows = await conn.fetch(SQL["traces"], project_id, user_id, before, limit)
    return [TraceRow(row["event_id"], row["occurred_at"], msgspec.json.decode(row["trace"])) for row in rows]


async def find_event(conn: Connection, project_id: int, key_hashes: Sequence[bytes]) -> UUID | None:
    """Return the id of the event that the first of the keys belongs to."""
    found: UUID | None = await conn.fetchval(SQL["find_event"], project_id, list(key_hashes))
    return found


async def event(conn: Connection, project_id: int, event_id: UUID) -> Record | None:
    """Return one event with its decision, attempts, transfers and dead letter."""
    found: Record | None = await conn.fetchrow(SQL["event"], project_id, event_id)
    return found


async def events(
    conn: Connection, project_id: int, before: UUID, event_type: str | None, status: str | None, limit: int
) -> list[Record]:
    """Return events, newest first, before an event id; `status` is pending, processed, refused or failed."""
    if status is None:
        return list(await conn.fetch(SQL["events"], project_id, before, event_type, limit))
    if status == "pending":
        return list(await conn.fetch(SQL["events_pending"], project_id, before, event_type, limit))
    if status == "failed":
        return list(await conn.fetch(SQL["events_failed"], project_id, before, event_type, limit))
    return list(await conn.fetch(SQL["events_decided"], project_id, before, event_type, limit, status))


async def events_of_user(
    conn: Connection, project_id: int, user: str, user_hash: int, before: UUID, event_type: str | None,
    status: str | None, limit: int,
) -> list[Record]:  # fmt: skip
    """Return a user's events, newest first, before an event id; `user` is the customer's id."""
    return list(await conn.fetch(SQL["events_of_user"], project_id, before, event_type, limit, user, user_hash, status))
