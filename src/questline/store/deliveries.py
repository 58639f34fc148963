"""Messages to receivers outside: written with what they tell of, taken to be sent by one at a time, and settled once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from questline.model.deliveries import TAKEN_ANSWER, DeliveryStatus
from questline.model.event import WaitingEvent
from questline.model.limits import (
    BACKLOG_COUNTED_MAX,
    DELIVERIES_OF_PROJECT_FIRST,
    DELIVERY_LEASE_SECONDS,
)
from questline.store.round_trips import Writes
from questline.store.statements import statements

SQL = statements("deliveries")

REDEEMED = "store.redeemed"  # the notice that is also a message, where a receiver fulfils


class Message(msgspec.Struct, frozen=True):
    """A message in somebody's hands. `data` is JSON, `secret` as it is stored; not `wanted`: it was settled by hand."""

    owner: UUID
    project_id: int
    app_id: str
    id: str
    type: str
    user: str
    data: str
    at: datetime
    traceparent: str | None
    tries: int
    url: str | None
    secret: str | None
    wanted: bool


class Waiting(msgspec.Struct, frozen=True):
    """How many messages wait, counted up to a bound, and for how long the first of these has been due."""

    messages: int
    overdue_seconds: float


def row(event: WaitingEvent, user_id: int, type_: str, data: str) -> tuple[object, ...]:
    """Return the row of a message about what an event did."""
    return event.project_id, str(event.id), user_id, type_, data, event.occurred_at, event.traceparent


def add(writes: Writes, rows: Sequence[tuple[object, ...]]) -> None:
    """Add messages to what is to be written, in the transaction of what they tell of."""
    writes.add(SQL["add"], rows)


class Room(msgspec.Struct, frozen=True):
    """How many messages of a project may be taken, and whether it comes after the others."""

    messages: int
    is_last: bool


async def claim(
    conn: Connection, owner: UUID, wanted: int, rooms: Mapping[int, Room], kept_for_last: int
) -> list[Message]:
    """Take up to `wanted` messages that are due, for one try; `rooms` are of the projects of which something is known.

    `kept_for_last` of them are of projects that come last, if these have as many.
    """
    rows = await conn.fetch(
        SQL["claim"],
        owner,
        wanted,
        DELIVERIES_OF_PROJECT_FIRST,
        list(rooms),
        [room.messages for room in rooms.values()],
        [room.is_last for room in rooms.values()],
        DELIVERY_LEASE_SECONDS,
        kept_for_last,
    )
    return [Message(owner, *found) for found in rows]


async def settle(conn: Connection, message: Message, status: DeliveryStatus, answer: str | None) -> bool:
    """End a message, in the caller's transaction; False: the lease ran out, and another has taken or ended it."""
    return await _was_ours(conn, "settle", message, status.value, answer)


async def put_off(conn: Connection, message: Message, seconds: float, answer: str | None) -> bool:
    """Let a message be sent again later; False: as above."""
    return await _was_ours(conn, "put_off", message, seconds, answer)


async def send_again(conn: Connection, project_id: int, id_: str) -> bool:
    """Let a message be sent at once; False: it was answered for good, what it asks for is settled, or it is being sent."""
    return await conn.fetchval(SQL["send_again"], project_id, id_, TAKEN_ANSWER) is not None


async def measure(conn: Connection | Pool) -> Waiting:
    """Return what waits."""
    messages, overdue_seconds = (await conn.fetch(SQL["waiting"], BACKLOG_COUNTED_MAX))[0]
    return Waiting(messages, overdue_seconds)


async def _was_ours(conn: Connection, name: str, message: Message, *values: object) -> bool:
    found = await conn.fetchval(SQL[name], message.project_id, message.id, message.owner, *values)
    return found is not None
